"""Frames: the messages of one event, encoded once and shared by all subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from domain.partition import CommandHadNoEffect, CommandRejected
from messages.channels import StreamedOrder, channel_of, unreadable_event, wire_of
from messages.events import UnreadableEventError, public_event
from messages.stored import from_stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventsourcing.persistence import Notification

    from domain.events import Recorded
    from messages.channels import Channel, StreamMessage

_encode: Final = msgspec.json.Encoder().encode


class Frame:
    """One message: its JSON, and the same as a block of an event stream, without an id.

    `account_id` is that of the only account that may have it, None for everybody.
    """

    __slots__ = ("account_id", "block", "channel", "data")

    def __init__(self, channel: Channel, account_id: str | None, wire: dict[str, Any]) -> None:
        self.channel = channel
        self.account_id = account_id
        self.data: bytes = _encode(wire)
        self.block = b"event: %b\ndata: %b\n\n" % (channel.encode(), self.data)


class Cut(tuple[Frame, ...]):  # noqa: SLOT001  a tuple with more than its items has a dict
    """Frames of one position that many subscribers get: what all of them need of it is computed once."""

    size: int
    """The bytes of their blocks."""
    block: bytes
    """All blocks, with the id of the position on the last one."""
    piece: bytes
    """The same in the chunked form of HTTP."""

    @classmethod
    def of(cls, position: int, frames: Iterable[Frame]) -> Cut:
        """Return the cut with these frames."""
        made = cls(frames)
        made.size = sum(len(frame.block) for frame in made)
        made.block = block_of(position, made)
        made.piece = b"%x\r\n%b\r\n" % (len(made.block), made.block)
        return made


def block_of(position: int, frames: Sequence[Frame]) -> bytes:
    """Return the blocks of the frames of a position as they are sent; empty without frames."""
    if not frames:
        return b""
    return b"".join([*[frame.block for frame in frames[:-1]], b"id: %d\n" % position, frames[-1].block])


class LogEntry:
    """An event of the log with its frames. Those of the channel `events` are made when somebody wants them."""

    __slots__ = (
        "_cuts",
        "_events",
        "_stored",
        "accounts",
        "frames",
        "is_public",
        "market_id",
        "position",
        "size",
        "time",
    )

    def __init__(self, stored: Notification, recorded: Recorded | None, messages: Sequence[StreamMessage]) -> None:
        self.position: int = stored.id
        self.time = recorded.time if recorded is not None else 0
        self.market_id: str | None = getattr(recorded.event, "market_id", None) if recorded is not None else None
        self.frames = tuple(
            Frame(channel_of(each), each.account_id if isinstance(each, StreamedOrder) else None, wire_of(each))
            for each in messages
        )
        self.accounts = tuple({frame.account_id for frame in self.frames if frame.account_id is not None})
        self.is_public = any(frame.account_id is None for frame in self.frames)
        self.size = len(stored.state) + sum(len(frame.block) * 2 for frame in self.frames) + 400
        self._stored: Notification = stored
        self._events: dict[bool, Frame] = {}
        self._cuts: dict[frozenset[Channel], Cut] = {}

    def cut(self, channels: frozenset[Channel]) -> Cut:
        """Return the frames of these channels that everybody may have."""
        found = self._cuts.get(channels)
        if found is None:
            public = (frame for frame in self.frames if frame.channel in channels and frame.account_id is None)
            found = self._cuts[channels] = Cut.of(self.position, public)
        return found

    def event_frame(self, *, bodies: bool) -> Frame:
        """Return the frame of the channel `events`; without `bodies`, those of commands are null."""
        found = self._events.get(bodies)
        if found is None:
            found = self._events[bodies] = Frame("events", None, _public(self._stored, bodies=bodies))
        return found


def _public(stored: Notification, *, bodies: bool) -> dict[str, Any]:
    try:
        recorded = from_stored(stored.id, stored)
    except UnreadableEventError:
        return unreadable_event(stored.id, stored.topic)
    wire = public_event(recorded)
    if not bodies and isinstance(recorded.event, CommandRejected | CommandHadNoEffect):
        wire["data"]["body"] = None
    return wire


def decoded(stored: Notification) -> Recorded | None:
    """Return the event, None if this version cannot read it."""
    try:
        return from_stored(stored.id, stored)
    except UnreadableEventError:
        return None
