"""The hub: brings what the tailer reads to all subscribers, in slices, so that the event loop stays free for orders.

One a process. It belongs to the event loop of the HTTP server; `stop` alone may be called from any thread. The first
subscriber starts it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass
from random import uniform
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from api.http.errors import ApiError
from api.stream.catch_up import CatchUp
from api.stream.ring import Ring
from api.stream.subscriber import LOG_CHANGED, PUBLIC, SLOW, STOPS, Closed, Subscribed, Subscriber
from api.stream.tailer import Tailer
from projections.registry import PROJECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from api.stream.frames import LogEntry
    from api.stream.metrics import StreamMetrics
    from api.stream.replay import Archive
    from api.stream.tailer import Started
    from messages.channels import FollowedMarket
    from projections.machine.progress import Progress

SLICE_SECONDS: Final = 0.001
"""The time that the fan-out keeps the event loop, and `SLICE_WAKES` the most subscribers that it wakes, at a time."""

SLICE_WAKES: Final = 50
SLICE_EVENTS: Final = 100
"""The most events of a slice, and `BURST_REST_SECONDS` the pause after them: in a burst the readers take what waits for them
before it is too much for their queues."""

BURST_REST_SECONDS: Final = 0.001

GATHER_SECONDS: Final = 0.002
"""The pause before a fan-out: the answer to the order that set it off goes first, and what follows it at once goes along."""

REST_SECONDS: Final = 0.0001
"""The pause of the whole event loop after each slice. Without one it would hold the interpreter's lock: the engine, which takes
it several times for each append, would wait up to 5 ms each time. A timer of the loop would pause for one or two milliseconds."""

PATIENCE_SECONDS: Final = 0.01
"""The longest time of a fan-out that goes to orders under way: on a small machine they need the CPU that it takes from them.
`ORDER_SECONDS` is the time between two looks whether they have their replies."""

ORDER_SECONDS: Final = 0.001
TICK_SECONDS: Final = 0.25
"""The time between two looks at what is due for subscribers: beats, marks, progress, ends."""

MARK_EVENTS: Final = 1_000
"""The positions that may pass a subscriber by without a word, and `MARK_SECONDS` the time."""

MARK_SECONDS: Final = 1.0
SEND_SECONDS: Final = 30.0
"""The longest time that a chunk may take to be sent."""

START_SECONDS: Final = 10.0
"""The longest wait of the first subscriber for the tailer."""

IDLE_SECONDS: Final = 60.0
"""The time after which a hub without subscribers stops reading the log."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """The limits of the settings `TIDINGS_STREAM_*`, in seconds and connections."""

    connections_max: int = 1_000
    owner_connections_max: int = 50
    seconds_max: float = 3_600.0
    beat_seconds: float = 12.0


class Hub:
    """All subscribers of one process (see the module's docstring)."""

    def __init__(
        self,
        archive: Archive,
        progress: Progress,
        limits: StreamLimits,
        metrics: StreamMetrics,
        under_way: Callable[[], int],
    ) -> None:
        """Follow the log of `archive` once somebody subscribes; `under_way` returns the number of orders without a reply."""
        self.limits = limits
        self.metrics = metrics
        self.ring = Ring()
        self.identity = ""
        self.head = 0
        self.delivered = 0
        self._passed = lambda: self.delivered  # one for all subscribers
        self.error: BaseException | None = None
        self.sent_frames = self.sent_bytes = 0
        """What was sent since the metrics were told: to tell them each time would cost a delivery a twentieth more."""
        self._archive = archive
        self._progress = progress
        self._catch_up = CatchUp(self.ring, archive, metrics, limits.beat_seconds, self._known, self.register)
        self._tailer: Tailer | None = None
        self._started: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._idle_since = monotonic()
        self._pending: deque[LogEntry] = deque()
        self._arrived = asyncio.Event()
        self._under_way = under_way
        self._patience = 0.0
        self._last_progress = (0, 0)
        self._subscribers: dict[Subscriber, float] = {}
        self._owners: Counter[str] = Counter()
        self._all: dict[Subscriber, None] = {}
        self._by_market: defaultdict[str, dict[Subscriber, None]] = defaultdict(dict)
        self._by_account: defaultdict[str, dict[Subscriber, None]] = defaultdict(dict)
        self._of_events: dict[Subscriber, None] = {}

    @property
    def projected(self) -> int:
        """The least position of the read models."""
        return self._progress.position(PROJECTIONS)

    def _known(self) -> dict[str, FollowedMarket]:
        followed = self._tailer.followed if self._tailer is not None else None
        return followed.markets if followed is not None else {}

    def status(self) -> dict[str, int]:
        """Return the number of streams, and how many positions the slowest of them is behind the log's end."""
        slowest = max(
            (self.head - each.sent for each in self._subscribers if not each.live or each.sending_since), default=0
        )
        return {"connections": len(self._subscribers), "slowest_events": max(0, slowest)}

    def reserve(self, owner: str) -> None:
        """Refuse one stream too many; raises ApiError TOO_MANY_STREAMS, or UNAVAILABLE where the server stops."""
        if self._stopped:
            raise ApiError("UNAVAILABLE", "the server stops", retry_after_seconds=1)
        limits = self.limits
        all_full = len(self._subscribers) >= limits.connections_max
        if all_full or self._owners[owner] >= limits.owner_connections_max:
            raise ApiError(
                "TOO_MANY_STREAMS",
                "too many streams are open" if all_full else "too many streams of one account or address are open",
                {"streams_max": limits.connections_max if all_full else limits.owner_connections_max},
                retry_after_seconds=5,
            )

    async def subscribe(self, wanted: Subscribed, owner: str, after: int | None) -> Subscriber:
        """Return a new subscriber after a position, without one after the log's end. `leave` must end it.

        Raises:
            ApiError: as `reserve`; UNAVAILABLE, when the log cannot be read now.
        """
        self.reserve(owner)
        await self.start()
        reset = False
        if after is not None and after > self.head:  # we may have read less than the client was told by a write
            end = await to_thread.run_sync(self._archive.log.max_notification_id) or 0
            reset = after > end
            after = end if reset else after
        self.reserve(owner)
        subscriber = Subscriber(wanted, owner, self.head if after is None else after, self._catch_up.next)
        subscriber.was_reset = reset
        subscriber.passed = self._passed
        self._subscribers[subscriber] = monotonic() + self.limits.seconds_max * uniform(0.9, 1.1)  # noqa: S311
        self._owners[owner] += 1
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; once is enough."""
        if self._subscribers.pop(subscriber, None) is None:
            return
        self.unregister(subscriber)
        self._owners[subscriber.owner] -= 1
        if not self._owners[subscriber.owner]:
            del self._owners[subscriber.owner]
        self._idle_since = monotonic()

    def register(self, subscriber: Subscriber) -> None:
        """Let a subscriber that has read the whole ring get what comes from now on."""
        wanted = subscriber.wanted
        subscriber.offered = max(subscriber.offered, self.ring.end)
        subscriber.live = True
        if not wanted.channels.isdisjoint(PUBLIC):
            if wanted.markets is None:
                self._all[subscriber] = None
            for market_id in wanted.markets or ():
                self._by_market[market_id][subscriber] = None
        if "orders" in wanted.channels and wanted.account_id is not None:
            self._by_account[wanted.account_id][subscriber] = None
        if "events" in wanted.channels:
            self._of_events[subscriber] = None

    def unregister(self, subscriber: Subscriber) -> None:
        """Let a subscriber get nothing more."""
        subscriber.live = False
        self._all.pop(subscriber, None)
        self._of_events.pop(subscriber, None)
        wanted = subscriber.wanted
        for index, keys in (
            (self._by_market, wanted.markets or ()),
            (self._by_account, (wanted.account_id,) if wanted.account_id else ()),
        ):
            for key in keys:
                index[key].pop(subscriber, None)
                if not index[key]:
                    del index[key]

    def stop(self) -> None:
        """End all streams, and let none begin, from any thread: the server is about to stop."""
        self._stopped = True
        if self._tailer is not None:
            self._tailer.stop()
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody reads any more
                self._loop.call_soon_threadsafe(self._end_all, Closed(STOPS, "stop"))

    def _end_all(self, closed: Closed) -> None:
        for subscriber in list(self._subscribers):
            subscriber.close(closed)
        if self._stopped:
            for task in self._tasks:
                task.cancel()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Note an error of ours, which would leave all streams frozen: the process ends with it."""
        self.error = error
        self._end_all(Closed(STOPS, "error"))

    # --- the tailer

    async def start(self) -> None:
        """Begin to follow the log, if nobody does yet; raises ApiError UNAVAILABLE where it cannot be read."""
        self._idle_since = monotonic()  # else the next look could end what begins here, before anybody has subscribed
        if self._tailer is None:
            self._loop = asyncio.get_running_loop()
            self._started = self._loop.create_future()
            self._tailer = Tailer(self._archive, self._loop, self._on_start, self._on_entries, self._fail)
            self._tailer.start()
            if not self._tasks:
                self._tasks = [
                    self._loop.create_task(self._fan_out(), name="stream-fan-out"),
                    self._loop.create_task(self._tick(), name="stream-tick"),
                ]
                for task in self._tasks:
                    task.add_done_callback(self._task_ended)
        assert self._started is not None, "set with the tailer"
        try:
            await asyncio.wait_for(asyncio.shield(self._started), START_SECONDS)
        except TimeoutError:
            raise ApiError("UNAVAILABLE", "the log cannot be read now", retry_after_seconds=1) from None

    def _on_start(self, started: Started) -> None:
        if self.identity not in {"", started.identity} or started.head < self.head:
            self._end_all(Closed(LOG_CHANGED, "log_changed"))
        self.identity, self.head = started.identity, started.head
        self._pending.clear()
        self.delivered = started.position
        self.ring.clear(started.position)
        if self._started is not None and not self._started.done():
            self._started.set_result(None)

    def _on_entries(self, entries: Sequence[LogEntry]) -> None:
        self.ring.extend(entries)
        self._pending.extend(entries)
        self.head = max(self.head, self.ring.end)
        if entries[-1].time:
            self.metrics.lag.set(max(0.0, time() - entries[-1].time / 1e6))
        self._arrived.set()

    async def _fan_out(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._arrived.clear()
            self._patience = PATIENCE_SECONDS
            await self._give_way()
            began, woken, events = monotonic(), 0, 0
            while self._pending:
                entry = self._pending.popleft()
                for subscriber in self._interested(entry):
                    woken += subscriber.offer(entry)
                    if woken >= SLICE_WAKES or monotonic() - began > SLICE_SECONDS:
                        await self._give_way()
                        began, woken, events = monotonic(), 0, 0
                self.delivered = max(self.delivered, entry.position)
                if (events := events + 1) >= SLICE_EVENTS:
                    await asyncio.sleep(BURST_REST_SECONDS)
                    began, woken, events = monotonic(), 0, 0

    async def _give_way(self) -> None:
        """Let those that were woken send, then the other threads run, then orders that are under way get their replies."""
        await asyncio.sleep(0)
        sleep(REST_SECONDS)  # noqa: ASYNC251  see there
        while self._patience > 0 and self._under_way():
            began = monotonic()
            await asyncio.sleep(ORDER_SECONDS)
            self._patience -= monotonic() - began

    def _interested(self, entry: LogEntry) -> Iterable[Subscriber]:
        found: list[Subscriber] = []
        if entry.is_public:
            found += self._all
            found += self._by_market.get(entry.market_id or "", ())
        for account_id in entry.accounts:
            found += self._by_account.get(account_id, ())
        found += self._of_events
        return found

    # --- what is due without an event

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now, woken = monotonic(), 0
            moved = (self.head, self.projected) != self._last_progress
            self._last_progress = (self.head, self.projected)
            for number, (subscriber, ends_at) in enumerate(list(self._subscribers.items())):
                woken += self._look_at(subscriber, ends_at, now, moved=moved)
                if woken >= SLICE_WAKES or number % 500 == 499:
                    await asyncio.sleep(0)
                    woken = 0
            self.metrics.frames.inc(self.sent_frames)
            self.metrics.bytes.inc(self.sent_bytes)
            self.sent_frames = self.sent_bytes = 0
            self.metrics.behind.set(self.status()["slowest_events"])
            self.metrics.position.set(self.delivered)
            if not self._subscribers and now - self._idle_since > IDLE_SECONDS and self._tailer is not None:
                await self._rest()

    def _look_at(self, subscriber: Subscriber, ends_at: float, now: float, *, moved: bool) -> bool:
        if subscriber.sending_since is not None:
            if now - subscriber.sending_since > SEND_SECONDS:
                subscriber.close(Closed(SLOW, "slow"))
                subscriber.abort()
            return False
        if now > ends_at:
            subscriber.close(Closed(STOPS, "age"))
            return False
        if moved and subscriber.wanted.progress:
            subscriber.progress = True
        if now - subscriber.told_at >= self.limits.beat_seconds:
            subscriber.beat = True
        if subscriber.live and (passed := self.delivered - subscriber.position) > 0:
            subscriber.mark = subscriber.mark or passed >= MARK_EVENTS or now - subscriber.marked_at >= MARK_SECONDS
        return (subscriber.beat or subscriber.mark or subscriber.progress) and subscriber.wake()

    async def _rest(self) -> None:
        """Stop reading the log; the next subscriber starts again."""
        tailer, self._tailer = self._tailer, None
        self.metrics.position.set(0)
        assert tailer is not None, "it was looked at"
        tailer.stop()
        await to_thread.run_sync(tailer.join)


def limits_of(settings: Any) -> StreamLimits:
    """Return the limits that the settings name."""
    return StreamLimits(
        connections_max=settings.stream_connections_max,
        owner_connections_max=settings.stream_owner_connections_max,
        seconds_max=settings.stream_seconds_max,
        beat_seconds=settings.stream_beat_ms / 1000,
    )
