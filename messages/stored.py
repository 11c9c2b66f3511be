"""Events to and from the log, where each is a `StoredEvent` with a durable topic and JSON as its state.

The state of an event is `{"command_id": ..., "time": ..., "digest": ..., "data": {...}}`: times in microseconds,
amounts in micro-units, `digest` on the first event of a command only. An event is never rewritten: when its type gets a
new version, the old one gets a line in `UPCASTERS`.

Every order passes here, so this module is compiled (`local/compile.py`).
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from eventsourcing.persistence import StoredEvent

from domain.events import Event, Recorded
from domain.exchange import Entry
from domain.money import Time
from messages.events import TOPICS, EventState, UnreadableEventError

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: Final[dict[str, tuple[str, Upcaster]]] = {}
"""By old topic: the topic that replaced it and the function from old data to new. They are applied in a chain."""


_encode: Final = msgspec.json.Encoder().encode
_DECODERS: Final = {topic: msgspec.json.Decoder(EventState[event_type]) for topic, event_type in TOPICS.items()}  # type: ignore[valid-type]
_OLD_STATE: Final = msgspec.json.Decoder(EventState[dict[str, Any]])


def to_stored(entry: Entry, time: Time, command_id: str, digest: str | None = None) -> StoredEvent:
    """Return the stored form of one event of a command. Only the command's first event gets the `digest`."""
    event = entry.event
    state = EventState(command_id=command_id, time=time, digest=digest, data=event)
    # Filled by hand: the constructor of a frozen dataclass takes four times as long, and this path is the hottest.
    stored = object.__new__(StoredEvent)
    fields = stored.__dict__
    fields["originator_id"] = entry.stream
    fields["originator_version"] = entry.version
    fields["topic"] = event.TOPIC
    fields["state"] = _encode(state)
    return stored


def from_stored(position: int, stored: StoredEvent) -> Recorded:
    """Return the event that the recorder read at this position (the `id` of a `Notification`).

    Raises UnreadableEventError when the topic is unknown or the state does not fit it.
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


def decode_state(topic: str, state: bytes | msgspec.Raw) -> EventState[Event]:
    """Return the state of a stored event, with its data in the current version of its type.

    Raises UnreadableEventError when the topic is unknown or the state does not fit it.
    """
    try:
        decoder = _DECODERS.get(topic)
        if decoder is not None:
            return decoder.decode(state)
        return _upcast(topic, _OLD_STATE.decode(state))
    except msgspec.DecodeError as error:
        raise UnreadableEventError(f"an event of topic {topic} cannot be read: {error}") from error


def _upcast(topic: str, state: EventState[dict[str, Any]]) -> EventState[Event]:
    data = state.data
    while topic not in TOPICS:
        if topic not in UPCASTERS:
            raise UnreadableEventError(f"unknown topic {topic}")
        topic, upcast = UPCASTERS[topic]
        data = upcast(data)
    event = msgspec.convert(data, TOPICS[topic])
    return EventState(command_id=state.command_id, time=state.time, digest=state.digest, data=event)
