"""Reading and sending records of one topic by librdkafka. Commands and their replies need its quick round trips.

`eventsourcing_kafka` reads and writes the log itself.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from eventsourcing.persistence import OperationalError

from consumers.kafka.log_settings import log_settings
from consumers.kafka.topics import RECORD_BYTES_MAX
from eventsourcing_kafka.clients import ends
from eventsourcing_kafka.quiet import librdkafka_log
from eventsourcing_kafka.waits import StuckError, WaitGuard, call_within, end_poll, poll_seconds, wait_for_record
from messages.command_ids import Sender

if TYPE_CHECKING:
    from settings import Settings

CONNECT_SECONDS: Final = 10.0
"""The longest wait for a broker's first answer."""

Headers = list[tuple[str, str | bytes | None]]

Delivered = Callable[[Any, Message], None]
"""Called with the error, or None, when the broker has acknowledged a record or can no longer do so."""


class RecordReader:
    """Reads one partition from an offset on. In no group; only who asks for it commits. It belongs to one thread at a time."""

    def __init__(self, settings: "Settings", topic: str, partition: int, *, may_skip: bool = False) -> None:
        """Connects in the background; `ends` tells whether that works.

        `may_skip`: where the next offset is gone, because the topic was made anew, go on with the records that come.
        """
        self._topic = topic
        self._partition = partition
        options = {"auto.offset.reset": "latest" if may_skip else "error"}
        self._options = log_settings(settings).rdkafka_client() | _READING | options
        self._next: int | None = None  # the offset of the next record, once `seek` has told one
        self._woken = False
        self._connect()

    def _connect(self) -> None:
        self._consumer = consumer = Consumer(self._options, logger=librdkafka_log)
        self._guard = WaitGuard(partial(end_poll, consumer))

    def ends(self) -> tuple[int, int]:
        """Return the first offset of the topic and the next to be written; wait while the partition has no leader.

        Raises OperationalError: no broker answers in time.
        """
        self._replace_if_stale()
        partition = TopicPartition(self._topic, self._partition)
        while True:
            ask = partial(ends, self._consumer, partition, CONNECT_SECONDS)
            try:
                return call_within(CONNECT_SECONDS, self._consumer, self._guard, ask)
            except StuckError:  # the wall clock was set back
                self._replace()
            except KafkaException as error:
                raise OperationalError(f"{self._topic} cannot be read: {error}") from error

    def seek(self, offset: int) -> None:
        """Go on with the record at this offset."""
        self._next = offset
        self._consumer.assign([TopicPartition(self._topic, self._partition, offset)])

    def seek_to_end(self) -> None:
        """Go on with the record that is written next, and miss none from now on. Raises OperationalError as `ends`."""
        self.seek(self.ends()[1])

    def seek_to_committed(self) -> None:
        """Go on after what was committed, or at the beginning of the topic. Raises OperationalError."""
        first, end = self.ends()
        part = TopicPartition(self._topic, self._partition)
        try:
            committed = self._consumer.committed([part], timeout=CONNECT_SECONDS)[0].offset
        except KafkaException as error:
            raise OperationalError(f"{self._topic} cannot be read: {error}") from error
        self.seek(committed if first <= committed <= end else first)

    def commit(self, offset: int) -> None:
        """Keep that all before this offset is done. Raises OperationalError."""
        try:
            self._consumer.commit(offsets=[TopicPartition(self._topic, self._partition, offset)], asynchronous=False)
        except KafkaException as error:
            raise OperationalError(f"{self._topic} cannot be committed: {error}") from error

    def take(self, records_max: int, timeout_seconds: float) -> Sequence[Message]:
        """Return the records that have come; wait for the first one, and return none when the time is up.

        Raises OperationalError: the next offset is gone (unless the reader may skip), or the broker refuses.
        """
        first = self._first(timeout_seconds)
        if first is None:
            return ()
        records = [first, *self._consumer.consume(records_max - 1, 0)] if records_max > 1 else [first]
        for record in records:
            if (error := record.error()) is not None:
                raise OperationalError(f"{self._topic} cannot be read: {error}")
        self._next = offset_of(records[-1]) + 1
        return records

    def wake(self) -> None:
        """End the wait of `take`, or its next one, without a record; for any thread."""
        self._woken = True
        self._guard.end_wait()

    def close(self) -> None:
        """Disconnect."""
        self._guard.close(self._consumer)

    def _first(self, timeout_seconds: float) -> Message | None:
        """Wait for a record."""
        deadline = monotonic() + timeout_seconds
        while True:
            self._replace_if_stale()
            left = poll_seconds(deadline)
            with self._guard.at_most(left):
                found: Message | None = wait_for_record(self._consumer, left)
            if found is not None or not left or self._woken:
                self._woken = False
                return found

    def _replace_if_stale(self) -> None:
        """Connect anew after the wall clock was set back."""
        if self._guard.stale:
            self.close()
            self._replace()

    def _replace(self) -> None:
        self._connect()
        if self._next is not None:
            self.seek(self._next)


FROM_HTTP: Final[Headers] = [("sender", b"http")]
FROM_GATE: Final[Headers] = [("sender", b"orders")]
"""The headers of records of commands that parts of the exchange send: their ids have names of their own."""


def sender_of(record: Message) -> Sender:
    """Return the part of the exchange that a record of commands says it comes from; a service if it says none."""
    headers = record.headers() or ()
    return "http" if FROM_HTTP[0] in headers else "orders" if FROM_GATE[0] in headers else "service"


def offset_of(record: Message) -> int:
    """Return the offset of a record that was read."""
    offset = record.offset()
    assert offset is not None, "a record that was read has one"
    return offset


def reader_at_end(settings: "Settings", topic: str, partition: int) -> RecordReader:
    """Return a reader of what is written from now on; it may skip. Raises OperationalError as `RecordReader.ends`."""
    reader = RecordReader(settings, topic, partition, may_skip=True)
    try:
        reader.seek_to_end()
    except BaseException:
        reader.close()
        raise
    return reader


class RecordSender:
    """Sends records without waiting for the broker; for any thread."""

    def __init__(
        self, settings: "Settings", *, retries: int | None = None, give_up_seconds: float = 30.0, in_order: bool = False
    ) -> None:
        """Connects in the background.

        Args:
            settings: where Kafka is.
            retries: how often a record is sent again; by default until the sender gives up.
            give_up_seconds: after this the sender gives up a record that the broker has not acknowledged.
            in_order: records arrive once and in the order of their sending, and none after one that was given up.
        """
        options: dict[str, Any] = {"message.timeout.ms": round(give_up_seconds * 1000)}
        if retries is not None:
            options["message.send.max.retries"] = retries
        if in_order:
            options |= {"enable.idempotence": True, "enable.gapless.guarantee": True}
        self._options = log_settings(settings).rdkafka_client() | _WRITING | options
        self._in_order = in_order
        self._replacing = Lock()
        self._replaced: deque[tuple[Producer, WaitGuard]] = deque()
        self._connect()

    def _connect(self) -> None:
        self._producer = Producer(self._options, logger=librdkafka_log)
        self._guard = WaitGuard(self._producer.purge)

    def send(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None = None,
        partition: int = 0,
        headers: Headers | None = None,
        delivered: Delivered | None = None,
    ) -> None:
        """Send a record.

        Raises OperationalError: too many records are waiting to be sent already, or the clock was set back and order counts.
        """
        self._replace_if_stale()
        try:
            self._producer.produce(topic, value, key, partition, on_delivery=delivered, headers=headers)
        except (BufferError, KafkaException) as error:
            raise OperationalError(f"cannot send to {topic}: {error}") from error

    def report(self) -> None:
        """Call the `delivered` of records that the broker has acknowledged; to be called now and then."""
        self._producer.poll(0)
        while self._replaced:
            producer, guard = self._replaced.popleft()
            guard.close(producer, partial(_close, producer))

    def flush(self, timeout_seconds: float) -> None:
        """Wait until the broker has acknowledged all records. Raises OperationalError: it has not in time."""
        if self._flush(timeout_seconds):
            raise OperationalError("the broker has not acknowledged the records in time")

    def write(
        self,
        topic: str,
        values: Sequence[bytes],
        timeout_seconds: float,
        *,
        partition: int = 0,
        headers: Headers | None = None,
    ) -> None:
        """Send records and wait until the topic has them. Raises OperationalError: the topic may not have all of them."""
        errors: list[Any] = []
        for value in values:
            self.send(
                topic,
                value,
                partition=partition,
                headers=headers,
                delivered=lambda error, _: errors.append(error) if error else None,
            )
        self.flush(timeout_seconds)
        if errors:
            raise OperationalError(f"{topic} does not have the record: {errors[0]}")

    def close(self, timeout_seconds: float = 1.0) -> None:
        """Disconnect, after a moment for the records that are on their way."""
        self._flush(timeout_seconds)
        self._guard.close(self._producer, partial(_close, self._producer))

    def _flush(self, timeout_seconds: float) -> int:
        """Wait until the broker has acknowledged all records; return the number of those it has not."""
        self.report()
        with self._guard.at_most(timeout_seconds):
            return self._producer.flush(timeout_seconds)

    def _replace_if_stale(self) -> None:
        """Connect anew after the wall clock was set back. What was on its way has failed, as `report` will tell."""
        if not self._guard.stale:
            return
        if self._in_order:
            raise OperationalError("the clock was set back while records were sent in order")
        with self._replacing:
            if self._guard.stale:
                self._replaced.append((self._producer, self._guard))
                self._connect()


def _close(producer: Producer) -> None:
    """Close a producer without waiting for the broker's answer to what is on its way; `delivered` is called with an error."""
    producer.purge()
    producer.poll(0)
    producer.close()


_READING: Final = {
    "group.id": "tidings",  # librdkafka wants one; without subscriptions and commits there is no group
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "allow.auto.create.topics": False,
    "isolation.level": "read_uncommitted",  # an open transaction of one sender must not hold up the others
    "max.poll.interval.ms": 86_400_000,  # a standby polls no commands
    "check.crcs": True,
    "fetch.error.backoff.ms": 100,
    "fetch.queue.backoff.ms": 10,
    "queued.max.messages.kbytes": 16 * 1024,
}
_WRITING: Final = {
    "acks": "all",
    "linger.ms": 0,
    "retry.backoff.ms": 20,
    "request.timeout.ms": 5_000,
    "message.max.bytes": 4 * RECORD_BYTES_MAX,
    "queue.buffering.max.kbytes": 64 * 1024,
}
