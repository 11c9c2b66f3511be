"""The library's recorders, on one partition of a Kafka topic."""

from __future__ import annotations

from collections import deque
from random import uniform
from threading import Event, Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DataError,
    IntegrityError,
    Notification,
    NotSupportedError,
    PersistenceError,
    ProgrammingError,
    StoredEvent,
    Subscription,
)

from eventsourcing_kafka.errors import ClaimLost, Fenced, InDoubt
from eventsourcing_kafka.lookup import Lookup
from eventsourcing_kafka.protocol import START, Batch, Checkpoint, id_to_text
from eventsourcing_kafka.reader import Reader
from eventsourcing_kafka.subscription import KafkaSubscription
from eventsourcing_kafka.topics import ensure_topic
from eventsourcing_kafka.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from eventsourcing_kafka.settings import Settings

__all__ = ["KafkaAggregateRecorder", "KafkaApplicationRecorder"]

GROUP_EVENTS_MAX = 4_000
"""Concurrent calls of insert_events are put into one record up to so many events..."""
GROUP_BYTES_MAX = 1024 * 1024
"""...and bytes of state. A single call may have more, up to ``record_bytes_max``."""


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
        self._lookup = Lookup(settings, f"{ensure_topic(settings)}/{settings.partition}")
        self._appending = Lock()  # guards the writer
        self._writer: Writer | None = None
        self._waiting: deque[_Insert] = deque()
        self._closed = Event()

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
            DataError: they cannot be written, or are too much for a record; nothing was appended.
        """
        self._insert(stored_events, check_versions, kwargs)
        return None

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
        return self._lookup.events(id_to_text(originator_id), gt=gt, lte=lte, desc=desc, limit=limit)

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
                self._writer = self._lookup.take_over()
            else:
                with Reader(self._settings, at) as reader:
                    self._writer = Writer.take_over(reader, apply)
            return self._writer

    @property
    def writer(self) -> Writer | None:
        """The current writer, if this recorder has claimed the partition."""
        return self._writer

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """Close connections and the index. Subscriptions end."""
        self._closed.set()
        with self._appending:
            self._drop_writer()
            self._lookup.close()

    def _insert(self, events: Sequence[StoredEvent], check: bool, unsupported: dict[str, Any]) -> list[int] | None:
        for name, value in unsupported.items():
            if value is not None:  # the library's application passes tracking=None
                raise NotSupportedError(f"Kafka keeps no {name} with the events")
        if not events:
            return None
        insert = _Insert(events, check)
        self._waiting.append(insert)
        # Whoever gets the lock appends for all who wait, so that many callers share one round trip.
        with self._appending:
            while not insert.done:
                self._append_group(self._next_group())
        if insert.error is not None:
            raise insert.error
        return list(insert.positions)

    def _next_group(self) -> list[_Insert]:
        """Take from those who wait as many as go into one record, and at least one."""
        group = [self._waiting.popleft()]
        events, size = len(group[0].events), group[0].size
        while self._waiting:
            events += len(self._waiting[0].events)
            size += self._waiting[0].size
            if events > GROUP_EVENTS_MAX or size > GROUP_BYTES_MAX:
                break
            group.append(self._waiting.popleft())
        return group

    def _append_group(self, group: list[_Insert]) -> None:
        """Append what can be appended; give each insert its positions, or its error."""
        try:
            self._try_to_append(group)
        except Exception as error:  # noqa: BLE001  # it is raised in the callers' threads
            if isinstance(error, (Fenced, InDoubt)) or not isinstance(error, PersistenceError):
                self._drop_writer()
            self._end(group, error)
        except BaseException:  # this thread is told to stop; the others must know no less
            self._drop_writer()
            self._end(group, InDoubt("The thread that appended for several was interrupted"))
            raise
        else:
            self._end(group, None)

    def _try_to_append(self, group: list[_Insert]) -> None:
        if self._closed.is_set():
            raise ProgrammingError("The recorder is closed")
        if self._writer is None:
            self._writer = self._take_over_patiently()
        self._refuse_conflicts(group, self._writer)
        accepted = [insert for insert in group if insert.error is None]
        try:
            self._append(accepted, self._writer)
        except DataError as error:  # nothing was sent; find out whose events they are that cannot be written
            if len(accepted) == 1:
                accepted[0].error = error
            else:
                for insert in accepted:
                    self._append_group([insert])

    @staticmethod
    def _end(group: list[_Insert], error: Exception | None) -> None:
        """Let the callers go; those without an outcome of their own have this error."""
        for insert in group:
            if insert.error is None and not insert.positions:
                insert.error = error
            insert.done = True

    def _refuse_conflicts(self, group: list[_Insert], writer: Writer) -> None:
        """Set the error of each insert with a version that is there already, in the log or earlier in the group."""
        asked = {key for insert in group if insert.check for key in insert.keys}
        if not asked:
            return
        taken = self._lookup.known(asked, writer.checkpoint.offset)
        for insert in group:
            if insert.check and (len(set(insert.keys)) < len(insert.keys) or not taken.isdisjoint(insert.keys)):
                insert.error = IntegrityError("Stored events already recorded, or not unique")
            else:
                taken.update(insert.keys)

    def _append(self, inserts: list[_Insert], writer: Writer) -> None:
        if not inserts:
            return
        before = writer.checkpoint
        append = writer.begin([event for insert in inserts for event in insert.events])
        first = append.result().start
        for insert in inserts:
            insert.positions = range(first, first + len(insert.events))
            first = insert.positions.stop
        if any(insert.check for insert in inserts):
            self._lookup.add(before, append.value, writer.checkpoint)

    def _take_over_patiently(self) -> Writer:
        """Take over; two that duel back off at random."""
        deadline = monotonic() + self._settings.append_timeout
        pause = 0.01
        while True:
            try:
                return self._lookup.take_over()
            except ClaimLost:
                if monotonic() + pause > deadline:
                    raise
                self._closed.wait(uniform(0, pause))  # noqa: S311  # no secret
                pause *= 2

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


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
        begin = 1 if start is None else max(1, start if inclusive_of_start else start + 1)
        return self._lookup.notifications(begin, limit=limit, stop=stop, topics=topics)

    def max_notification_id(self) -> int | None:
        """Return the last position, or None if there is no event."""
        return self._lookup.last_position() or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Return an iterator of all events after position ``gt``, those to come included."""
        return KafkaSubscription(self, gt, topics, reader_at=self.reader_at, closed=self._closed)

    def reader_at(self, gt: int | None = None) -> Reader:
        """Return a reader that finds the events after position ``gt``; perhaps some before it, too."""
        return Reader(self._settings, self._lookup.reading_from(gt + 1) if gt else START)


class _Insert:
    """One call of insert_events that waits for its turn."""

    __slots__ = ("check", "done", "error", "events", "keys", "positions", "size")

    def __init__(self, events: Sequence[StoredEvent], check: bool) -> None:
        self.events = events
        self.check = check
        self.keys = [(id_to_text(event.originator_id), event.originator_version) for event in events]
        self.size = sum(len(event.state) for event in events)
        self.positions = range(0)
        self.error: Exception | None = None
        self.done = False
