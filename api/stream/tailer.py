"""The thread that follows the log, makes the frames of each event, and hands them to the event loop in pages."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from api.stream.frames import LogEntry, decoded
from api.stream.replay import AWAY
from projections.machine.background import Background
from projections.machine.known_log import log_identity

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from eventsourcing.persistence import Notification, Subscription

    from api.stream.replay import Archive
    from messages.channels import FollowedMarkets

PAUSE_SECONDS_MAX: Final = 5.0
"""The longest pause after an error; the first is 0.1 seconds, each one twice the last."""


class Started(NamedTuple):
    """Where a tailer begins: the log's identity, the position after which it follows, the log's end as it was then."""

    identity: str
    position: int
    head: int


class Tailer:
    """Follows the log after the position of the read models, in one thread.

    `on_start`, `on_entries` and `on_end` are called in the loop. While the log or the database is away it tries again, behind
    the last event. Any other error ends it, with `on_end`.
    """

    def __init__(
        self,
        archive: Archive,
        loop: asyncio.AbstractEventLoop,
        on_start: Callable[[Started], None],
        on_entries: Callable[[list[LogEntry]], None],
        on_end: Callable[[Exception], None],
    ) -> None:
        self._archive = archive
        self._loop = loop
        self._on_start = on_start
        self._on_entries = on_entries
        self._on_end = on_end
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # guards what has been gathered
        self._gathered: list[LogEntry] = []
        self._subscription: Subscription[Any] | None = None
        self._identity = ""
        self._position = 0
        self.followed: FollowedMarkets | None = None
        self._thread = Background(self._run, "stream-tailer")

    def start(self) -> None:
        """Start to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, from any thread; returns at once."""
        self._stopping.set()
        if (subscription := self._subscription) is not None:
            subscription.stop()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            position = self._position
            try:
                self._follow()
            except AWAY as error:
                if self._stopping.is_set():
                    return
                pause = 0.1 if self._position > position else pause
                structlog.get_logger("stream").warning("log_away", error=str(error), retry_seconds=pause)
                self._stopping.wait(pause)
                pause = min(2 * pause, PAUSE_SECONDS_MAX)
            except Exception as error:
                if self._stopping.is_set():
                    return
                self._call(self._on_end, error)
                raise

    def _follow(self) -> None:
        """Follow the log until `stop`; raises whatever the recorder raises."""
        log = self._archive.log
        identity = log_identity(log)
        head = log.max_notification_id() or 0
        if self.followed is None or identity != self._identity or head < self._position:
            self._position, self.followed = self._archive.seed()
            self._identity = identity
            self._call(self._on_start, Started(identity, self._position, max(head, self._position)))
        with log.subscribe(gt=self._position) as subscription:
            self._subscription = subscription
            if self._stopping.is_set():
                return
            for stored in subscription:
                self._take(stored)

    def _take(self, stored: Notification) -> None:
        assert self.followed is not None, "it was seeded"
        recorded = decoded(stored)
        entry = LogEntry(stored, recorded, self.followed.follow(recorded) if recorded is not None else ())
        self._position = stored.id
        with self._lock:
            self._gathered.append(entry)
            first = len(self._gathered) == 1
        if first:
            self._call(self._hand_over)

    def _hand_over(self) -> None:
        """Give the loop all that has gathered: one call for a whole page."""
        with self._lock:
            entries, self._gathered = self._gathered, []
        self._on_entries(entries)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if not self._stopping.is_set():
            self._loop.call_soon_threadsafe(function, *arguments)
