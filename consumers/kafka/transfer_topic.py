"""Cash between partitions over Kafka: the topic `transfers` has a partition for each partition of the log."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog
from confluent_kafka import Message
from eventsourcing.persistence import OperationalError

from consumers.engine.log import InDoubt, mapped_errors
from consumers.engine.transfer_topic import Arrival, Outgoing
from consumers.kafka.errors import TOPIC_ERRORS
from consumers.kafka.records import RecordReader, RecordSender, offset_of
from consumers.kafka.topics import TRANSFERS, ensure_topics_once, topic_id, topic_name
from domain.transfers import Transfer
from messages.transfers import dump_transfer, parse_transfer
from settings import listed

if TYPE_CHECKING:
    from settings import Settings

_log: Final = structlog.get_logger()

READ_RECORDS: Final = 500
"""The most records that are read at once."""

READ_SECONDS: Final = 1.0
"""The longest wait for records before the reader looks whether it has to stop."""

AGAIN_SECONDS: Final = 1.0
"""The time after which transfers to a partition that could not be reached are sent again."""

AGAIN_WRITE_SECONDS: Final = 60.0
"""The longest wait until the topic has what `send_again` sends."""


class KafkaTransferTopic:
    """One engine's part of the topic: it reads its own partition, in a thread, and writes to all others.

    Each other partition has a producer of its own that keeps the order: one that cannot be reached holds up no other.
    """

    def __init__(self, settings: "Settings", wake: Callable[[], None]) -> None:
        """Connects at the first `rewind`. `wake` is called from a thread when transfers have come."""
        self._settings = settings
        self._wake = wake
        self._topic = topic_name(settings, TRANSFERS)
        self._topic_id = ""
        self._reader: _Reader | None = None
        self._senders: dict[int, RecordSender] = {}
        self._acknowledged: dict[int, int] = {}
        self._failed: dict[int, float] = {}

    @property
    def partitions(self) -> int:
        """The number of partitions of the exchange."""
        return self._settings.partitions

    @property
    def placing(self) -> Sequence[int]:
        """The partitions in which new stories and accounts are placed."""
        return [int(each) for each in listed(self._settings.placing)]

    @property
    def name(self) -> str:
        """The name under which the log says how far this partition is read. A topic made anew has another name."""
        return f"{self._topic}-{self._settings.partition}@{self._topic_id}"

    def rewind(self, next_offsets: Mapping[str, int]) -> int:
        """Read on where the log says, or at the beginning; forget what was to be sent. Raises InDoubt: no broker answers."""
        self.close()
        with mapped_errors(TOPIC_ERRORS, "the transfers cannot be read"):
            ensure_topics_once(self._settings)
            self._topic_id = topic_id(self._settings, TRANSFERS)
            reader = RecordReader(self._settings, self._topic, self._settings.partition)
            first, end = reader.ends()
            offset = min(max(next_offsets.get(self.name, first), first), end)
            reader.seek(offset)
        self._reader = _Reader(reader, self._wake)
        return offset

    def take(self) -> Sequence[Arrival]:
        """Return what has come. Raises InDoubt when the topic cannot be read."""
        assert self._reader is not None, "rewind first"
        found = []
        for record in self._reader.take():
            try:
                transfer, then = parse_transfer(record.value() or b"")
            except ValueError as error:  # engines alone write here: the next number will be missing
                _log.error("transfer_unreadable", offset=offset_of(record), reason=str(error))
            else:
                found.append(Arrival(transfer, then, offset_of(record) + 1))
        return found

    def send(self, outgoing: Outgoing) -> None:
        """Send a transfer; once one has failed, those to the same partition wait until `failed` has told of it."""
        to_partition, transfer, then = outgoing
        if to_partition in self._failed:
            return
        if to_partition not in self._senders:
            self._senders[to_partition] = RecordSender(self._settings, in_order=True)
        delivered = partial(self._note, to_partition, transfer.number)
        try:
            self._senders[to_partition].send(
                self._topic, dump_transfer(transfer, then), partition=to_partition, delivered=delivered
            )
        except OperationalError:
            self._failed[to_partition] = monotonic()

    def _note(self, to_partition: int, number: int, error: Any, _record: Message) -> None:
        if error is not None:
            self._failed.setdefault(to_partition, monotonic())
        elif to_partition not in self._failed:
            self._acknowledged[to_partition] = number

    def acknowledged(self) -> Mapping[int, int]:
        """Return, by partition, the last number that the broker has acknowledged since this was asked last."""
        for sender in self._senders.values():
            sender.report()
        found, self._acknowledged = self._acknowledged, {}
        return found

    def failed(self) -> Sequence[int]:
        """Return the partitions to which transfers were given up, a second after that."""
        now = monotonic()
        due = [to_partition for to_partition, at in self._failed.items() if now > at + AGAIN_SECONDS]
        for to_partition in due:
            sender = self._senders.pop(to_partition, None)
            if sender is not None:
                sender.close(0.0)  # it tells of more that failed
            del self._failed[to_partition]
        return due

    def close(self) -> None:
        """Disconnect. What is on its way may arrive."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        for sender in self._senders.values():
            sender.close(0.0)
        self._senders.clear()
        self._acknowledged.clear()
        self._failed.clear()


def send_again(settings: "Settings", to_partition: int, transfers: Sequence[Transfer]) -> None:
    """Send transfers that a log has once more, in their order, without what they carried along.

    Raises OperationalError: no broker answers, or the topic may not have all of them.
    """
    values = [dump_transfer(transfer) for transfer in transfers]
    with closing(RecordSender(settings, in_order=True)) as sender:
        sender.write(topic_name(settings, TRANSFERS), values, AGAIN_WRITE_SECONDS, partition=to_partition)


class _Reader:
    """Reads a topic in a thread, until it is closed or fails."""

    def __init__(self, reader: RecordReader, wake: Callable[[], None]) -> None:
        self._reader = reader
        self._wake = wake
        self._records: deque[Message] = deque()
        self._error: OperationalError | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="transfers", daemon=True)
        self._thread.start()

    def take(self) -> Sequence[Message]:
        """Return what has come. Raises InDoubt when reading has failed."""
        records: list[Message] = []
        while self._records and len(records) < READ_RECORDS:
            records.append(self._records.popleft())
        if not records and self._error is not None:
            raise InDoubt(f"the transfers cannot be read: {self._error}") from self._error
        return records

    def close(self) -> None:
        """Stop reading, and disconnect."""
        self._closing = True
        self._reader.wake()
        self._thread.join()
        self._reader.close()

    def _run(self) -> None:
        while not self._closing:
            try:
                records = self._reader.take(READ_RECORDS, READ_SECONDS)
            except OperationalError as error:
                self._error = error
                self._wake()
                return
            if records:
                self._records.extend(records)
                self._wake()
