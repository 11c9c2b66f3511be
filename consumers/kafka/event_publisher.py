"""The event publisher: copies the log to the topic `feed`, one record an event, for tools such as Connect and ksqlDB.

    key      id of the event's market, account or story; `partition-<n>` for other events
    value    the event in its public form, as in `/v1/events`
    headers  position, type, time; and checkpoint, which is for the publisher itself

A partition of the feed holds one partition of the log, in the log's order. The publisher keeps no state of its own: it
goes on after the last position in the feed. So it may repeat events after an interruption, and never leaves one out.
Readers skip positions that are not above the last one they saw.
"""

import signal
import threading
from contextlib import closing
from time import monotonic
from types import FrameType
from typing import Any, Final, Self

import msgspec
import structlog
from confluent_kafka import Message
from eventsourcing.persistence import OperationalError, PersistenceError
from prometheus_client import CollectorRegistry, Gauge

import eventsourcing_kafka as es_kafka
from consumers.kafka.log_settings import log_settings
from consumers.kafka.records import Headers, RecordReader, RecordSender, offset_of
from consumers.kafka.topics import FEED, ensure_topics, topic_name
from consumers.kafka.unreadable import UnreadableRecords
from consumers.ops_server import ops_server
from domain.events import Recorded
from domain.partition import CommandRejected
from messages.events import public_event
from messages.json_text import decode_untrusted
from messages.stored import decode_state
from settings import Settings

_log: Final = structlog.get_logger()

PENDING_EVENTS_MAX: Final = 5_000
PENDING_BYTES_MAX: Final = 16 * 1024 * 1024
"""The most events, and the most bytes of them, that are on their way at once."""

SEND_SECONDS: Final = 30.0
"""The longest wait for the broker."""

IDLE_SECONDS: Final = 0.5
"""The longest wait for events before the publisher looks whether to stop."""

LOOK_BACK_RECORDS: Final = 1_000
"""The number of records that are read at a time to find the last event of the feed behind those of strangers."""

POSITION_DIGITS_MAX: Final = 19
"""The most digits of a position."""

RETRY_SECONDS_MAX: Final = 5.0
"""The longest pause after an interruption."""

STUCK_SECONDS: Final = 10.0
"""The time without a look at the log after which the publisher counts as stuck."""

_encode: Final = msgspec.json.Encoder().encode
_CHECKPOINT: Final = msgspec.json.Decoder(es_kafka.Checkpoint)


class EventPublisher:
    """Copies one partition of the log to the feed, in a thread of its own or in the caller's. A context manager."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected before `run`."""
        self._settings = settings
        self._log_settings = log_settings(settings)
        self._topic = topic_name(settings, FEED)
        self._unreadable = UnreadableRecords(self._topic)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sent = self._sent_bytes = 0
        self._failed: Any = None
        self._moved = threading.Condition()
        self._following = False
        self._looked_at = 0.0
        self.position = 0
        """The position of the last event that the feed holds."""
        self.error: Exception | None = None
        """Why the publisher stopped by itself, or None."""

    def missing(self) -> list[str]:
        """Return what it lacks for its work: Kafka, or a loop that is not stuck. For any thread."""
        if not self._following:
            return ["kafka"]
        return ["feed is stuck"] if monotonic() - self._looked_at > STUCK_SECONDS else []

    def start(self) -> None:
        """Run in a thread; returns at once."""
        self._thread = threading.Thread(target=self._run_in_thread, name="event-publisher", daemon=True)
        self._thread.start()

    def request_stop(self) -> None:
        """End soon; returns at once, may be called in a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """End, and wait for that."""
        self.request_stop()
        if self._thread is not None:
            self._thread.join()

    def wait_for(self, position: int, timeout_seconds: float) -> bool:
        """Wait until the feed holds this position; return whether it does."""
        with self._moved:
            self._moved.wait_for(lambda: self.position >= position or self.error is not None, timeout_seconds)
        return self.position >= position

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self) -> None:
        """Run until stopped. Tries again while no broker answers.

        Raises:
            UnsafeTopic: a topic could lose data.
            LogRolledBack: the log has lost events that the feed holds.
            UnreadableEventError: the log holds an event that this version does not know; such an event is never skipped.
        """
        wait = 0.1
        while not self._stopping.is_set():
            try:
                ensure_topics(self._settings)
                self._follow()
            except OperationalError as error:
                self._following = False
                _log.warning(
                    "event_publisher_interrupted", position=self.position, error=f"{type(error).__name__}: {error}"
                )
                self._stopping.wait(wait)
                wait = min(2 * wait, RETRY_SECONDS_MAX)

    def _run_in_thread(self) -> None:
        try:
            self.run()
        except (PersistenceError, ValueError) as error:
            with self._moved:
                self.error = error
                self._moved.notify_all()
            _log.exception("event_publisher_stopped", position=self.position)

    def _follow(self) -> None:
        """Go on after the last event of the feed, until stopped or interrupted."""
        position, checkpoint = self._last()
        self._move_to(position)
        _log.info(
            "event_publisher_started", topic=self._topic, partition=self._settings.partition, position=self.position
        )
        self._sent, self._sent_bytes, self._failed = 0, 0, None
        with (
            closing(RecordSender(self._settings, in_order=True)) as sender,
            es_kafka.Reader(self._log_settings) as reader,
        ):
            reader.seek(_found_in(reader, checkpoint) if position else checkpoint)
            self._looked_at = monotonic()
            self._following = True
            while not self._stopping.is_set():
                self._looked_at = monotonic()
                for batch in reader.read(IDLE_SECONDS):
                    if batch.last > self.position:
                        self._copy(sender, batch)
                self._confirm(sender)

    def _last(self) -> tuple[int, es_kafka.Checkpoint]:
        """Return the position of the last event of the feed, and the checkpoint of its batch in the log."""
        with closing(RecordReader(self._settings, self._topic, self._settings.partition)) as reader:
            first, end = reader.ends()
            if first == end:
                return 0, es_kafka.Checkpoint()
            last: tuple[int, es_kafka.Checkpoint] | None = None
            start = end
            while last is None and start > first:  # strangers may have written the last records
                start, stop = max(first, start - LOOK_BACK_RECORDS if start < end else end - 1), start
                last = self._last_of(reader, start, stop)
        return last or (0, es_kafka.Checkpoint())

    def _last_of(self, reader: RecordReader, start: int, stop: int) -> tuple[int, es_kafka.Checkpoint] | None:
        """Return what the last of these records that is an event says about the feed, None if none is one."""
        last = None
        reader.seek(start)
        while start < stop:
            records = reader.take(stop - start, SEND_SECONDS)
            if not records:
                raise OperationalError(f"the last records of {self._topic} cannot be read")
            for record in records:
                start = offset_of(record) + 1
                if start > stop:
                    break
                try:
                    last = _place_of(record)
                except ValueError as error:
                    self._unreadable.note(record, error)
        return last

    def _copy(self, sender: RecordSender, batch: es_kafka.Batch) -> None:
        """Send the events of a batch that the feed does not hold yet."""
        checkpoint = _encode(es_kafka.Checkpoint(batch.offset, batch.epoch, batch.writer, batch.first))
        for position, (stream, version, name, raw) in enumerate(batch.events, batch.first):
            if position <= self.position + self._sent:
                continue
            state = decode_state(name, bytes(raw))
            event = Recorded(position, stream, version, state.time, state.command_id, state.data)
            public = public_event(event)
            headers: Headers = [
                ("position", str(position).encode()),
                ("type", public["type"].encode()),
                ("time", public["time"].encode()),
                ("checkpoint", checkpoint),
            ]
            value = _encode(public)
            sender.send(
                self._topic,
                value,
                key=key_of(event).encode(),
                partition=self._settings.partition,
                headers=headers,
                delivered=self._delivered,
            )
            self._sent += 1
            self._sent_bytes += len(value)
            if self._sent >= PENDING_EVENTS_MAX or self._sent_bytes >= PENDING_BYTES_MAX:
                self._confirm(sender)

    def _delivered(self, error: Any, _: object) -> None:
        self._failed = self._failed or error

    def _confirm(self, sender: RecordSender) -> None:
        """Wait until the feed holds all events that were sent."""
        sender.flush(SEND_SECONDS)
        self._looked_at = monotonic()
        if self._failed is not None:
            raise OperationalError(f"{self._topic} does not hold an event: {self._failed}")
        if self._sent:
            self._move_to(self.position + self._sent)
        self._sent = self._sent_bytes = 0

    def _move_to(self, position: int) -> None:
        with self._moved:
            self.position = position
            self._moved.notify_all()


def _place_of(record: Message) -> tuple[int, es_kafka.Checkpoint]:
    """Return the position and the checkpoint of a record of the feed. Raises ValueError: it is none of ours."""
    headers: dict[str, Any] = dict(record.headers() or ())
    position, checkpoint = headers.get("position"), headers.get("checkpoint")
    if not isinstance(position, bytes) or not isinstance(checkpoint, bytes) or not position.isdigit():
        raise ValueError("it has not the headers of an event")
    if len(position) > POSITION_DIGITS_MAX:
        raise ValueError("no position has so many digits")
    return int(position), decode_untrusted(_CHECKPOINT.decode, checkpoint)


def _found_in(reader: es_kafka.Reader, checkpoint: es_kafka.Checkpoint) -> es_kafka.Checkpoint:
    """Return the checkpoint before the batch that the last event of the feed came from.

    Raises:
        LogRolledBack: the log does not hold this batch any more.
    """
    if _has_batch_at(reader, checkpoint):
        return checkpoint
    reader.seek(es_kafka.Checkpoint())
    for batch in reader.read_to(reader.end()):  # in a copy of the topic the batch has another offset
        if (batch.epoch, batch.writer, batch.first) == (checkpoint.epoch, checkpoint.writer, checkpoint.next):
            return checkpoint._replace(offset=batch.offset)
        if batch.first >= checkpoint.next:
            break
    raise es_kafka.LogRolledBack(
        f"The log has lost the events of position {checkpoint.next}, which the feed holds. Bring the whole log back, or "
        "delete the topic of the feed: it is then made anew from the log as it is. See docs/lost-log.md"
    )


def _has_batch_at(reader: es_kafka.Reader, checkpoint: es_kafka.Checkpoint) -> bool:
    """Return whether the log has the batch at this offset: after a copy of the topic its offset is another one."""
    if checkpoint.offset >= reader.end():
        return False
    reader.seek(checkpoint)
    try:
        batch = next(reader.read_to(checkpoint.offset + 1), None)
    except es_kafka.LogTruncated:
        return False
    return batch is not None and (batch.offset, batch.first) == (checkpoint.offset, checkpoint.next)


def key_of(event: Recorded) -> str:
    """Return the key of an event's record: the id of the market, account, story or invitation of its stream.

    A refusal is in the partition's stream; its key is the market or account of the refused command.
    """
    kind, _, name = event.stream.partition("-")
    if kind != "partition":
        return name
    about = event.event
    if isinstance(about, CommandRejected):
        return about.market_id or about.account_id or event.stream
    return event.stream


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; must be called in the main thread. Raises as `EventPublisher.run`."""
    publisher = EventPublisher(settings)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        publisher.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    registry = CollectorRegistry()
    position = Gauge("tidings_feed_position", "Position of the last event that the feed holds", registry=registry)
    position.set_function(lambda: publisher.position)
    with ops_server(settings, publisher.missing, registry):
        publisher.run()


if __name__ == "__main__":
    run(Settings())
