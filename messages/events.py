"""Events in the log: a `StoredEvent` with a durable topic and JSON state, and the public form of the same.

The state of every event is `{"command_id": ..., "time": ..., "digest": ..., "data": {...}}`: `time` in microseconds,
amounts in micro-units, `digest` on the first event of a command only. The list of topics is closed: what is not in it
is refused, on writing and on reading. An event is never rewritten; when its type gets a new version, the old one gets a
line in `UPCASTERS`.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from eventsourcing.persistence import StoredEvent

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

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: Final[dict[str, tuple[str, Upcaster]]] = {}
"""An old topic -> the topic that replaced it, and how the old data becomes the new; followed up to a current topic."""


class UnreadableEventError(ValueError):
    """What stands in the log is not an event that this version knows: never skipped, the reader stops here."""


class PlacedEvent(Protocol):
    """An event with its place in its stream, as the exchange hands it out."""

    @property
    def stream(self) -> str:
        """The aggregate's stream, `market-<id>`."""

    @property
    def version(self) -> int:
        """The place in the stream, from 1."""

    @property
    def event(self) -> Event:
        """The event itself."""


DataT = TypeVar("DataT")


class State(msgspec.Struct, Generic[DataT], kw_only=True, omit_defaults=True):
    """What the state of a stored event holds."""

    command_id: str
    time: Time
    digest: str | None = None
    data: DataT


_encode: Final = msgspec.json.Encoder().encode
_DECODERS: Final = {topic: msgspec.json.Decoder(State[event_type]) for topic, event_type in TOPICS.items()}  # type: ignore[valid-type]
_OLD_STATE: Final = msgspec.json.Decoder(State[dict[str, Any]])


# --- to the log and back


def to_stored(entry: PlacedEvent, time: Time, command_id: str, digest: str | None = None) -> StoredEvent:
    """Return what the recorder writes for one event of a command; `digest` belongs to the command's first event."""
    event = entry.event
    state = State(command_id=command_id, time=time, digest=digest, data=event)
    # Filled by hand: the constructor of a frozen dataclass takes four times as long, and this is the hottest path.
    stored = object.__new__(StoredEvent)
    fields = stored.__dict__
    fields["originator_id"] = entry.stream
    fields["originator_version"] = entry.version
    fields["topic"] = event.TOPIC
    fields["state"] = _encode(state)
    return stored


def from_stored(position: int, stored: StoredEvent) -> Recorded:
    """Return the event that the recorder read at this position (a `Notification` carries it as `id`).

    Raises UnreadableEventError when the topic is unknown or the state is not what its topic asks for.
    """
    state = decode_state(stored.topic, stored.state)
    return Recorded(
        position,
        str(stored.originator_id),
        stored.originator_version,
        state.time,
        state.command_id,
        state.data,
        state.digest,
    )


def decode_state(topic: str, state: bytes) -> State[Event]:
    """Return the state of a stored event, its data brought up to the current version of its type.

    Raises UnreadableEventError when the topic is unknown or the state is not what its topic asks for.
    """
    try:
        decoder = _DECODERS.get(topic)
        if decoder is not None:
            return decoder.decode(state)
        return _upcast(topic, _OLD_STATE.decode(state))
    except msgspec.DecodeError as error:
        raise UnreadableEventError(f"an event of topic {topic} cannot be read: {error}") from error


def _upcast(topic: str, state: State[dict[str, Any]]) -> State[Event]:
    data = state.data
    while topic not in TOPICS:
        if topic not in UPCASTERS:
            raise UnreadableEventError(f"unknown topic {topic}")
        topic, upcast = UPCASTERS[topic]
        data = upcast(data)
    event = msgspec.convert(data, TOPICS[topic])
    return State(command_id=state.command_id, time=state.time, digest=state.digest, data=event)


# --- the public form

_TYPES: Final[tuple[type, ...]] = EVENT_TYPES
_ENCODERS: Final = {event_type: encoder(event_type) for event_type in _TYPES}


def _split_topic(topic: str) -> tuple[str, int]:
    name, _, version = topic.partition(".v")
    return name, int(version)


_NAMES: Final = {topic: _split_topic(topic) for topic in TOPICS}


def public_data(event: Event) -> dict[str, Any]:
    """Return an event's own fields as others see them: amounts as decimal strings, times in RFC 3339."""
    data = _ENCODERS[type(event)](event)
    if isinstance(event, CommandRejected):
        data["details"] = wire_details(event.details)
    return data


def public_event(recorded: Recorded) -> dict[str, Any]:
    """Return an event with its envelope as others see it: in `/v1/events`, in streams, exports and the feed.

    `type` and `version` are the two parts of its topic, `stream` and `stream_version` its place in its aggregate.
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
