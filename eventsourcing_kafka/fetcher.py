"""Reads single records at known offsets. ``reader`` reads a log in order."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from eventsourcing_kafka.clients import Connections, ends
from eventsourcing_kafka.errors import LogTruncated, translate_errors
from eventsourcing_kafka.forks import OneProcess
from eventsourcing_kafka.library import OperationalError
from eventsourcing_kafka.protocol import Batch, Checkpoint, decode
from eventsourcing_kafka.waits import StuckError, call_within, poll_seconds, wait_for_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from eventsourcing_kafka.settings import Settings
    from eventsourcing_kafka.waits import WaitGuard

__all__ = ["Fetcher"]

CACHE_BYTES_MAX = 16 * 1024 * 1024
RECORDS_MAX = 10_000
"""The most records that are taken from one answer of a broker."""


class Fetcher:
    """Reads single batches at known offsets. Keeps the records that it read last (16 MiB of them).

    A broker answers with more records than the one asked for. Those are kept too, undecoded: whoever pages through a log of
    small records asks for them next. Fetchers of one process share their connections. It belongs to one thread at a time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process = OneProcess()
        self._connections: Connections | None = None
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
        return self._ends()[1]

    def begin(self) -> int:
        """Return the offset of the first record that was not deleted: 0 in a whole log.

        Raises:
            OperationalError: the broker does not answer in time.
        """
        return self._ends()[0]

    def read_from(self, at: Checkpoint) -> Iterator[Batch]:
        """Yield the batches that count, from a checkpoint to the end of the log at the time of the call.

        For a look at a few batches anywhere in the log, which must be quick. ``Reader`` reads long stretches faster.

        Raises:
            OperationalError, RecordsMissing: as ``Reader.read_to``.
        """
        for batch, _ in self.fold(at, self.end()):
            if batch is not None:
                yield batch

    def fold(self, at: Checkpoint, end: int) -> Iterator[tuple[Batch | None, Checkpoint]]:
        """Yield for each record before offset ``end`` its batch, or None if it does not count, and the checkpoint after it.

        Raises:
            OperationalError, RecordsMissing: as ``Reader.read_to``.
        """
        state = at.state
        for offset in range(at.offset, end):
            record = decode(self._value_at(offset))
            after = state.after(record)
            batch = record if after is not None and isinstance(record, Batch) else None
            if batch is not None:
                batch.offset = offset
            state = after or state
            yield batch, Checkpoint(offset + 1, *state)

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
        """Disconnect, unless others use the same connections. The next call connects again."""
        connections, self._connections = self._connections, None
        if connections is not None and self._process.is_this:
            connections.leave()

    def _value_at(self, offset: int) -> bytes | None:
        """Return the value of the record at this offset, None if no record has that offset."""
        if offset in self._values:
            self._values.move_to_end(offset)
        else:
            for record in self._records_from(offset):
                self.put(record.offset(), record.value() or b"")
        return self._values.get(offset)

    def _records_from(self, offset: int) -> list[Any]:
        """Return the records of one answer of the broker: from this offset on, none if the log has no more of them."""
        doing = f"Cannot read the record at offset {offset}"
        deadline = monotonic() + self._settings.read_timeout
        while True:
            with self._shared().consumer() as (consumer, guard), translate_errors(doing):
                answer = self._answer(consumer, guard, offset, deadline)
                if answer is not None:
                    return [record for record in answer if _is_record(record, offset)]
                if not guard.stale:
                    raise OperationalError(f"No record at offset {offset} within {self._settings.read_timeout} s")

    def _answer(self, consumer: Any, guard: WaitGuard, offset: int, deadline: float) -> list[Any] | None:
        """Return what one fetch brings; None if the time is up, or the consumer must be replaced."""
        consumer.assign([self._topic_partition(offset)])
        try:
            while not guard.stale and (left := poll_seconds(deadline)) > 0:
                with guard.at_most(left):
                    first = wait_for_record(consumer, left)
                if first is not None:
                    return [first, *consumer.consume(RECORDS_MAX, 0)]
            return None
        finally:
            consumer.unassign()  # otherwise it fetches ahead

    def _ends(self) -> tuple[int, int]:
        seconds = self._settings.read_timeout
        while True:
            with (
                suppress(StuckError),  # the wall clock was set back
                self._shared().consumer() as (consumer, guard),
                translate_errors("Cannot find the end of the log"),
            ):
                ask = partial(ends, consumer, self._topic_partition(0), seconds)
                return call_within(seconds, consumer, guard, ask)

    def _topic_partition(self, offset: int) -> TopicPartition:
        return TopicPartition(self._settings.topic, self._settings.partition, offset)

    def _shared(self) -> Connections:
        self._process.check()
        if self._connections is None:
            self._connections = Connections.join(self._settings)
        return self._connections


def _is_record(record: Any, offset: int) -> bool:
    error = record.error()
    if error is None:
        return True
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  its public name
        return False  # the log ends here, perhaps with markers of transactions, which are no records
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  likewise
        raise LogTruncated(f"Cannot read the record at offset {offset}: {error}")
    raise KafkaException(error)
