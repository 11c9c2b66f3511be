"""Events as the log has them -> JSON lines: the envelope and the public form of `/v1/events`."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from domain.events import Recorded
from messages.events import public_event
from messages.stored import decode_state

EventRow = tuple[int, str, int, str, bytes]
"""An event as the log has it: its position, its stream and its version there, its topic and its state."""

_encode: Final = msgspec.json.Encoder().encode


class EventForm(msgspec.Struct, array_like=True, frozen=True):
    """The form of the lines: `data` as a text that holds JSON, or as an object; of all markets, or of these only."""

    data_as_text: bool
    markets: list[str] | None


class EventBlock(NamedTuple):
    """Lines, and how many they are."""

    rows: int
    lines: bytes


class EventLine(msgspec.Struct):
    """A line of the table `events`."""

    position: int
    type: str
    version: int
    time: str
    command_id: str
    digest: str | None
    stream: str
    stream_version: int
    market_id: str | None
    account_id: str | None
    order_id: str | None
    data: Any


def block_of(form: EventForm, page: list[EventRow]) -> EventBlock:
    """Return the lines of a page of the log. Raises UnreadableEventError."""
    markets = None if form.markets is None else frozenset(form.markets)
    found = []
    for position, stream, version, topic, stored in page:
        state = decode_state(topic, stored)
        event = state.data
        market_id = getattr(event, "market_id", None) or None
        if markets is None or market_id in markets:
            recorded = Recorded(position, stream, version, state.time, state.command_id, event, state.digest)
            found.append(_line(recorded, market_id, data_as_text=form.data_as_text))
    return EventBlock(len(found), msgspec.json.Encoder().encode_lines(found))


def _line(recorded: Recorded, market_id: str | None, *, data_as_text: bool) -> EventLine:
    public = public_event(recorded)
    event = recorded.event
    return EventLine(
        position=public["position"],
        type=public["type"],
        version=public["version"],
        time=public["time"],
        command_id=public["command_id"],
        digest=recorded.digest,
        stream=public["stream"],
        stream_version=public["stream_version"],
        market_id=market_id,
        account_id=getattr(event, "account_id", None) or None,
        order_id=getattr(event, "order_id", None) or None,
        data=_encode(public["data"]).decode() if data_as_text else public["data"],
    )
