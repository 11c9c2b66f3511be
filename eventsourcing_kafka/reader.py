"""Reads the log: in order and folded (``Reader``), or single records at known offsets (``Fetcher``).

``Reader`` uses librdkafka, which fetches ahead while we fold. ``Fetcher`` uses kafka-python, which does not: fetching ahead
after every single record would be wasted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException
from eventsourcing.persistence import OperationalError
from kafka import KafkaConsumer, TopicPartition

from eventsourcing_kafka.clients import connect
from eventsourcing_kafka.errors import LogTruncated, RecordsMissing, translate_errors
from eventsourcing_kafka.forks import OneProcess
from eventsourcing_kafka.protocol import START, Batch, Checkpoint, decode
from eventsourcing_kafka.quiet import librdkafka_log
from eventsourcing_kafka.waits import POLL_SECONDS, StuckError, WaitGuard, call_within, end_poll

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from eventsourcing_kafka.settings import Settings

__all__ = ["Fetcher", "Reader"]

FETCH_BYTES_RANDOM = 128 * 1024
CACHE_BYTES_MAX = 16 * 1024 * 1024
RECORDS_AT_ONCE = 100
POLL_MS = 50
"""The longest wait for records before ``Fetcher`` looks whether the broker has answered with none."""


class Reader:
    """Reads one partition in order, from a checkpoint on, and yields the batches that count.

    Connects when it is first used. It belongs to one thread at a time.
    """

    def __init__(self, settings: Settings, at: Checkpoint = START) -> None:
        self._settings = settings
        self._process = OneProcess()
        self._consumer: Any = None
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
            if self._consumer is not None:
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
            consumer = confluent_kafka.Consumer(settings.rdkafka_consumer(), logger=librdkafka_log)
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
        ask = partial(consumer.get_watermark_offsets, self._topic_partition(0), timeout=timeout)
        try:
            _, end = call_within(timeout, consumer, guard, ask)
        except KafkaException as error:
            raise OperationalError(f"Cannot find the end of the log: {error}") from error
        return int(end)

    def _assign(self, offset: int) -> None:
        self._process.check()
        self._end_seen = 0
        self._consumer.assign([self._topic_partition(offset)])

    def _fetch(self, timeout: float, end: int | None = None) -> None:
        """Fetch records if there are none; give up after ``timeout`` seconds, or if there are none before ``end``."""
        deadline = monotonic() + timeout
        while not self._fetched and (end is None or self._end_seen < end):
            consumer, guard = self._connected()
            left = min(POLL_SECONDS, max(0.0, deadline - monotonic()))
            with guard.at_most(left):
                found = consumer.poll(left)
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
            return record
        return None


class Fetcher:
    """Reads single batches at known offsets. Keeps the records that it read last (16 MiB of them).

    A broker answers with more records than the one asked for. Those are kept too, undecoded: whoever pages through a log of
    small records asks for them next, and parsing them is most of the cost of a fetch.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process = OneProcess()
        self._partition = TopicPartition(settings.topic, settings.partition)
        self._consumer: Any = None
        self._values: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, offsets: Iterable[int]) -> dict[int, Batch]:
        """Return the batches at these offsets, without checking whether they count. Other records are left out.

        Raises:
            OperationalError: a record cannot be read in time.
        """
        found: dict[int, Batch] = {}
        for offset in sorted(offsets):
            value = self._value_at(offset)
            batch = decode(value)
            if isinstance(batch, Batch):
                batch.offset = offset
                found[offset] = batch
        return found

    def end(self) -> int:
        """Return the offset after the last record that has been acknowledged.

        ``Reader.end`` waits behind the reader's own fetch, up to ``fetch.wait.max.ms``; this does not.

        Raises:
            OperationalError: the broker does not answer in time.
        """
        timeout_ms = int(self._settings.read_timeout * 1000)
        try:
            with translate_errors("Cannot find the end of the log"):
                return int(self._connected().end_offsets([self._partition], timeout_ms)[self._partition])
        except OperationalError:
            self.close()  # as above
            raise

    def begin(self) -> int:
        """Return the offset of the first record that was not deleted: 0 in a whole log.

        Raises:
            OperationalError: the broker does not answer in time.
        """
        timeout_ms = int(self._settings.read_timeout * 1000)
        with translate_errors("Cannot find the beginning of the log"):
            return int(self._connected().beginning_offsets([self._partition], timeout_ms)[self._partition])

    def read_from(self, at: Checkpoint) -> Iterator[Batch]:
        """Yield the batches that count, from a checkpoint to the end of the log at the time of the call.

        For a look at a few batches anywhere in the log, which must be quick. ``Reader`` reads long stretches faster.

        Raises:
            OperationalError, RecordsMissing: as ``Reader.read_to``.
        """
        state = at.state
        for offset in range(at.offset, self.end()):
            record = decode(self._value_at(offset))
            after = state.after(record)
            if after is not None:
                state = after
                if isinstance(record, Batch):
                    record.offset = offset
                    yield record

    def put(self, offset: int, value: bytes) -> None:
        """Keep the record at this offset, which the caller has written."""
        if offset not in self._values:
            self._values[offset] = value
            self._bytes += len(value)
        while self._bytes > CACHE_BYTES_MAX and len(self._values) > 1:
            _, dropped = self._values.popitem(last=False)
            self._bytes -= len(dropped)

    def clear(self) -> None:
        """Forget the records."""
        self._values.clear()
        self._bytes = 0

    def close(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None and self._process.is_this:
            consumer.close(autocommit=False, timeout_ms=0)

    def _value_at(self, offset: int) -> bytes | None:
        """Return the value of the record at this offset, None if no record has that offset."""
        if offset in self._values:
            self._values.move_to_end(offset)
        else:
            for record in self._records_from(offset):
                self.put(record.offset, record.value or b"")
        return self._values.get(offset)

    def _records_from(self, offset: int) -> list[Any]:
        with translate_errors(f"Cannot read the record at offset {offset}"):
            consumer = self._connected()
            # A poll that returns records has not sent the next fetch, so this seek need not wait for one to end.
            consumer.seek(self._partition, offset)
            deadline = monotonic() + self._settings.read_timeout
            while (left := deadline - monotonic()) > 0:
                for records in consumer.poll(timeout_ms=min(POLL_MS, int(left * 1000) + 1)).values():
                    if records:
                        return list(records)
                if consumer.position(self._partition) > offset:
                    return []  # the log ends with markers of transactions, which are no records
        raise OperationalError(f"No record at offset {offset} within {self._settings.read_timeout} s")

    def _connected(self) -> Any:
        self._process.check()
        if self._consumer is None:
            arguments = self._settings.kafka_python_consumer(fetch_bytes=FETCH_BYTES_RANDOM)
            self._consumer = connect(KafkaConsumer, arguments)
            self._consumer.assign([self._partition])
        return self._consumer
