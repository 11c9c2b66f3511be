"""How a subscriber that is behind reaches the others: it reads the log in pages, then the ring, then waits with them.

All under the event loop without an await between the end of the ring and the queue, so nothing falls between them.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from anyio import CapacityLimiter, to_thread

from api.stream.replay import AWAY
from api.stream.subscriber import CHUNK_BYTES, PAGE_EVENTS, Portion, conflated, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from api.stream.frames import Frame, LogEntry
    from api.stream.metrics import StreamMetrics
    from api.stream.replay import Archive
    from api.stream.ring import Ring
    from api.stream.subscriber import Subscriber
    from messages.channels import FollowedMarket

READERS_MAX: Final = 4
"""The most subscribers that read the log at a time; others wait, and get their beats meanwhile."""

EVENTS_PER_S: Final = 6_500
"""The most events a second that are read for each of these readers, so that orders are unharmed: some are read twice."""

PAGE_EVENTS_MIN: Final = 20
"""The fewest events of a page. It has a few more than the last chunk had room for; the rest of it is read again."""

RING_ENTRIES: Final = 500
"""The most entries of the ring that are looked at before others have their turn."""

RETRY_SECONDS: Final = 0.25
"""The pause before something that is away is asked again."""


class CatchUp:
    """Brings subscribers up to the end of the log."""

    def __init__(
        self,
        ring: Ring,
        archive: Archive,
        metrics: StreamMetrics,
        beat_seconds: float,
        known: Callable[[], dict[str, FollowedMarket]],
        register: Callable[[Subscriber], None],
    ) -> None:
        """Ask `known` for the markets, and `register` whoever has read the whole ring. A wait ends for a beat."""
        self._ring = ring
        self._archive = archive
        self._metrics = metrics
        self._beat_seconds = max(0.1, beat_seconds)
        self._known = known
        self._register = register
        self._threads = CapacityLimiter(READERS_MAX)
        self._readers = asyncio.Semaphore(READERS_MAX)

    async def next(self, subscriber: Subscriber) -> Portion | None:
        """Return what is due next for a subscriber that is not live; None when it is live, or there is nothing yet."""
        if subscriber.position < self._ring.begins:
            return await self._from_log(subscriber)
        entries = self._ring.after(subscriber.offered, RING_ENTRIES)
        if not entries:
            self._register(subscriber)
            return None
        await asyncio.sleep(0)  # let others have their turn
        return self._chunk(subscriber, entries)

    async def _from_log(self, subscriber: Subscriber) -> Portion | None:
        began = monotonic()
        try:
            await asyncio.wait_for(self._readers.acquire(), self._beat_seconds)
        except TimeoutError:
            subscriber.beat = True
            return subscriber.due([], subscriber.position)
        self._metrics.replaying.inc()
        markets, limit = subscriber.wanted.markets, subscriber.page_events
        try:
            entries = await to_thread.run_sync(
                self._archive.page,
                subscriber.offered,
                subscriber.wanted,
                self._known(),
                limit,
                limiter=self._threads,
            )
            events = min(limit, entries[-1].position - subscriber.offered) if entries else 0
            await asyncio.sleep(max(0.0, events / EVENTS_PER_S - (monotonic() - began)))
        except AWAY as error:
            structlog.get_logger("stream").debug("replay_waits", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)
            if monotonic() - subscriber.told_at < self._beat_seconds:
                return None
            subscriber.beat = True
            return subscriber.due([], subscriber.position)
        finally:
            self._metrics.replaying.dec()
            self._readers.release()
        if not entries:  # the tailer has not come so far yet
            await asyncio.sleep(RETRY_SECONDS)
            return None
        if subscriber.wanted.markets is not markets:  # the page leaves out what is wanted now
            return None
        found = self._chunk(subscriber, entries)
        left = sum(entry.position > subscriber.offered for entry in entries)
        most = 2 * limit if not left else limit * (len(entries) - left) // len(entries) * 9 // 8
        subscriber.page_events = min(PAGE_EVENTS, max(PAGE_EVENTS_MIN, most))
        return found

    def _chunk(self, subscriber: Subscriber, entries: Iterable[LogEntry]) -> Portion:
        """Return the wanted frames of the next entries, as many as fit into a chunk."""
        wanted, size = subscriber.wanted, 0
        events: list[tuple[int, Sequence[Frame]]] = []
        markets: dict[int, str | None] = {}
        position = subscriber.offered
        for entry in entries:
            position = entry.position
            frames = wanted.frames_of(entry)
            if frames:
                events.append((position, frames))
                markets[position] = entry.market_id
                size += size_of(frames)
                if size >= CHUNK_BYTES:
                    break
        subscriber.offered = position
        if wanted.conflate:
            events = conflated(events, markets)
        return subscriber.due(events, position)
