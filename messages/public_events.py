"""Events from their public form: what `/v1/events`, exports and the feed show becomes the domain's values again.

The inverse of `messages.events.public_data`. The digest of a command is not in the public form.
"""

from functools import cache
from typing import Final

import msgspec

from domain.events import Event
from domain.partition import CommandRejected
from domain.values import Json, Value
from messages.events import TOPICS, UnreadableEventError
from messages.wire import decoder, fields_of, parse_wire_details

_TEXTS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def event_of_public(name: str, version: int, data: bytes | str) -> Event:
    """Return the event of a type and version whose public form is this JSON text.

    Raises UnreadableEventError when the type is unknown or the text does not fit it.
    """
    topic = f"{name}.v{version}"
    event_type = TOPICS.get(topic)
    if event_type is None:
        raise UnreadableEventError(f"unknown topic {topic}")
    try:
        texts = _TEXTS.decode(data)
        raw = {name: texts.pop(name) for name in _raw_fields(event_type) if name in texts}
        wire = {name: msgspec.json.decode(text) for name, text in texts.items()}
        if event_type is CommandRejected:
            wire["details"] = parse_wire_details(wire["details"])
        event = msgspec.convert(decoder(event_type)(wire), event_type)
        return msgspec.structs.replace(event, **raw) if raw else event
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableEventError(f"an event of topic {topic} cannot be read: {error}") from error


@cache
def _raw_fields(event_type: type[Value]) -> tuple[str, ...]:
    """Return the fields that keep the text of a JSON value."""
    return tuple(name for name, hint in fields_of(event_type).items() if hint is Json)
