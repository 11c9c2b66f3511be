"""Reads the log in order, and folds it. librdkafka fetches ahead in its own threads meanwhile."""

from __future__ import annotations

from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException

from eventsourcing_kafka.clients import ends, new_client
from eventsourcing_kafka.errors import LogTruncated, RecordsMissing
from eventsourcing_kafka.forks import OneProcess
from eventsourcing_kafka.library import OperationalError
from eventsourcing_kafka.protocol import START, Batch, Checkpoint, decode
from eventsourcing_kafka.waits import StuckError, WaitGuard, call_within, end_poll, poll_seconds, wait_for_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventsourcing_kafka.settings import Settings

__all__ = ["Reader"]

RECORDS_AT_ONCE = 100
FETCH_WAIT_MS = 100
"""The longest time that a fetch waits for new records; a seek and ``Reader.end`` wait for the fetch in flight."""


class Reader:
    """Reads one partition in order, from a checkpoint on, and yields the batches that count.

    Connects when it is first used. It fetches ahead all the time, also while nobody reads, unless it rests. It belongs to one
    thread at a time.
    """

    def __init__(self, settings: Settings, at: Checkpoint = START, *, fetch_wait_ms: int = FETCH_WAIT_MS) -> None:
        """Begin at a checkpoint. At the end of the log a fetch waits ``fetch_wait_ms`` for records, and ``end`` waits for it."""
        self._settings = settings
        self._fetch_wait_ms = fetch_wait_ms
        self._process = OneProcess()
        self._consumer: Any = None
        self._is_resting = False
        self._guard: WaitGuard | None = None
        self._fetched: deque[Any] = deque()
        self._offset = at.offset
        self._state = at.state
        self._end_seen = 0  # the end of the log, when the consumer last reached it

    @property
    def settings(self) -> Settings:
        """The settings of this reader's log."""
        return self._settings

    @property
    def checkpoint(self) -> Checkpoint:
        """The place where another reader could continue: after everything that this one has returned."""
        return Checkpoint(self._offset, *self._state)

    def seek(self, at: Checkpoint) -> None:
        """Continue from another checkpoint."""
        if at.offset != self._offset:
            self._fetched.clear()
            self._end_seen = 0  # a later fetch must ask again, also if the consumer is assigned only then
            if self._consumer is not None and not self._is_resting:
                self._assign(at.offset)
        self._offset = at.offset
        self._state = at.state

    def end(self) -> int:
        """Return the offset after the last record that has been acknowledged.

        Raises:
            OperationalError: the broker does not answer in time.
        """
        while True:
            consumer, guard = self._connected()
            try:
                return self._end(consumer, guard, self._settings.read_timeout)
            except StuckError:  # the wall clock was set back
                self._consumer = self._guard = None

    def read(self, timeout: float = 0.0) -> list[Batch]:
        """Return the batches of at most one fetch; wait for one at most ``timeout`` seconds.

        Raises:
            LogTruncated: the record at the checkpoint's offset was deleted.
            RecordsMissing: the log has lost records after the checkpoint.
        """
        self._fetch(timeout)
        batches: list[Batch] = []
        while self._fetched:
            try:
                batch = self._fold_next()
            except RecordsMissing:
                if batches:
                    break  # the next read raises it: everything before the gap counts
                raise
            if batch is not None:
                batches.append(batch)
        return batches

    def read_to(self, end: int) -> Iterator[Batch]:
        """Yield the batches before offset ``end``. Afterwards the checkpoint is exactly at ``end``.

        Raises:
            OperationalError: nothing arrived for ``read_timeout`` seconds.
            LogTruncated, RecordsMissing: as ``read``.
        """
        while self._offset < end:
            self._fetch(self._settings.read_timeout, end)
            if not self._fetched and self._end_seen < end:
                self.close()  # the next read connects anew: this client may wait for a leader that was deposed
                raise OperationalError(
                    f"No record of {self._settings.topic} at offset {self._offset} of {end} "
                    f"within {self._settings.read_timeout} s"
                )
            if not self._fetched or self._fetched[0].offset() >= end:
                self._offset = end  # only markers of transactions lie before it, which are no records
                return
            batch = self._fold_next()
            if batch is not None:
                yield batch

    def rest(self) -> None:
        """Fetch nothing until the next read, which goes on at the checkpoint: the broker need not send what nobody reads."""
        self._fetched.clear()
        if self._consumer is not None:
            self._consumer.unassign()
            self._is_resting = True

    def close(self) -> None:
        """Disconnect. The checkpoint remains, and the next read connects again."""
        self._fetched.clear()
        self._disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _connected(self) -> tuple[Any, WaitGuard]:
        self._process.check()
        if self._guard is not None and self._guard.stale:
            self._disconnect()
        while self._consumer is None or self._guard is None:
            settings = self._settings
            consumer = new_client(confluent_kafka.Consumer, settings.rdkafka_consumer(self._fetch_wait_ms))
            guard = WaitGuard(partial(end_poll, consumer))
            try:
                self._end(consumer, guard, settings.connect_timeout)
            except StuckError:
                continue
            except OperationalError as error:
                guard.close(consumer)
                raise OperationalError(f"Cannot connect to {settings.bootstrap_servers}: {error}") from error
            self._consumer, self._guard = consumer, guard
            self._assign(self._fetched[-1].offset() + 1 if self._fetched else self._offset)
        return self._consumer, self._guard

    def _disconnect(self) -> None:
        consumer, guard, self._consumer, self._guard = self._consumer, self._guard, None, None
        if guard is not None and consumer is not None and self._process.is_this:
            guard.close(consumer)

    def _topic_partition(self, offset: int) -> Any:
        return confluent_kafka.TopicPartition(self._settings.topic, self._settings.partition, offset)

    def _end(self, consumer: Any, guard: WaitGuard, timeout: float) -> int:
        ask = partial(ends, consumer, self._topic_partition(0), timeout)
        try:
            return call_within(timeout, consumer, guard, ask)[1]
        except KafkaException as error:
            raise OperationalError(f"Cannot find the end of the log: {error}") from error

    def _assign(self, offset: int) -> None:
        self._process.check()
        self._is_resting = False
        self._end_seen = 0
        self._consumer.assign([self._topic_partition(offset)])

    def _fetch(self, timeout: float, end: int | None = None) -> None:
        """Fetch records if there are none; give up after ``timeout`` seconds, or if there are none before ``end``."""
        deadline = monotonic() + timeout
        while not self._fetched and (end is None or self._end_seen < end):
            consumer, guard = self._connected()
            if self._is_resting:
                self._assign(self._offset)
            left = poll_seconds(deadline)
            with guard.at_most(left):
                found = wait_for_record(consumer, left)
            if found is not None:
                self._keep([found, *consumer.consume(RECORDS_AT_ONCE - 1, 0)])
            elif not left:
                return

    def _keep(self, records: list[Any]) -> None:
        for record in records:
            error = record.error()
            if error is None:
                self._fetched.append(record)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  its public name
                self._end_seen = record.offset()
            else:
                self.close()  # drops the records that came with the error: the next read begins at the checkpoint
                truncated = error.code() == KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001  likewise
                raise (LogTruncated if truncated else OperationalError)(f"Cannot read the log: {error}")

    def _fold_next(self) -> Batch | None:
        found = self._fetched[0]
        record = decode(found.value())
        state = self._state.after(record)  # if this raises, the record stays the next one
        self._fetched.popleft()
        self._offset = found.offset() + 1
        if state is None:
            return None
        self._state = state
        if isinstance(record, Batch):
            record.offset = found.offset()
            record.headers = found.headers()
            return record
        return None
