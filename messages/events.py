"""Events: their durable names, their structs in the log, and their public form.

`messages.stored` writes events to the log and reads them back. The list of topics is closed: an event with any other
topic is refused.
"""

from typing import Any, Final, Generic, TypeVar

import msgspec

from domain.events import EVENT_TYPES, Event, Recorded
from domain.money import Time
from domain.partition import CommandRejected
from messages.wire import (
    SCHEMA_DIALECT,
    TIME_SCHEMA,
    Schema,
    encoder,
    format_time,
    object_schema,
    schema_of,
    summary,
    wire_details,
)

TOPICS: Final[dict[str, type[Event]]] = {event_type.TOPIC: event_type for event_type in EVENT_TYPES}
"""Every event type by its durable name."""


class UnreadableEventError(ValueError):
    """The log holds an event that this version does not know. A reader stops there; it never skips the event."""


DataT = TypeVar("DataT")


class EventState(msgspec.Struct, Generic[DataT], kw_only=True, omit_defaults=True):
    """The state of a stored event."""

    command_id: str
    time: Time
    digest: str | None = None
    data: DataT


# --- the public form

_TYPES: Final[tuple[type, ...]] = EVENT_TYPES
_ENCODERS: Final = {event_type: encoder(event_type) for event_type in _TYPES}


def _split_topic(topic: str) -> tuple[str, int]:
    name, _, version = topic.partition(".v")
    return name, int(version)


_NAMES: Final = {topic: _split_topic(topic) for topic in TOPICS}


def public_data(event: Event) -> dict[str, Any]:
    """Return an event's own fields in their public form: amounts as decimal strings, times in RFC 3339."""
    data = _ENCODERS[type(event)](event)
    if isinstance(event, CommandRejected):
        data["details"] = wire_details(event.details)
    return data


def public_event(recorded: Recorded) -> dict[str, Any]:
    """Return an event with its envelope in its public form: the form of `/v1/events`, streams, exports and the feed.

    `type` and `version` are the two parts of its topic. `stream` and `stream_version` are its place in its aggregate.
    """
    name, version = _NAMES[recorded.event.TOPIC]
    return {
        "position": recorded.position,
        "type": name,
        "version": version,
        "time": format_time(recorded.time),
        "command_id": recorded.command_id,
        "stream": recorded.stream,
        "stream_version": recorded.version,
        "data": public_data(recorded.event),
    }


def event_schemas() -> dict[str, Schema]:
    """Return the JSON Schema of the public form of every event type, by topic."""
    return {topic: _event_schema(topic, event_type) for topic, event_type in TOPICS.items()}


def _event_schema(topic: str, event_type: type[Event]) -> Schema:
    properties: dict[str, Schema] = {
        "position": {"type": "integer", "minimum": 1},
        "type": {"const": _NAMES[topic][0]},
        "version": {"const": _NAMES[topic][1]},
        "time": TIME_SCHEMA,
        "command_id": {"type": "string"},
        "stream": {"type": "string"},
        "stream_version": {"type": "integer", "minimum": 1},
        "data": schema_of(event_type),
    }
    return {"$schema": SCHEMA_DIALECT, "title": topic} | object_schema(
        properties, list(properties), summary(event_type)
    )
