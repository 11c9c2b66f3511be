"""The AsyncAPI page of our Kafka topics, `docs/asyncapi.yaml`, derived from the schemas.

    python -m messages.schemas      writes the page and the schemas

The page is complete: no reference leads out of it.
"""

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from messages.records import record_schemas
from messages.wire import Schema

PAGE: Final = Path(__file__).parent.parent / "docs" / "asyncapi.yaml"

_KEYS: Final = {
    "commands": "id of the market (for orders and markets) or of the account; may be missing",
    "orders": "as the sender likes",
    "replies": "the `reply_to` of the commands; without a key the replies are for any receiver that waits",
    "events": "none",
    "dead-letters": "none",
    "feed": "id of the event's market, account or story; partition-<n> for an event that belongs to none",
}
_ABOUT: Final = {
    "commands": "The commands that services send. Kept for 7 days. It has as many partitions as the log.",
    "orders": "Signed orders, cancels and amendments of trading services. Kept for 7 days.",
    "replies": "The one reply to each command. Derived from the log; a reply may come twice. Kept for a day. With several "
    "partitions a receiver `3.NAME` has its replies in partition 3, and any other one in partition 0.",
    "events": "The log: claims and batches of events. Kept for ever.",
    "dead-letters": "Values that could not be understood or decided, and decisions about them. Kept for ever.",
    "feed": "One record an event, in the order of the log. Derived from it; an event may come twice, none is left out.",
}
_SENT_BY_SERVICES: Final = ("commands", "orders")
_HEADERS: Final[dict[str, Schema]] = {
    "orders": {
        "type": "object",
        "properties": {
            "key-id": {"type": "string", "description": "id of an API key of the account"},
            "time": {"type": "string", "format": "date-time", "description": "when it was signed"},
            "signature": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "see kafka.md"},
        },
        "required": ["key-id", "time", "signature"],
    },
    "replies": {
        "type": "object",
        "properties": {
            "partition": {
                "type": "string",
                "pattern": "^[0-9]+$",
                "description": "of the engine; only on replies for any receiver, and only with several partitions",
            },
        },
        "additionalProperties": False,
    },
    "feed": {
        "type": "object",
        "properties": {
            "position": {"type": "string", "pattern": "^[1-9][0-9]*$", "description": "place in the partition's log"},
            "type": {"type": "string", "description": "such as OrderPlaced"},
            "time": {"type": "string", "format": "date-time"},
            "checkpoint": {"type": "string", "description": "for the feed itself"},
        },
        "required": ["position", "type", "time"],
    },
}


def asyncapi(schemas: dict[str, Schema]) -> dict[str, Any]:
    """Return the page as an object. `schemas` has those of single commands, events and replies, by their paths."""
    records = record_schemas(lambda path: f"#/components/schemas/{_component(path)}")
    operations: dict[str, dict[str, Any]] = {}
    for topic in records:
        sent = topic in _SENT_BY_SERVICES
        operations[f"{'send' if sent else 'receive'}-{topic}"] = {
            "action": "send" if sent else "receive",
            "channel": {"$ref": f"#/channels/{topic}"},
            "summary": _ABOUT[topic],
        }
    # The reply comes on another channel; its command_id says to which command.
    for topic in _SENT_BY_SERVICES:
        operations[f"send-{topic}"]["reply"] = {"channel": {"$ref": "#/channels/replies"}}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidings over Kafka",
            "version": "1.0.0",
            "description": "Commands, their replies and the events, as another service sees them. See kafka.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            topic: {
                "address": f"tidings.{topic}",
                "description": f"{_ABOUT[topic]} The prefix of the name, `tidings.`, is a setting.",
                "messages": {topic: {"$ref": f"#/components/messages/{topic}"}},
                "bindings": {"kafka": {"topic": f"tidings.{topic}", "bindingVersion": "0.5.0"}},
            }
            for topic in records
        },
        "operations": operations,
        "components": {
            "messages": {topic: _message(topic, schema) for topic, schema in records.items()},
            "schemas": {_component(path): _bare(schema) for path, schema in sorted(schemas.items())},
        },
    }


def _message(topic: str, schema: Schema) -> dict[str, Any]:
    message: dict[str, Any] = {"name": schema["title"], "title": schema["title"], "summary": schema["description"]}
    if topic in _HEADERS:
        message["headers"] = _HEADERS[topic]
    key: Schema = {"type": ["string", "null"], "description": _KEYS[topic]}
    message["bindings"] = {"kafka": {"key": key, "bindingVersion": "0.5.0"}}
    return message | {"payload": _bare(schema)}


def _component(path: str) -> str:
    """Return the name of a schema among the components: `OrderPlaced.v1`, `PlaceOrder`, `reply`."""
    return Path(path).name.removesuffix(".json")


def _bare(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name != "$schema"}


# --- YAML: a superset of JSON, so strings, numbers and empty collections are written as JSON

_PLAIN: Final = re.compile(r"[A-Za-z$][A-Za-z0-9_./$-]*")
_WORDS: Final = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def dump_yaml(value: Any) -> str:
    """Return objects, lists, strings and numbers as a YAML document."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> list[str]:
    lines: list[str] = []
    if isinstance(value, dict):
        for name, item in value.items():
            nested = isinstance(item, dict | list) and item
            lines += [f"{_scalar(name)}:", *_indented(item)] if nested else [f"{_scalar(name)}: {_scalar(item)}"]
    elif isinstance(value, list):
        for item in value:
            first, *rest = _lines(item) if isinstance(item, dict | list) and item else [_scalar(item)]
            lines += [f"- {first}", *[f"  {line}" for line in rest]]
    return lines


def _indented(value: Any) -> list[str]:
    return [f"  {line}" for line in _lines(value)]


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return msgspec.json.encode(value).decode()
