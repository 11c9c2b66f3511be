"""One reader of the stream: what it wants, what waits for it, and where it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from api.stream.frames import Cut
from messages.channels import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from api.stream.frames import Frame, LogEntry
    from messages.channels import Channel

FRAMES_MAX: Final = 1_000
"""The most frames that wait for a subscriber; a slower one is ended."""

BYTES_WAITING_MAX: Final = 256 * 1024
"""The most bytes of these frames."""

CHUNK_BYTES: Final = 64 * 1024
"""The bytes of frames after which a chunk is full."""

CONFLATE_SECONDS: Final = 0.05
"""The least time between two deliveries to a subscriber that conflates."""

PAGE_EVENTS: Final = 500
"""The most events of a page of the log."""

PUBLIC: Final[frozenset[Channel]] = frozenset({"trades", "prices", "lifecycle"})
_ORDER: Final = {channel: number for number, channel in enumerate(CHANNELS)}

STOPS, KEY_GONE, FORBIDDEN, SLOW, LOG_CHANGED = 1012, 4001, 4003, 4008, 4009
"""Why a stream ends, as the close codes of a WebSocket."""


@dataclass(slots=True)
class Subscribed:
    """What a subscriber wants. `markets` None means all; `account_id` is the account of the channel `orders`.

    `bodies` says whether it may see the bodies of others' commands.
    """

    channels: frozenset[Channel]
    markets: set[str] | None = None
    account_id: str | None = None
    progress: bool = False
    conflate: bool = False
    bodies: bool = False

    def frames_of(self, entry: LogEntry) -> Sequence[Frame]:
        """Return the frames of an entry that are wanted, in the order of the channels; a `Cut` of public channels."""
        if self.markets is not None and entry.market_id not in self.markets:
            return ()
        if self.channels <= PUBLIC:
            return entry.cut(self.channels)
        channels, account_id = self.channels, self.account_id
        found = [
            frame
            for frame in entry.frames
            if frame.channel in channels and (frame.account_id is None or frame.account_id == account_id)
        ]
        if "events" in channels:
            found.append(entry.event_frame(bodies=self.bodies))
        return found


class Closed(NamedTuple):
    """The end of a stream: its code, and a word for it."""

    code: int
    reason: str


@dataclass(slots=True)
class Portion:
    """What is due for a subscriber: frames by position, and what has no position of its own."""

    events: list[tuple[int, Sequence[Frame]]] = field(default_factory=list)
    position: int = 0
    beat: bool = False
    progress: bool = False


class Subscriber:
    """One reader. It belongs to the event loop of its hub.

    `sent` is the last position that its transport has sent, with all before it: where to resume. `position` is the last one that
    was taken to be sent, `offered` the last one that went through its queue. While it is not `live`, it reads the ring or the
    log by itself. `told_at` is the time of the last frame or beat. A transport that can send without its task, where nothing
    has to wait, does it with `send_at_once`. There are thousands, so it is small: slots, and a list for the few that wait.
    """

    __slots__ = (
        "_bytes",
        "_catch_up",
        "_frames",
        "_prices",
        "_queue",
        "_taken_at",
        "_waiter",
        "abort",
        "beat",
        "closed",
        "frames_sent",
        "live",
        "mark",
        "marked_at",
        "offered",
        "owner",
        "page_events",
        "passed",
        "position",
        "progress",
        "send_at_once",
        "sending_since",
        "sent",
        "told_at",
        "wanted",
        "was_reset",
    )

    def __init__(
        self, wanted: Subscribed, owner: str, after: int, catch_up: Callable[[Subscriber], Awaitable[Portion | None]]
    ) -> None:
        self.wanted = wanted
        self.owner = owner
        self.position = self.sent = self.offered = after
        self.was_reset = False
        self.live = False
        self.closed: Closed | None = None
        self.beat = self.progress = self.mark = False
        self.marked_at = self.told_at = monotonic()
        self.sending_since: float | None = None
        self.frames_sent = 0
        self.page_events = PAGE_EVENTS
        self.abort: Callable[[], object] = _nothing
        self.passed: Callable[[], int] = _nowhere
        self.send_at_once: Callable[[Cut], bool] | None = None
        self._catch_up = catch_up
        self._queue: list[tuple[int, Sequence[Frame]]] = []
        self._prices: dict[str | None, tuple[int, Frame]] = {}
        self._frames = self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._taken_at = 0.0

    def offer(self, entry: LogEntry) -> bool:
        """Send the wanted frames of the next entry, or put them into the queue; return whether something is sent for it."""
        if entry.position <= self.offered or self.closed is not None or not self.live:
            return False
        self.offered = entry.position
        frames = self.wanted.frames_of(entry)
        if not frames:
            return False
        if self.wanted.conflate:
            frames = self._put_prices_aside(entry, frames)
        elif self.send_at_once is not None and self._sends_at_once(entry.position, frames):
            return True
        if frames:
            self._queue.append((entry.position, frames))
            self._frames += len(frames)
            self._bytes += size_of(frames)
            if self._frames > FRAMES_MAX or self._bytes > BYTES_WAITING_MAX:
                self._queue.clear()
                self.close(Closed(SLOW, "slow"))
        return self.wake()

    def _sends_at_once(self, position: int, frames: Sequence[Frame]) -> bool:
        """Send frames while the task waits and nothing is due before them; return False where the task must do it.

        Waking the task for what all subscribers get, and having it call the server, would cost half as much again.
        """
        waits = self._waiter is not None and not self._waiter.done()
        if not (waits and self.send_at_once is not None and isinstance(frames, Cut) and self.send_at_once(frames)):
            return False
        self.position = self.sent = position
        self.marked_at = self.told_at = monotonic()
        return True

    def _put_prices_aside(self, entry: LogEntry, frames: Sequence[Frame]) -> list[Frame]:
        rest = []
        for frame in frames:
            if frame.channel == "prices":
                self._prices[entry.market_id] = (entry.position, frame)
            else:
                rest.append(frame)
        return rest

    def close(self, closed: Closed) -> None:
        """End the stream; the first reason counts."""
        if self.closed is None:
            self.closed = closed
            self.wake()

    def rewind(self) -> None:
        """Read on from `position` with other wishes; the hub does not offer it anything meanwhile."""
        self._queue.clear()
        self._prices.clear()
        self._frames = self._bytes = 0
        self.offered = self.position
        self.wake()

    def wake(self) -> bool:
        """Let `take` look again; return whether it was waiting."""
        if self._waiter is None or self._waiter.done():
            return False
        self._waiter.set_result(None)
        return True

    async def take(self) -> Portion | Closed:
        """Wait until something is due, and return it."""
        while True:
            if self.closed is not None:
                return self.closed
            if not self.live:
                found = await self._catch_up(self)
                if found is not None:
                    return found
            elif self._queue or self._prices:
                if self.wanted.conflate and (left := self._taken_at + CONFLATE_SECONDS - monotonic()) > 0:
                    await asyncio.sleep(left)
                    continue
                return self._drained()
            elif self.beat or self.progress or self.mark:
                return self.due([], max(self.position, self.passed()))
            else:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter

    def due(self, events: list[tuple[int, Sequence[Frame]]], position: int) -> Portion:
        """Note that the subscriber is at a position, and return what it gets there."""
        found = Portion(events, position, self.beat, self.progress)
        self.position = position
        self.beat = self.progress = self.mark = False
        self.marked_at = monotonic()
        if events or found.beat:
            self.told_at = self.marked_at
        return found

    def _drained(self) -> Portion:
        """Return a chunk of what waits."""
        self._taken_at = monotonic()
        queue, size = self._queue, 0
        events = []
        for event in queue:
            events.append(event)
            size += size_of(event[1])
            self._frames -= len(event[1])
            if size >= CHUNK_BYTES:
                break
        del queue[: len(events)]
        self._bytes -= size
        if self._prices:
            # A price is older than what waits behind it only as long as nothing waits: so all of it goes now.
            last = events[-1][0] if queue else None
            events = self._with_prices(events, last)
        return self.due(events, events[-1][0]) if events else Portion(position=self.position)

    def _with_prices(
        self, events: list[tuple[int, Sequence[Frame]]], last: int | None
    ) -> list[tuple[int, Sequence[Frame]]]:
        """Add the newest prices up to a position, in the order of the positions."""
        by_position = dict(events)
        for market_id, (position, frame) in list(self._prices.items()):
            if last is None or position <= last:
                by_position[position] = sorted(
                    [*by_position.get(position, []), frame], key=lambda each: _ORDER[each.channel]
                )
                del self._prices[market_id]
        return sorted(by_position.items())


def _nothing() -> None:
    """End nothing: the transport has said no better way."""


def _nowhere() -> int:
    """Return that no position has passed."""
    return 0


def size_of(frames: Sequence[Frame]) -> int:
    """Return the bytes of the blocks of frames."""
    return frames.size if isinstance(frames, Cut) else sum(len(frame.block) for frame in frames)


def conflated(
    events: list[tuple[int, Sequence[Frame]]], markets: dict[int, str | None]
) -> list[tuple[int, Sequence[Frame]]]:
    """Return events without the prices that a later one of the same market replaces; `markets` are those of the positions."""
    newest = {
        markets[position]: position for position, frames in events if any(frame.channel == "prices" for frame in frames)
    }
    kept: list[tuple[int, Sequence[Frame]]] = []
    for position, frames in events:
        rest = [f for f in frames if f.channel != "prices" or newest[markets[position]] == position]
        if rest:
            kept.append((position, rest))
    return kept
