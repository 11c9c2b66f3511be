"""The log as batches: each is read and decoded once, and kept for read models that are a little behind."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Final

from eventsourcing.persistence import ApplicationRecorder

from domain.events import Recorded
from projections.machine.batch import Batch
from projections.machine.fold_traces import FoldTraces
from projections.machine.log_source import source_of

BATCH_EVENTS: Final = 50_000
"""The most events of a batch, about: a log of streams ends it with a whole record."""

LARGE_EVENTS: Final = 5_000
"""The size of a batch that says that its reader is catching up."""

BATCHES_KEPT: Final = 3
"""The number of newest batches that stay in memory for read models that come a little later."""

EVENTS_KEPT: Final = 5_000
"""The number of newest events that stay in memory in any case, in however many batches."""

PATIENCE_SECONDS: Final = 30.0
"""The longest wait of the fast read models for a slow one, so that the log is read once."""

SHARED_WAIT_SECONDS: Final = 0.02
"""The longest wait for news while several read models read at different positions."""

RECORD_SECONDS: Final = 10.0
"""The longest wait for events that the log has."""


def read_log(
    recorder: ApplicationRecorder, partition: int, after: int, until: int, *, whole: bool = False
) -> Iterator[Batch]:
    """Yield the events after one position, up to and including another one that the log has, in batches.

    With `whole`, events have the ids and digests of their commands, which no fold needs.
    """
    source = source_of(recorder, whole=whole)
    try:
        while after < until:
            events = source.read(after, RECORD_SECONDS, min(BATCH_EVENTS, until - after))
            while events and events[-1].position > until:
                events.pop()
            if not events:
                return
            yield Batch(partition, events)
            after = events[-1].position
    finally:
        source.close()


class LogReader:
    """One partition's log, for several readers, each of which names itself and has a position of its own.

    Readers that are far behind stay level, so that the log is read once for all of them: a batch stays in memory until the
    last of them has taken it, unless that reader makes no progress. While they fold a batch, the next one is read. One thread
    at a time reads, or waits for what is new, for all.
    """

    def __init__(self, recorder: ApplicationRecorder, partition: int = 0, traces: FoldTraces | None = None) -> None:
        self.partition = partition
        self._source = source_of(recorder, traces)
        self._batches: deque[tuple[int, Batch]] = deque()  # with the position that each begins after
        self._events_kept = 0
        self._next: dict[str, tuple[int, float]] = {}  # the position that each reader has reached, and since when
        self._reading = threading.Lock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        # The batch that is read ahead: the position that it begins after, and its events.
        self._ahead: tuple[int, Future[list[Recorded]]] | None = None
        self._moved = threading.Condition()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Stop reading; readers that wait for a batch get None."""
        self._stopping.set()
        with self._moved:
            self._moved.notify_all()
        with self._reading:  # a thread that reads now will see that we stop before it reads ahead
            self._executor.shutdown()
            self._source.close()

    def after(self, position: int, timeout_seconds: float, reader: str) -> Batch | None:
        """Wait for the next batch after a position, and return it; None if none came in that time.

        Raises whatever the recorder raises when the log cannot be read.
        """
        ends = monotonic() + timeout_seconds
        self._note_position(reader, position)
        while not self._stopping.is_set():
            batch = self.kept(position)
            waits = batch is None and self._must_wait_for_slower()
            if batch is None and not waits:
                with self._reading:
                    batch = self.kept(position) or self._read(position, max(0.0, ends - monotonic()))
            if batch is not None:
                self._note_position(reader, batch.last.position)
                return batch
            with self._moved:
                if (left := ends - monotonic()) <= 0:
                    return None
                self._moved.wait(min(left, 0.1 if waits else 0.001))  # in the latter case let others read
        return None

    def leave(self, reader: str) -> None:
        """Forget a reader that takes no more batches: the others do not wait for it."""
        with self._moved:
            self._next.pop(reader, None)
            self._moved.notify_all()

    def _note_position(self, reader: str, position: int) -> None:
        with self._moved:
            if self._next.get(reader, (-1,))[0] != position:
                self._next[reader] = (position, monotonic())
                self._moved.notify_all()

    def _are_level(self, position: int) -> bool:
        """Return whether all readers are at this position: then what one of them waits for is what all wait for."""
        with self._moved:
            return all(at == position for at, _ in self._next.values())

    def _must_wait_for_slower(self) -> bool:
        """Return whether the next batch would displace a large one that a slower reader is about to take."""
        with self._moved:
            if len(self._batches) < BATCHES_KEPT or len(self._batches[-1][1].events) < LARGE_EVENTS:
                return False
            begins, oldest = self._batches[0]
            still = monotonic() - PATIENCE_SECONDS
            return any(begins <= at < oldest.last.position and since > still for at, since in self._next.values())

    def kept(self, position: int) -> Batch | None:
        """Return the next batch after a position if it is still in memory, else None."""
        with self._moved:
            for begins, batch in reversed(self._batches):
                if position >= batch.last.position:
                    return None
                if begins <= position:
                    return batch.after(position)
        return None

    def _read(self, position: int, seconds: float) -> Batch | None:
        if self._stopping.is_set():
            return None
        reading, self._ahead = self._ahead, None
        if reading is not None and reading[0] == position:
            events = reading[1].result()
        else:
            if reading is not None:
                reading[1].exception()  # a source belongs to one thread at a time
            if not self._are_level(position):
                seconds = min(seconds, SHARED_WAIT_SECONDS)
            events = self._source.read(position, seconds, BATCH_EVENTS)
        if not events:
            return None
        if len(events) >= BATCH_EVENTS and not self._stopping.is_set():
            last = events[-1].position
            self._ahead = last, self._executor.submit(self._source.read, last, 0.0, BATCH_EVENTS)
        return self._keep(position, events)

    def _keep(self, position: int, events: Sequence[Recorded]) -> Batch:
        batch = Batch(self.partition, events)
        with self._moved:
            self._batches.append((position, batch))
            self._events_kept += len(events)
            while len(self._batches) > BATCHES_KEPT:
                left = self._events_kept - len(self._batches[0][1].events)
                if left < EVENTS_KEPT:
                    break
                self._batches.popleft()
                self._events_kept = left
            self._moved.notify_all()
        return batch
