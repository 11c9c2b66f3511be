"""One reader of replies for all lanes of a process: it reads one partition of the topic, and hands on what is theirs."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog
from confluent_kafka import Message
from eventsourcing.persistence import OperationalError

from consumers.kafka.receivers import engine_of
from consumers.kafka.records import RecordReader, reader_at_end
from consumers.kafka.topics import REPLIES, topic_name
from consumers.kafka.unreadable import UnreadableRecords

if TYPE_CHECKING:
    from settings import Settings

_log: Final = structlog.get_logger()

READ_RECORDS: Final = 1_000
"""The most records that are read at once."""

READ_SECONDS: Final = 0.5
"""The longest wait for records before the reader looks whether it has to stop."""

AGAIN_SECONDS: Final = 0.1
"""The time until the reader tries again where the broker fails."""


class SharedReplies:
    """Reads in a thread. `number` is the partition that it reads; receivers' names begin with it."""

    def __init__(self, settings: "Settings") -> None:
        """Connects at `start`."""
        self.number = uuid4().int % settings.partitions
        self._settings = settings
        self._topic = topic_name(settings, REPLIES)
        self._unreadable = UnreadableRecords(self._topic)
        self._reader: RecordReader | None = None
        self._error: Exception | None = None
        self._sources: dict[str, LaneReplies] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="replies", daemon=True)

    def start(self) -> None:
        """Read from the end of the partition on. Raises OperationalError: no broker answers in time."""
        self._reader = reader_at_end(self._settings, self._topic, self.number)
        self._thread.start()

    def close(self) -> None:
        """Read no more."""
        self._stopping.set()
        if self._reader is not None:
            self._reader.wake()
            self._thread.join()
            self._reader.close()

    def of(self, key: bytes, partition: int) -> "LaneReplies":
        """Return what comes for the receiver with this key, whose commands the engine of one partition decides."""
        source = self._sources[key.decode()] = LaneReplies(partition)
        if self._error is not None:
            source.fail(self._error)
        return source

    def _read(self) -> None:
        """Read until it is closed. An error of ours ends it, and every lane is told."""
        try:
            self._read_replies()
        except Exception as error:  # noqa: BLE001  the lanes raise it
            self._error = error
            for source in list(self._sources.values()):
                source.fail(error)

    def _read_replies(self) -> None:
        assert self._reader is not None, "start first"
        while not self._stopping.is_set():
            try:
                records = self._reader.take(READ_RECORDS, READ_SECONDS)
            except OperationalError as error:
                _log.warning("replies_unreadable", error=str(error))
                self._stopping.wait(AGAIN_SECONDS)
                continue
            for record in records:
                try:
                    receivers = self._receivers(record)
                except ValueError as error:  # anybody who may write there can write such a header
                    self._unreadable.note(record, error)
                    continue
                for source in receivers:
                    source.put(record)

    def _receivers(self, record: Message) -> Sequence["LaneReplies"]:
        key = record.key()
        if key is None:
            return [source for source in list(self._sources.values()) if source.partition == engine_of(record)]
        found = self._sources.get(key.decode(errors="replace") if isinstance(key, bytes) else key)
        return () if found is None else (found,)


class LaneReplies:
    """The records of replies for one lane, which is the way to this partition."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self._records: deque[Message] = deque()
        self._news = threading.Event()
        self._error: Exception | None = None

    def fail(self, error: Exception) -> None:
        """Have `take` raise from now on: nobody reads any more."""
        self._error = error
        self._news.set()

    def put(self, record: Message) -> None:
        """Add a record; from the reader's thread."""
        self._records.append(record)
        self._news.set()

    def take(self, records_max: int, timeout_seconds: float) -> Sequence[Message]:
        """Return the records that have come; wait for the first one, and return none when the time is up.

        Raises RuntimeError: the reader has stopped.
        """
        if not self._records:
            self._news.wait(timeout_seconds)
        self._news.clear()
        if self._error is not None:
            raise RuntimeError(f"the reader of replies has stopped: {self._error}") from self._error
        return [self._records.popleft() for _ in range(min(records_max, len(self._records)))]

    def wake(self) -> None:
        """Have `take` return at once; from any thread."""
        self._news.set()

    def close(self) -> None:
        """Do nothing: the reader belongs to all lanes."""
