"""Follows a log, event by event."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

from eventsourcing.persistence import ApplicationRecorder, Notification, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from eventsourcing_kafka.reader import Reader

__all__ = ["KafkaSubscription"]

POLL_SECONDS = 0.2
"""The longest time until ``stop()`` takes effect. Events do not wait for it: an event ends a poll at once."""


class KafkaSubscription(Subscription[ApplicationRecorder]):
    """Follows the log with its own consumer, in the thread that iterates. ``stop()`` ends it from any thread."""

    def __init__(
        self,
        recorder: ApplicationRecorder,
        gt: int | None,
        topics: Sequence[str],
        *,
        reader_at: Callable[[int], Reader],
        closed: Event,
    ) -> None:
        """Follow ``recorder`` after position ``gt`` until ``closed`` is set. Connects when iteration begins."""
        super().__init__(recorder, gt, topics)
        self._position = gt or 0
        self._reader_at = reader_at
        self._closed = closed
        self._reader: Reader | None = None
        self._ready: deque[Notification] = deque()
        self._iterating = Lock()

    def __next__(self) -> Notification:
        """Wait for the next event, without a time limit, and return it.

        Raises:
            StopIteration: ``stop()`` was called, or the recorder was closed.
            LogTruncated: the next events were deleted.
        """
        with self._iterating:
            while not (self._has_been_stopped or self._closed.is_set()):
                if self._ready:
                    return self._ready.popleft()
                if self._reader is None:
                    self._reader = self._reader_at(self._position)
                for batch in self._reader.read(POLL_SECONDS):
                    if batch.last > self._position:
                        self._ready += (
                            n
                            for n in batch.notifications()
                            if n.id > self._position and (not self._topics or n.topic in self._topics)
                        )
                        self._position = batch.last
            self._close()
            raise StopIteration

    def stop(self) -> None:
        """End the iteration, within ``POLL_SECONDS``."""
        super().stop()
        if self._iterating.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._iterating.release()

    def _close(self) -> None:
        self._ready.clear()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
