"""Events from their public form: what `/v1/events`, exports and the feed show becomes the domain's values again.

The inverse of `messages.events.public_data`. The digest of a command is not in the public form.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, get_args, get_origin

import msgspec

from domain.events import Event
from domain.money import parse_decimal
from domain.partition import CommandRejected
from domain.values import Json, Value
from messages.events import TOPICS, UnreadableEventError
from messages.wire import (
    AMOUNT_MARKS,
    PICO_MARK,
    TIME_MARK,
    fields_of,
    is_value,
    mark_of,
    parse_pico,
    parse_time,
    parse_wire_details,
    without_none,
)

_Decode = Callable[[Any], Any]

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
        event = msgspec.convert(_decoder(event_type)(wire), event_type)
        return msgspec.structs.replace(event, **raw) if raw else event
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableEventError(f"an event of topic {topic} cannot be read: {error}") from error


@cache
def _raw_fields(event_type: type[Value]) -> tuple[str, ...]:
    """Return the fields that keep the text of a JSON value."""
    return tuple(name for name, hint in fields_of(event_type).items() if hint is Json)


@cache
def _decoder(cls: type[Value]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that replaces the texts of amounts and times by numbers, in the wire form of a value."""
    converted = [(name, decode) for name, hint in fields_of(cls).items() if (decode := _decoder_of(hint)) is not None]

    def decode_fields(wire: dict[str, Any]) -> dict[str, Any]:
        return wire | {name: decode(wire[name]) for name, decode in converted if name in wire}

    return decode_fields


def _decoder_of(hint: Any) -> _Decode | None:
    hint, optional = without_none(hint)
    decode = _decoder_of_value(hint)
    if decode is None or not optional:
        return decode
    return lambda wire: None if wire is None else decode(wire)


def _decoder_of_value(hint: Any) -> _Decode | None:
    mark = mark_of(hint)
    if mark in AMOUNT_MARKS:
        return parse_decimal
    if mark == PICO_MARK:
        return parse_pico
    if mark == TIME_MARK:
        return parse_time
    if is_value(hint):
        return _decoder(hint)
    if get_origin(hint) is tuple:
        item = _decoder_of(get_args(hint)[0])
        return None if item is None else lambda values: [item(value) for value in values]
    return None
