"""The library's recorders, on one partition of a Kafka topic."""

from __future__ import annotations

from collections import deque
from random import uniform
from threading import Event, Lock, RLock
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DataError,
    IntegrityError,
    Notification,
    NotSupportedError,
    ProgrammingError,
    StoredEvent,
    Subscription,
)

from eventsourcing_kafka.errors import ClaimLost, Fenced, InDoubt, LogTruncated
from eventsourcing_kafka.index import Damaged, Index, Place, Run
from eventsourcing_kafka.protocol import START, Batch, Checkpoint, decode, id_to_text
from eventsourcing_kafka.reader import Fetcher, Reader
from eventsourcing_kafka.topics import ensure_topic
from eventsourcing_kafka.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from eventsourcing_kafka.settings import Settings

__all__ = ["KafkaAggregateRecorder", "KafkaApplicationRecorder", "KafkaSubscription"]

T = TypeVar("T")

GROUP_EVENTS_MAX = 4_000
"""Concurrent calls of insert_events are put into one record up to so many events..."""
GROUP_BYTES_MAX = 1024 * 1024
"""...and bytes of state. A single call may have more, up to ``record_bytes_max``."""
INDEX_EVENTS_MAX = 20_000
"""Events in one transaction of the index; it bounds memory while a long log is indexed."""
PAGE_BATCHES_MAX = 16


class KafkaAggregateRecorder(AggregateRecorder):
    """Inserts and selects events of aggregates.

    Reading never claims the partition. The first insert does, and so does the next one after ``Fenced`` or ``InDoubt``.
    It may be shared by threads.
    """

    def __init__(self, settings: Settings) -> None:
        """Make sure that the topic is safe; open the index.

        Raises:
            UnsafeTopic: the topic is missing or could lose data.
            OperationalError: the broker cannot be reached.
        """
        self._settings = settings
        self._topic_id = ensure_topic(settings)
        self._index = Index(settings.index_path(), f"{self._topic_id}/{settings.partition}")
        self._reader = Reader(settings)
        self._fetcher = Fetcher(settings)
        self._reading = RLock()  # guards index, reader and fetcher
        self._appending = Lock()  # guards the writer; taken before _reading
        self._waiting: deque[_Insert] = deque()
        self._writer: Writer | None = None
        self._verified = False
        self._closed = Event()

    # --- writing ---

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, check_versions: bool = True, **kwargs: Any
    ) -> Sequence[int] | None:
        """Append the events as part of one record.

        Args:
            stored_events: what to append; all or nothing.
            check_versions: look the versions up in the index first. A sole writer that knows them to be right may
                leave it out; the index then catches up when it is next needed.
            kwargs: none is supported.

        Raises:
            IntegrityError: an aggregate has an event of that version already; nothing was appended.
            Fenced: another writer has taken the partition over; nothing was appended, and never will be.
            InDoubt: it is unknown whether they were appended; a repeated call finds out.
        """
        self._insert(stored_events, check_versions, kwargs)
        return None

    def take_over(self, apply: Callable[[Batch], object] | None = None, at: Checkpoint = START) -> Writer:
        """Claim the partition now, and return the writer.

        Args:
            apply: called with each batch after ``at`` up to the claim; without it, reading begins where it is cheapest.
            at: where ``apply`` wants to begin.

        Raises:
            ClaimLost, InDoubt, OperationalError: as ``Writer.take_over``.
        """
        with self._appending:
            self._drop_writer()
            if apply is None:
                self._writer = self._take_over()
            else:
                with Reader(self._settings, at) as reader:
                    self._writer = Writer.take_over(reader, apply)
            return self._writer

    @property
    def writer(self) -> Writer | None:
        """The current writer, if this recorder has claimed the partition."""
        return self._writer

    def close(self) -> None:
        """Close connections and the index. Subscriptions end."""
        self._closed.set()
        with self._appending, self._reading:
            self._drop_writer()
            self._reader.close()
            self._fetcher.close()
            self._index.close()

    def _insert(self, events: Sequence[StoredEvent], check: bool, unsupported: dict[str, Any]) -> list[int] | None:
        for name, value in unsupported.items():
            if value is not None:  # the library's application passes tracking=None
                raise NotSupportedError(f"Kafka keeps no {name} with the events")
        if not events:
            return None
        if self._closed.is_set():
            raise ProgrammingError("The recorder is closed")
        insert = _Insert(events, check)
        self._waiting.append(insert)
        # Whoever gets the lock appends for all who wait, so that many callers share one round trip.
        with self._appending:
            if not insert.done:
                self._append_waiting(insert)
        if insert.error is not None:
            raise insert.error
        return list(insert.positions)

    def _append_waiting(self, mine: _Insert) -> None:
        group: list[_Insert] = []
        events = size = 0
        while self._waiting and not mine.done:
            insert = self._waiting[0]
            events += len(insert.events)
            size += insert.size
            if group and (events > GROUP_EVENTS_MAX or size > GROUP_BYTES_MAX):
                self._append_group(group)
                group, events, size = [], len(insert.events), insert.size
            group.append(self._waiting.popleft())
        if group:
            self._append_group(group)

    def _append_group(self, group: list[_Insert]) -> None:
        try:
            if self._writer is None:
                self._writer = self._take_over_patiently()
            checked = any(insert.check for insert in group)
            if checked:
                with self._reading:
                    self._catch_up(self._writer.checkpoint.offset)
                    self._with_index(lambda: self._refuse_conflicts(group))
            accepted = [insert for insert in group if insert.error is None]
            try:
                self._append(self._writer, accepted, index=checked)
            except DataError:  # nothing was sent; find out whose events they are that cannot be written
                for insert in accepted:
                    self._append_alone(self._writer, insert, index=checked)
        except (Fenced, InDoubt) as error:
            self._drop_writer()
            self._fail(group, error)
        except BaseException as error:
            self._fail(group, error)
            if not isinstance(error, Exception):
                raise
        finally:
            for insert in group:
                insert.done = True

    def _append(self, writer: Writer, inserts: list[_Insert], *, index: bool) -> None:
        if not inserts:
            return
        before = writer.checkpoint
        append = writer.begin([event for insert in inserts for event in insert.events])
        first = append.result().start
        for insert in inserts:
            insert.positions = range(first, first + len(insert.events))
            first = insert.positions.stop
        if index:
            self._index_own(before, append.value, writer.checkpoint)

    def _append_alone(self, writer: Writer, insert: _Insert, *, index: bool) -> None:
        try:
            self._append(writer, [insert], index=index)
        except DataError as error:
            insert.error = error

    @staticmethod
    def _fail(group: list[_Insert], error: BaseException) -> None:
        for insert in group:
            if insert.error is None and not insert.positions:
                insert.error = error

    def _take_over_patiently(self) -> Writer:
        """Take over; two that duel back off at random."""
        deadline = monotonic() + self._settings.append_timeout
        pause = 0.01
        while True:
            try:
                return self._take_over()
            except ClaimLost:
                if monotonic() + pause > deadline:
                    raise
                self._closed.wait(uniform(0, pause))  # noqa: S311  # no secret
                pause *= 2

    def _take_over(self) -> Writer:
        with self._reading:
            self._catch_up(self._reader.end())
            before = self._index.checkpoint
            self._reader.seek(before)
            batches: list[Batch] = []  # few: those of the moments between the index's end and the claim
            writer = Writer.take_over(self._reader, batches.append)
            self._with_index(lambda: self._index.advance(before, batches, self._reader.checkpoint))
            return writer

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _refuse_conflicts(self, group: list[_Insert]) -> None:
        """Set the error of each insert with a version that is there already, in the log or earlier in the group."""
        taken: set[tuple[str, int]] = set()
        for insert in group:
            insert.error = None
            if insert.check and (
                len(set(insert.keys)) < len(insert.keys)
                or not taken.isdisjoint(insert.keys)
                or any(self._index.holds(name, version) for name, version in insert.keys)
            ):
                insert.error = IntegrityError("Stored events already recorded, or not unique")
            else:
                taken.update(insert.keys)

    # --- reading ---

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the events of one aggregate, all that were acknowledged to anybody before this call.

        Raises:
            OperationalError: the broker does not answer in time.
        """
        name = id_to_text(originator_id)

        def select() -> list[StoredEvent]:
            self._index_to(self._reader.end())
            selected: list[StoredEvent] = []
            runs = self._index.runs(name, gt=gt, lte=lte, desc=desc, limit=-1 if limit is None else limit)
            for start in range(0, len(runs), PAGE_BATCHES_MAX):
                page = runs[start : start + PAGE_BATCHES_MAX]
                batches = self._fetcher.get({run.offset for run in page})
                for run in page:
                    rows = _events_of(run, _batch(batches, run.first, run.offset), name)
                    for row in reversed(rows) if desc else rows:
                        if (gt is None or row.originator_version > gt) and (
                            lte is None or row.originator_version <= lte
                        ):
                            selected.append(row)
                            if len(selected) == limit:
                                return selected
            return selected

        with self._reading:
            return self._with_index(select)

    def _catch_up(self, end: int) -> None:
        self._with_index(lambda: self._index_to(end))

    def _index_to(self, end: int) -> None:
        """Read on until the index has all before offset ``end``."""
        if not self._verified:
            self._verify()
        before = self._index.checkpoint
        if before.offset > end and before.offset > self._reader.end():  # not another process that was quicker
            raise Damaged(f"The index knows offset {before.offset}, the log ends at {end}")
        while before.offset < end:
            self._reader.seek(before)
            batches: list[Batch] = []
            events = 0
            for batch in self._reader.read_to(end):
                batches.append(batch)
                events += len(batch.events)
                if events >= INDEX_EVENTS_MAX:
                    break
            self._index.advance(before, batches, self._reader.checkpoint)
            before = self._index.checkpoint

    def _index_own(self, before: Checkpoint, value: bytes, after: Checkpoint) -> None:
        batch = decode(value)
        if not isinstance(batch, Batch) or after.offset != before.offset + 1:
            return  # more than our record lies between: it is read when needed
        with self._reading:
            self._fetcher.put(before.offset, batch, len(value))
            self._with_index(lambda: self._index.advance(before, [batch], after))

    def _verify(self) -> None:
        """Compare the last batch of the index with the log: a restored or recreated topic may differ."""
        last = self._index.last()
        if last is not None:
            try:
                batch = self._fetcher.get([last.offset]).get(last.offset)
            except LogTruncated as error:
                raise Damaged(str(error)) from error
            if batch is None or (batch.first, len(batch.events)) != (last.first, last.events):
                raise Damaged(f"Offset {last.offset} does not hold the batch of position {last.first}")
        self._verified = True

    def _with_index(self, work: Callable[[], T]) -> T:
        """Do work that needs the index; if it is found damaged, rebuild it and do the work again."""
        if self._closed.is_set():
            raise ProgrammingError("The recorder is closed")
        try:
            return work()
        except Damaged:
            self._index.clear()
            self._fetcher.clear()
            self._verified = True
            self._reader.seek(START)
            self._index_to(self._reader.end())
            return work()


class KafkaApplicationRecorder(KafkaAggregateRecorder, ApplicationRecorder):
    """Also gives positions: 1, 2, 3, ... without a gap, stored in the records themselves."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, check_versions: bool = True, **kwargs: Any
    ) -> Sequence[int] | None:
        """Append as ``KafkaAggregateRecorder.insert_events`` does, and return the events' positions."""
        return self._insert(stored_events, check_versions, kwargs)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return events by position, up to the end of the log at the time of the call.

        Raises:
            OperationalError: the broker does not answer in time.
        """
        begin = max(1, (start or 1) + (0 if inclusive_of_start or start is None else 1))

        def select() -> list[Notification]:
            end = self._reader.end()
            self._index_to(end)
            selected: list[Notification] = []
            position = begin
            while len(selected) < limit and (stop is None or position <= stop):
                places = self._index.places(position, PAGE_BATCHES_MAX)
                if not topics:
                    places = _covering(places, position + limit - len(selected))
                if not places:
                    break
                batches = self._fetcher.get([place.offset for place in places])
                for place in places:
                    batch = _batch(batches, place.first, place.offset)
                    for notification in batch.notifications()[max(0, position - batch.first) :]:
                        if len(selected) == limit or (stop is not None and notification.id > stop):
                            return selected
                        if not topics or notification.topic in topics:
                            selected.append(notification)
                    position = batch.last + 1
            return selected

        with self._reading:
            return self._with_index(select)

    def max_notification_id(self) -> int | None:
        """Return the last position, or None if there is no event."""

        def last() -> int | None:
            self._index_to(self._reader.end())
            return self._index.checkpoint.next - 1 or None

        with self._reading:
            return self._with_index(last)

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Return an iterator of all events after position ``gt``, those to come included."""
        return KafkaSubscription(self, gt=gt, topics=topics)

    def reader_at(self, gt: int | None = None) -> Reader:
        """Return a reader that finds the events after position ``gt``; perhaps some before it, too."""
        if not gt:
            return Reader(self._settings)

        def find() -> Checkpoint:
            if not self._verified:
                self._verify()
            return self._index.checkpoint_at(gt + 1)

        with self._reading:
            return Reader(self._settings, self._with_index(find))

    @property
    def closed(self) -> Event:
        """Set when the recorder is closed."""
        return self._closed


class KafkaSubscription(Subscription[KafkaApplicationRecorder]):
    """Follows the log with a consumer of its own, in the thread that iterates. ``stop()`` ends it from any thread."""

    POLL_SECONDS = 0.05

    def __init__(self, recorder: KafkaApplicationRecorder, gt: int | None = None, topics: Sequence[str] = ()) -> None:
        super().__init__(recorder, gt, topics)
        self._position = gt or 0
        self._reader: Reader | None = None
        self._ready: deque[Notification] = deque()
        self._iterating = Lock()

    def __next__(self) -> Notification:
        """Return the next event, waiting for it as long as it takes.

        Raises:
            StopIteration: ``stop()`` was called, or the recorder was closed.
        """
        with self._iterating:
            while not self._stopped():
                if self._ready:
                    return self._ready.popleft()
                if self._reader is None:
                    self._reader = self._recorder.reader_at(self._position)
                for batch in self._reader.read(self.POLL_SECONDS):
                    if batch.last > self._position:
                        self._ready.extend(
                            n
                            for n in batch.notifications()
                            if n.id > self._position and (not self._topics or n.topic in self._topics)
                        )
                        self._position = batch.last
            self._close()
            raise StopIteration

    def stop(self) -> None:
        """End the iteration, at the latest after ``POLL_SECONDS``."""
        super().stop()
        if self._iterating.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._iterating.release()

    def _stopped(self) -> bool:
        return self._has_been_stopped or self._recorder.closed.is_set()

    def _close(self) -> None:
        self._ready.clear()
        if self._reader is not None:
            self._reader.close()
            self._reader = None


class _Insert:
    """One call of insert_events that waits for its turn."""

    __slots__ = ("check", "done", "error", "events", "keys", "positions", "size")

    def __init__(self, events: Sequence[StoredEvent], check: bool) -> None:
        self.events = events
        self.check = check
        self.keys = [(id_to_text(event.originator_id), event.originator_version) for event in events]
        self.size = sum(len(event.state) for event in events)
        self.positions = range(0)
        self.error: BaseException | None = None
        self.done = False


def _batch(batches: dict[int, Batch], first: int, offset: int) -> Batch:
    batch = batches.get(offset)
    if batch is None or batch.first != first:
        raise Damaged(f"Offset {offset} does not hold the batch of position {first}")
    return batch


def _events_of(run: Run, batch: Batch, name: str) -> list[StoredEvent]:
    rows = [row for row in batch.events if row[0] == name and run.low <= row[1] <= run.high]
    if len(rows) < run.high - run.low + 1:
        raise Damaged(f"Offset {run.offset} does not hold versions {run.low} to {run.high} of {name}")
    events = Batch(batch.writer, batch.epoch, batch.first, rows).stored_events()
    return sorted(events, key=lambda event: event.originator_version)


def _covering(places: list[Place], stop: int) -> list[Place]:
    """Return the places whose batches begin before position ``stop``."""
    return [place for place in places if place.first < stop]
