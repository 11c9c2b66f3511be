"""The AsyncAPI page of the stream, `docs/asyncapi-stream.yaml`: every message of `GET /v1/stream` and of `/v1/ws`.

    python -m messages.schemas      writes it, beside the page of the Kafka topics

The page is complete: no reference leads out of it.
"""

from pathlib import Path
from typing import Any, Final

from messages.channels import (
    CHANNELS,
    StreamedLifecycle,
    StreamedOrder,
    StreamedPrices,
    StreamedTrade,
)
from messages.events import event_schemas
from messages.wire import TIME_SCHEMA, Schema, object_schema, schema_of

STREAM_PAGE: Final = Path(__file__).parent.parent / "docs" / "asyncapi-stream.yaml"

_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "integer", "minimum": 0}
_FLAG: Final[Schema] = {"type": "boolean"}
_TEXTS: Final[Schema] = {"type": "array", "items": _TEXT}
_ID: Final[Schema] = {"description": "whatever the command has"}

COMMANDS: Final[dict[str, dict[str, Schema]]] = {
    "subscribe": {"channels": _TEXTS, "markets": _TEXTS, "after": _NUMBER, "conflate": _FLAG, "log": _TEXT},
    "update": {"sid": _NUMBER, "add_markets": _TEXTS, "delete_markets": _TEXTS},
    "unsubscribe": {"sids": {"type": "array", "items": _NUMBER}},
    "list": {},
    "ping": {},
}
"""The commands of a WebSocket, and the parameters that each of them may have."""

_UNREADABLE: Final = object_schema(
    {"position": _NUMBER, "topic": _TEXT, "unreadable": {"const": True}},
    ["position", "topic", "unreadable"],
    "An event that this version cannot read.",
)
_PROGRESS: Final[dict[str, Schema]] = {"head": _NUMBER, "projected": _NUMBER}


def _whole(properties: dict[str, Schema], description: str = "") -> Schema:
    return object_schema(properties, list(properties), description)


def _of_channels() -> dict[str, Schema]:
    """Return the schema of the messages of each channel."""
    events = [{"$ref": f"#/components/schemas/{topic}"} for topic in event_schemas()]
    return {
        "trades": schema_of(StreamedTrade),
        "prices": schema_of(StreamedPrices),
        "lifecycle": schema_of(StreamedLifecycle),
        "orders": schema_of(StreamedOrder),
        "events": {"oneOf": [*events, _UNREADABLE], "description": "An event of the log in its public form."},
    }


def _of_event_stream() -> dict[str, Schema]:
    """Return the schema of `data` of each event of `GET /v1/stream`."""
    hello = {"log": _TEXT, **_PROGRESS, "after": _NUMBER, "channels": _TEXTS, "conflated": _FLAG}
    return {name: {"$ref": f"#/components/schemas/{name}"} for name in CHANNELS} | {
        "hello": _whole(
            hello, "The first one: the log, its end, that of the read models, and where the stream begins."
        ),
        "progress": _whole(_PROGRESS, "The ends of the log and of the read models, when they move."),
        "beat": _whole({**_PROGRESS, "time": TIME_SCHEMA}, "Nothing else came for a while."),
        "reset": _whole({"log": _TEXT, "head": _NUMBER}, "The log ends before the position that was asked for."),
        "bye": _whole({"code": _NUMBER, "after": _NUMBER}, "The stream ends; `after` is where to go on."),
    }


def _of_socket() -> dict[str, Schema]:
    """Return the schema of each message that a server sends over WebSocket, by its `type`."""
    sid = {"sid": _NUMBER, "position": _NUMBER}

    def typed(name: str, properties: dict[str, Schema], description: str = "") -> Schema:
        return _whole({"type": {"const": name}, **properties}, description)

    found = {}
    for name in CHANNELS:
        found[name] = typed(name, {**sid, "seq": _NUMBER, "msg": {"$ref": f"#/components/schemas/{name}"}})
        found[name]["properties"]["more"] = {"const": True, "description": "more messages of this position follow"}
    state: Schema = {"type": "object", "description": "`markets` with status and prices, and open `orders`"}
    subscription = {
        "sid": _NUMBER, "channels": _TEXTS, "markets": {"type": ["array", "null"], "items": _TEXT}, "position": _NUMBER,
    }  # fmt: skip
    return found | {
        "subscribed": typed("subscribed", {"id": _ID, **sid, "log": _TEXT}),
        "updated": typed("updated", {"id": _ID, **sid}),
        "unsubscribed": typed("unsubscribed", {"id": _ID, "sids": {"type": "array", "items": _NUMBER}}),
        "subscriptions": typed(
            "subscriptions", {"id": _ID, "subscriptions": {"type": "array", "items": _whole(subscription)}}
        ),
        "pong": typed("pong", {"id": _ID, "head": _NUMBER}),
        "error": typed("error", {"id": _ID, "code": _TEXT, "message": _TEXT, "details": {"type": "object"}}),
        "snapshot": typed("snapshot", {**sid, "seq": {"const": 0}, "msg": state}, "What the messages go on from."),
        "reset": typed("reset", sid, "The log ends before the position that was asked for."),
        "progress": typed("progress", {**sid, **_PROGRESS}),
        "beat": typed("beat", {**sid, **_PROGRESS}, "Nothing else came for a while."),
        "mark": typed("mark", sid, "Positions passed without anything for this subscription."),
    }


def _commands() -> dict[str, Schema]:
    return {
        name: object_schema(
            {"id": _ID, "cmd": {"const": name}, "params": object_schema(parameters, [])}, ["cmd"]
        )
        for name, parameters in COMMANDS.items()
    }  # fmt: skip


def stream_page() -> dict[str, Any]:
    """Return the page as an object. Its messages are `sse.NAME`, `ws.NAME` and `command.NAME`."""
    of_channels = {
        "stream": {f"sse.{name}": schema for name, schema in _of_event_stream().items()},
        "ws": {f"ws.{name}": schema for name, schema in _of_socket().items()},
        "commands": {f"command.{name}": schema for name, schema in _commands().items()},
    }
    events = {topic: {k: v for k, v in schema.items() if k != "$schema"} for topic, schema in event_schemas().items()}
    about = {
        "stream": ("/v1/stream", "Server-sent events, without end. The OpenAPI document has the parameters."),
        "ws": ("/v1/ws", "The same over WebSocket; each subscription has a `sid`."),
        "commands": ("/v1/ws", "What a client sends over WebSocket."),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "The stream of Tidings",
            "version": "1.0.0",
            "description": "What happens, as it happens, from any position of the log on. See stream.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            name: {
                "address": about[name][0],
                "description": about[name][1],
                "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in messages},
            }
            for name, messages in of_channels.items()
        },
        "operations": {
            name: {"action": "send" if name == "commands" else "receive", "channel": {"$ref": f"#/channels/{name}"}}
            for name in of_channels
        },
        "components": {
            "messages": {
                name: {"name": name.partition(".")[2], "payload": schema}
                for messages in of_channels.values()
                for name, schema in messages.items()
            },
            "schemas": _of_channels() | events,
        },
    }
