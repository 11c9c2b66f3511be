"""The log in Kafka: the reader and writer of `eventsourcing_kafka`, and checkpoints for finding old events."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from eventsourcing.persistence import Notification, StoredEvent

import eventsourcing_kafka as es_kafka
from consumers.engine.log import (
    START,
    Append,
    Checkpoint,
    EventBatch,
    EventHandler,
    Fenced,
    LogError,
    StaleCheckpoint,
    checkpoint_before,
    mapped_errors,
)
from consumers.kafka.errors import APPEND_ERRORS, READ_ERRORS
from consumers.kafka.log_settings import log_settings
from consumers.kafka.topics import COMMANDS, ensure_topics, topic_id
from eventsourcing_kafka import UnsafeTopic

if TYPE_CHECKING:
    from settings import Settings

CHECKPOINT_EVENTS: Final = 256
"""The fewest events from one checkpoint to the next. A fetch of 128 KiB brings about as many."""

CHECKPOINTS_MAX: Final = 65_536
"""The most checkpoints in memory; beyond it every other one is forgotten. At 10^9 events they are 16,384 events apart."""


class KafkaAppend:
    """A batch that has been sent."""

    def __init__(self, sent: es_kafka.Append, confirmed: Callable[[], None], failed: Callable[[], None]) -> None:
        self._sent = sent
        self._confirmed = confirmed
        self._failed = failed

    def done(self) -> bool:
        """Return whether the broker has answered."""
        return self._sent.done()

    def result(self) -> range:
        """Wait until the batch is known to count, and return its positions."""
        try:
            with mapped_errors(APPEND_ERRORS):
                positions = self._sent.result()
        except LogError:
            self._failed()
            raise
        self._confirmed()
        return positions


class CheckpointIndex:
    """A bounded number of checkpoints spread over the log: reading on from the last one before an event soon finds it."""

    def __init__(self) -> None:
        self.checkpoints: list[Checkpoint] = []
        self._apart = CHECKPOINT_EVENTS

    def note(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, unless the last one is near. They come in order; repeated ones change nothing."""
        checkpoints = self.checkpoints
        if checkpoints and checkpoint.position < checkpoints[-1].position + self._apart:
            return
        checkpoints.append(checkpoint)
        if len(checkpoints) > CHECKPOINTS_MAX:
            del checkpoints[1::2]
            self._apart = max(2 * self._apart, checkpoints[-1].position // CHECKPOINTS_MAX)

    def before(self, position: int) -> Checkpoint:
        """Return the last known checkpoint before the event at this position."""
        return checkpoint_before(self.checkpoints, position)

    def restore(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Begin with the checkpoints that a snapshot kept."""
        self.checkpoints = list(checkpoints)
        if self.checkpoints:
            self._apart = max(CHECKPOINT_EVENTS, self.checkpoints[-1].position // CHECKPOINTS_MAX)


class KafkaLog:
    """One partition of the events topic. Positions are 1, 2, 3, ..., without a gap."""

    def __init__(self, settings: "Settings") -> None:
        self._all_settings = settings
        self._settings = log_settings(settings)
        self._watch: es_kafka.TopicWatch | None = None
        self._identity = ""
        self._writer: es_kafka.Writer | None = None
        self._reader: es_kafka.Reader | None = None
        self._checkpoint: Checkpoint | None = None  # after all that was handled or confirmed
        self._read_to: Checkpoint | None = None  # after all that was handled: the reader stands there
        self._lookup: es_kafka.Fetcher | None = None
        self._producer: es_kafka.Producer | None = None  # a standby connects it ahead, for the writer
        self._index = CheckpointIndex()

    @property
    def epoch(self) -> int:
        """The epoch of the claim that won."""
        assert self._writer is not None, "take over first"
        return self._writer.checkpoint.epoch

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint after all that this writer has read and confirmed."""
        assert self._checkpoint is not None, "take over first"
        return self._checkpoint

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """Checkpoints by which `read` finds old events quickly; a snapshot keeps them."""
        return self._index.checkpoints

    @checkpoints.setter
    def checkpoints(self, checkpoints: Iterable[Checkpoint]) -> None:
        self._index.restore(checkpoints)

    @property
    def place(self) -> str:
        """The topic and the partition."""
        return f"kafka-{self._settings.topic}-{self._settings.partition}"

    def identity(self) -> str:
        """Return the topic's id; a topic made anew has another one. Makes the topic if it is missing, and checks it.

        After a doubt the broker is asked again.
        """
        if not self._identity:
            with mapped_errors(READ_ERRORS):
                topic_id = es_kafka.ensure_topic(self._settings)
                if self._watch is None:
                    self._watch = es_kafka.TopicWatch(self._look(topic_id))
            self._identity = f"kafka-{topic_id}-{self._settings.partition}"
        return self._identity

    def _look(self, log_id: str) -> Callable[[], None]:
        """Return what looks at all topics once more: their settings, and whether log and commands still are the same topics."""
        commands_id = ""

        def look() -> None:
            nonlocal commands_id
            es_kafka.refuse_another_topic(self._settings, log_id)
            ensure_topics(self._all_settings, create=False)
            found = topic_id(self._all_settings, COMMANDS)
            if found != (commands_id or found):
                raise UnsafeTopic("The topic of the commands was made anew while they were read: start again")
            commands_id = found

        return look

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise StaleCheckpoint unless the log holds the batch before the checkpoint, and all records from its beginning."""
        with mapped_errors(READ_ERRORS):
            self._check(checkpoint)

    def raise_if_unsafe(self) -> None:
        """Raise UnsafeLog or LogLost when a look at the topics, once a minute, has found a reason."""
        if self._watch is not None:
            with mapped_errors(READ_ERRORS):
                self._watch.raise_if_unsafe()

    def follow(self, handle: EventHandler, after: Checkpoint, timeout_seconds: float) -> None:
        """Pass the batches after the checkpoint to `handle`."""
        self.identity()
        with self._reading():
            if self._producer is None:
                self._producer = es_kafka.Producer(self._settings)
            for batch in self._reader_at(after).read(timeout_seconds):
                self._pass(batch, handle)

    def take_over(self, handle: EventHandler, after: Checkpoint = START) -> None:
        """Claim the partition and read it up to the claim."""
        self._drop_writer()
        self.identity()
        with self._reading():
            reader = self._reader_at(after)
            producer, self._producer = self._producer, None
            self._writer = es_kafka.Writer.take_over(reader, lambda batch: self._pass(batch, handle), producer=producer)
            reader.rest()  # otherwise the broker would send back all that this engine appends

    def begin(self, events: Sequence[StoredEvent]) -> Append:
        """Send the events as one record."""
        return self.begin_with(events, None)

    def begin_with(self, events: Sequence[StoredEvent], headers: es_kafka.Headers | None) -> Append:
        """Send the events as one record with these headers, which are no part of the log."""
        assert self._writer is not None, "take over first"
        try:
            with mapped_errors(APPEND_ERRORS):
                sent = self._writer.begin(events, states_are_json=True, headers=headers)
        except LogError:
            self._forget_identity()
            raise
        return KafkaAppend(sent, self._note_confirmed, self._forget_identity)

    def read(self, first: int, limit: int) -> Sequence[Notification]:
        """Return events from a position on."""
        found: list[Notification] = []
        before = self._index.before(first)
        try:
            with mapped_errors(APPEND_ERRORS):
                if self._lookup is None:
                    self._lookup = es_kafka.Fetcher(self._settings)
                # What this log has read or confirmed ends there, so nobody need ask a broker where the log ends.
                end = self._checkpoint.offset if self._checkpoint is not None else self._lookup.end()
                for batch, _ in self._lookup.fold(_reader_checkpoint(before), end):
                    if batch is not None and batch.last >= first:
                        found += batch.notifications()[max(0, first - batch.first) :]
                    if len(found) >= limit:
                        break
        except Exception:
            self._drop_lookup()
            raise
        return found[:limit]

    def close(self) -> None:
        """Disconnect. The claim stays until the next one."""
        self._drop_writer()
        self._drop_reader()
        self._drop_lookup()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Drop the reader when reading or handling fails: it may stand after events that were not handled."""
        try:
            with mapped_errors(READ_ERRORS):
                yield
        except Fenced:  # all that was read is true
            raise
        except Exception:
            self._drop_reader()
            raise

    def _reader_at(self, after: Checkpoint) -> es_kafka.Reader:
        """Return the reader at this checkpoint. If it stands there already it keeps what it has fetched."""
        if self._reader is None:
            self._reader = es_kafka.Reader(self._settings, _reader_checkpoint(after))  # it begins to fetch from there
            self._read_to = None
        if after != self._read_to:
            self._check(after)
            self._reader.seek(_reader_checkpoint(after))
            self._checkpoint = self._read_to = after
        return self._reader

    def _check(self, checkpoint: Checkpoint) -> None:
        """Raise StaleCheckpoint unless the record before the checkpoint is the batch that it was made after.

        Also where the log has lost its head: an engine could go on from a snapshot, but nobody could read what was before.
        """
        if self._lookup is None:
            self._lookup = es_kafka.Fetcher(self._settings)
        fetcher = self._lookup
        fetcher.clear()  # the log may have been rolled back since it was read
        first, end = fetcher.begin(), fetcher.end()
        if first > 0:
            raise StaleCheckpoint(f"the records before offset {first} were deleted")
        if checkpoint == START:
            return
        if checkpoint.offset > end:
            raise StaleCheckpoint(f"the log ends at offset {end}, before {checkpoint.offset}")
        before = checkpoint.offset - 1
        batch = fetcher.get([before]).get(before)
        wanted = (checkpoint.epoch, checkpoint.writer, checkpoint.position)
        if batch is None or (batch.epoch, batch.writer, batch.last) != wanted:
            raise StaleCheckpoint(f"the record before offset {checkpoint.offset} is another one")

    def _pass(self, batch: es_kafka.Batch, handle: EventHandler) -> None:
        if not batch.events:  # another program's tracking, which has no position: our checkpoint stays before it
            return
        after = Checkpoint(batch.last, batch.offset + 1, batch.epoch, batch.writer)
        handle(EventBatch(range(batch.first, after.position + 1), batch.events, after))
        self._checkpoint = self._read_to = after
        self._index.note(after)

    def _note_confirmed(self) -> None:
        """Note how far the writer has come."""
        assert self._writer is not None, "it has just written"
        at = self._writer.checkpoint
        self._checkpoint = Checkpoint(at.next - 1, at.offset, at.epoch, at.writer)
        self._index.note(self._checkpoint)

    def _forget_identity(self) -> None:
        """Have the broker asked again: whatever failed, the topic may be another one now."""
        self._identity = ""
        self._drop_lookup()  # it knows where the topic was

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _drop_reader(self) -> None:
        self._forget_identity()
        reader, self._reader, self._checkpoint, self._read_to = self._reader, None, None, None
        if reader is not None:
            reader.close()

    def _drop_lookup(self) -> None:
        fetcher, self._lookup = self._lookup, None
        if fetcher is not None:
            fetcher.close()


def _reader_checkpoint(checkpoint: Checkpoint) -> es_kafka.Checkpoint:
    return es_kafka.Checkpoint(checkpoint.offset, checkpoint.epoch, checkpoint.writer, checkpoint.position + 1)
