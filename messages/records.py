"""The JSON Schemas of the records of each Kafka topic.

They refer to the schemas of single commands, events and replies: by the paths of their files, or as components of the
AsyncAPI page (messages/asyncapi.py).
"""

from collections.abc import Callable

from messages.commands import COMMANDS, RECORD_COMMANDS_MAX
from messages.dead_letters import dead_letter_schema
from messages.events import TOPICS
from messages.signed_orders import KINDS
from messages.wire import SCHEMA_DIALECT, Schema, object_schema

Refer = Callable[[str], str]
"""Turns the path of a file under docs/schemas into a reference to its schema."""


def record_schemas(refer: Refer) -> dict[str, Schema]:
    """Return the JSON Schema of a record's value, by topic."""
    return {
        "commands": _titled(
            "CommandsRecord",
            f"One command, or an array of up to {RECORD_COMMANDS_MAX} commands. Each is decided by itself, in their order.",
            {"anyOf": [one := _any_of(refer, "commands", COMMANDS), _array(one) | {"maxItems": RECORD_COMMANDS_MAX}]},
        ),
        "orders": _titled(
            "OrdersRecord",
            "One command of a trading service, signed by its headers.",
            {"oneOf": [{"$ref": refer(f"commands/{kind.__name__}.json")} for kind in KINDS]},
        ),
        "replies": _titled(
            "RepliesRecord",
            "Replies to commands, for the receiver that the record's key names; without a key for any receiver that waits.",
            _array({"$ref": refer("reply.json")}),
        ),
        "dead-letters": dead_letter_schema(),
        "events": _events_record(),
        "feed": _titled("FeedRecord", "One event in its public form.", _any_of(refer, "events", TOPICS)),
    }


def _titled(title: str, description: str, schema: Schema) -> Schema:
    return {"$schema": SCHEMA_DIALECT, "title": title, "description": description} | schema


def _any_of(refer: Refer, folder: str, names: dict[str, type]) -> Schema:
    return {"oneOf": [{"$ref": refer(f"{folder}/{name}.json")} for name in names]}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _events_record() -> Schema:
    writer: Schema = {
        "type": "string",
        "minLength": 1,
        "description": "names one engine from one take-over to the next",
    }
    epoch: Schema = {"type": "integer", "minimum": 1}
    next_: Schema = {"type": "integer", "minimum": 1, "description": "the position after the last event it had read"}
    claim = object_schema(
        {"claim": {"const": True}, "writer": writer, "epoch": epoch, "next": next_},
        ["claim", "writer", "epoch", "next"],
        "An engine takes the partition over. The claim counts if its epoch is one above that of the last claim that counts.",
    )
    state = object_schema(
        {
            "command_id": {"type": "string"},
            "time": {"type": "integer", "description": "microseconds since 1970, UTC"},
            "digest": {"type": "string", "description": "of the command; on its first event"},
            "data": {"type": "object", "description": "as in the event's public form, but amounts in millionths"},
        },
        ["command_id", "time", "data"],
        "An event as the log holds it.",
    )
    event: Schema = {
        "type": "array",
        "prefixItems": [
            {"type": "string", "description": "stream"},
            {"type": "integer", "minimum": 1, "description": "version: place in the stream"},
            {"enum": list(TOPICS), "description": "type of the event"},
            state,
        ],
        "minItems": 4,
        "maxItems": 4,  # not `items: false`, which tools that know only older drafts would take for "no items at all"
    }
    batch = object_schema(
        {
            "writer": writer,
            "epoch": epoch,
            "first": {"type": "integer", "minimum": 1, "description": "position of the first event"},
            "events": _array(event) | {"minItems": 1},
        },
        ["writer", "epoch", "first", "events"],
        "Events, all or none. They count if writer and epoch are those of the last claim that counts, and `first` is next.",
    )
    return _titled("EventsRecord", "A claim, or a batch of events.", {"oneOf": [claim, batch]})
