"""Writes the log: takes over with a claim, appends batch by batch, and notices at once if it is fenced."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Self

from eventsourcing_kafka.errors import ClaimLost, Fenced, InDoubt
from eventsourcing_kafka.library import DataError, PersistenceError, ProgrammingError
from eventsourcing_kafka.producer import Producer, Sent
from eventsourcing_kafka.protocol import Batch, Checkpoint, Headers, State, encode_batch, encode_claim
from eventsourcing_kafka.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventsourcing.persistence import StoredEvent

    from eventsourcing_kafka.settings import Settings

__all__ = ["Append", "Writer"]


class Writer:
    """The only one that may append to a partition, until another writer claims it. Made by ``take_over``.

    After ``Fenced`` or ``InDoubt`` it is closed, and every further call raises the same error. Drop it, together with
    everything that was decided but not confirmed, and take over again from the log.
    It belongs to one thread at a time.
    """

    def __init__(self, settings: Settings, producer: Producer, at: Checkpoint) -> None:
        self._settings = settings
        self._producer = producer
        self._state = at.state
        self._offset = at.offset
        self._in_flight: Append | None = None
        self._ended: PersistenceError | None = None

    @classmethod
    def take_over(
        cls, reader: Reader, apply: Callable[[Batch], object] | None = None, *, producer: Producer | None = None
    ) -> Writer:
        """Claim the reader's partition, read up to the claim, and return a writer if the claim won.

        When this returns, the caller knows the whole log, including any batch that was in doubt, and the reader is just
        after the claim.

        Args:
            reader: where to begin; it must not be used by another thread.
            apply: called with every batch between the reader's checkpoint and the claim, in order.
            producer: one that has not sent anything. A standby connects it in advance, because connecting takes time. It
                is closed with the writer.

        Raises:
            ClaimLost: another claim came first. The batches that ``apply`` got are valid all the same.
            InDoubt: the log may hold the claim or not, which does no harm. Try again.
            OperationalError: the broker cannot be reached. Try again.
        """
        settings = reader.settings
        producer = producer or Producer(settings)
        try:
            for batch in reader.read_to(reader.end()):
                if apply is not None:
                    apply(batch)
            # A new name for every attempt: a late copy of an earlier attempt's record must never be valid.
            mine = State(reader.checkpoint.epoch + 1, token_hex(16))
            claim = encode_claim(mine.writer, mine.epoch, reader.checkpoint.next)
            offset = producer.send(claim).offset(settings.append_timeout)
            # Up to the claim itself, not to the end that was read before: records between the two count.
            for batch in reader.read_to(offset + 1):
                if apply is not None:
                    apply(batch)
            at = reader.checkpoint
            if (at.epoch, at.writer) != (mine.epoch, mine.writer):
                raise ClaimLost(  # noqa: TRY301  # the producer is closed below
                    f"Another writer claimed epoch {at.epoch} of {settings.topic}-{settings.partition}"
                )
        except BaseException:
            producer.close()
            raise
        return cls(settings, producer, at)

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint after the last confirmed batch."""
        return Checkpoint(self._offset, *self._state)

    def append(self, events: Sequence[StoredEvent], *, tracking: Mapping[str, int] | None = None) -> range:
        """Append the events as one record, wait until it is known to count, and return their positions.

        Does not check originator versions, nor that the tracking is above the last one.

        Args:
            events: the events; none if there is a tracking.
            tracking: by application, the position of the last event that was processed.

        Raises:
            Fenced: another writer has taken over; the events are not in the log and never will be.
            InDoubt: the log may hold the events or not.
            DataError: they cannot be encoded or do not fit into one record; nothing was sent, and the writer stays open.
        """
        return self.begin(events, tracking=tracking).result()

    def begin(
        self,
        events: Sequence[StoredEvent],
        *,
        tracking: Mapping[str, int] | None = None,
        states_are_json: bool = False,
        headers: Headers | None = None,
    ) -> Append:
        """Send the events and return at once. Call ``result()`` before you answer anybody.

        One append is in flight at a time, so ``begin`` and ``result`` alternate. Work between the two costs no extra time.
        ``tracking``: as for ``append``. ``states_are_json``: as for ``encode_batch``. ``headers``: of the record in Kafka, such
        as a ``traceparent``; readers find them in ``Batch.headers``, and the log does not depend on them.

        Raises:
            ProgrammingError: the result of the previous append has not been asked for.
            Fenced, InDoubt, DataError: as for ``append``.
        """
        if self._ended is not None:
            raise self._ended
        if self._in_flight is not None:
            raise ProgrammingError("An append is in flight: ask for its result first")
        at = self._state
        value = encode_batch(at.writer, at.epoch, at.next, events, tracking=tracking, states_are_json=states_are_json)
        if len(value) > self._settings.record_bytes_max:
            raise DataError(f"A record of {len(value)} bytes is over the limit of {self._settings.record_bytes_max}")
        positions = range(at.next, at.next + len(events))
        try:
            sent = self._producer.send(value, headers)
        except InDoubt as error:
            self._end(error)
            raise
        self._in_flight = Append(self, positions, dict(tracking or {}), value, sent)
        return self._in_flight

    def close(self) -> None:
        """Close the producer. The partition stays claimed until another writer claims it."""
        if self._ended is None:
            self._end(ProgrammingError("The writer is closed"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _end(self, error: PersistenceError) -> None:
        self._ended = error
        self._producer.close()

    def _confirm(self, append: Append) -> None:
        """Run the readers' fold from the last offset up to and including the acknowledged one."""
        if self._in_flight is not append:
            raise self._ended or ProgrammingError("The append is not in flight")
        try:
            offset = append.sent.offset(self._settings.append_timeout)
            # With one batch in flight, an offset that follows the last one directly has nothing in between to read.
            if offset == self._offset:
                self._state = State(self._state.epoch, self._state.writer, append.positions.stop)
                self._offset = offset + 1
            else:
                self._read_between(offset, append)
        except Fenced as error:
            self._end(error)
            raise
        except InDoubt as error:
            self._end(error)
            raise
        except BaseException as error:
            doubt = InDoubt(f"Could not read the records before the batch: {error}")
            self._end(doubt)
            if isinstance(error, PersistenceError):
                raise doubt from error
            raise
        finally:
            self._in_flight = None

    def _read_between(self, offset: int, append: Append) -> None:
        if offset < self._offset:
            raise InDoubt(f"The batch was acknowledged at offset {offset}, before {self._offset}")
        mine = self._state
        accepted = False
        with Reader(self._settings, self.checkpoint) as reader:
            for batch in reader.read_to(offset + 1):
                # A batch that only tracks takes no position: a late copy of the one before has the same first position.
                accepted |= (batch.epoch, batch.writer, batch.first) == mine and append.is_copied_by(batch)
            at = reader.checkpoint
        fenced = Fenced(f"Epoch {at.epoch} of {self._settings.topic}-{self._settings.partition} has another writer")
        if (at.epoch, at.writer) != (mine.epoch, mine.writer):
            if not accepted:
                raise fenced
            self._end(fenced)  # the batch counts, and is this writer's last one
        elif not accepted:
            raise InDoubt("The batch is invalid, although nobody else has claimed the partition")
        self._state, self._offset = at.state, at.offset


class Append:
    """A batch that has been sent. It is known to count only when ``result()`` has returned."""

    __slots__ = ("_confirmed", "_writer", "positions", "sent", "tracking", "value")

    def __init__(self, writer: Writer, positions: range, tracking: dict[str, int], value: bytes, sent: Sent) -> None:
        self._writer = writer
        self._confirmed = False
        self.positions = positions
        self.tracking = tracking
        self.value = value
        self.sent = sent

    def done(self) -> bool:
        """Tell whether the broker has answered, so that ``result()`` will not wait."""
        return self.sent.done()

    def is_copied_by(self, batch: Batch) -> bool:
        """Tell whether a batch of the same writer, with the same first position, is a copy of this one."""
        return len(batch.events) == len(self.positions) and (batch.tracking or {}) == self.tracking

    def result(self) -> range:
        """Wait until the batch is known to count, and return the positions of its events.

        Raises:
            Fenced, InDoubt: as for ``Writer.append``.
        """
        if not self._confirmed:
            self._writer._confirm(self)  # noqa: SLF001  # an append is part of its writer
            self._confirmed = True
        return self.positions
