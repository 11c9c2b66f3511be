"""The library's recorders, on one partition of a Kafka topic."""

from __future__ import annotations

import sys
from collections import deque
from random import uniform
from threading import Event, RLock
from time import monotonic
from typing import TYPE_CHECKING, Any

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    IntegrityError,
    Notification,
    StoredEvent,
    Subscription,
)

from eventsourcing_kafka.errors import ClaimLost, Fenced, InDoubt
from eventsourcing_kafka.forks import OneProcess
from eventsourcing_kafka.library import (
    DataError,
    NotSupportedError,
    PersistenceError,
    ProgrammingError,
    id_to_text,
    tracked_name,
)
from eventsourcing_kafka.lookup import Lookup
from eventsourcing_kafka.protocol import START, Batch, Checkpoint
from eventsourcing_kafka.reader import Reader
from eventsourcing_kafka.subscription import KafkaSubscription
from eventsourcing_kafka.topics import TopicWatch, ensure_topic, refuse_another_topic
from eventsourcing_kafka.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from eventsourcing.persistence import Tracking

    from eventsourcing_kafka.settings import Settings

__all__ = ["KafkaAggregateRecorder", "KafkaApplicationRecorder"]

GROUP_EVENTS_MAX = 4_000
"""The most events in one record that concurrent calls of ``insert_events`` share."""
GROUP_BYTES_MAX = 1024 * 1024
"""The most bytes of state in such a record. A single call may have more, up to ``record_bytes_max``."""
FOLLOW_WAIT_MS = 1_000
"""The time that a fetch of a subscription waits in the broker for new events, which end the wait."""


class KafkaAggregateRecorder(AggregateRecorder):
    """Inserts and selects events of aggregates.

    Reading never claims the partition. The first insert does, and so does the next insert after ``Fenced`` or ``InDoubt``.
    Safe for threads.
    """

    keeps_tracking = False
    """Whether ``insert_events`` takes a ``tracking``."""

    def __init__(self, settings: Settings) -> None:
        """Check that the topic is safe, and open the index.

        Raises:
            UnsafeTopic: the topic is missing or could lose data.
            OperationalError: the broker cannot be reached.
        """
        self._settings = settings
        self._process = OneProcess()
        self._topic_id = ensure_topic(settings)
        self._watch: TopicWatch | None = None  # from the first insert on
        self.identity = f"{self._topic_id}/{settings.partition}"
        """The topic's id and the partition, as they were when the recorder was opened."""
        self._lookup = Lookup(settings, self.identity)
        self._appending = RLock()  # guards the writer; `waits` says why no plain lock
        self._writer: Writer | None = None
        self._waiting: deque[_Insert] = deque()
        self._closed = Event()

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, check_versions: bool = True, **kwargs: Any
    ) -> Sequence[int] | None:
        """Append the events, all or none, in one record.

        Args:
            stored_events: the events to append.
            check_versions: look the versions up in the index first. A sole writer that knows them to be right may pass
                False; the index then catches up when it is next needed.
            kwargs: ``tracking``, if the recorder keeps it.

        Raises:
            IntegrityError: an aggregate has an event of that version already, or the tracking is not above the last one
                of its application; nothing was appended.
            Fenced: another writer has taken over the partition; nothing was or will be appended.
            InDoubt: they may have been appended or not; a repeated call finds out.
            UnsafeTopic, LogRolledBack: a setting of the topic could lose data since at most ``LOOK_SECONDS``, or the topic
                was made anew; nothing is appended any more.
            DataError: they cannot be encoded, or do not fit into a record; nothing was appended.
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
        """Return the events of one aggregate, up to the end of the log that the partition's leader gives for this call.

        A leader that was just deposed can give an earlier end: this read is not linearizable. It then returns what was true
        before, never anything else. To see an event that was inserted, wait until ``max_notification_id`` of this recorder
        has reached the event's position; all later reads of this recorder contain it.

        Raises:
            OperationalError: the broker does not answer in time.
        """
        return self._lookup.events(id_to_text(originator_id), gt=gt, lte=lte, desc=desc, limit=limit)

    def take_over(self, apply: Callable[[Batch], object] | None = None, at: Checkpoint = START) -> Writer:
        """Claim the partition now, and return the writer.

        Args:
            apply: called with each batch after ``at`` up to the claim. Without it, reading begins where it is cheapest.
            at: the checkpoint after which ``apply`` gets the batches.

        Raises:
            ClaimLost, InDoubt, OperationalError: as ``Writer.take_over``.
        """
        self._process.check()
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
        """True after ``close`` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """Close the connections and the index, and end the subscriptions."""
        self._closed.set()
        if not self._process.is_this:
            return  # the connections belong to the process that opened them
        if sys.is_finalizing():
            return  # no thread can start any more, nor release a lock; the connections end with the process
        with self._appending:
            self._drop_writer()
            self._lookup.close()
            if self._watch is not None:
                self._watch.stop()

    def _insert(self, events: Sequence[StoredEvent], check: bool, more: dict[str, Any]) -> list[int] | None:
        for name, value in more.items():
            if value is not None and not (self.keeps_tracking and name == "tracking"):
                raise NotSupportedError(f"{type(self).__name__} keeps no {name} with the events")
        tracking: Tracking | None = more.get("tracking")  # None from the library's application
        if not events and tracking is None:
            return None
        self._process.check()
        insert = _Insert(events, check, tracking)
        self._waiting.append(insert)
        # The thread that gets the lock appends for all that wait, so that many callers share one round trip.
        with self._appending:
            while not insert.done:
                self._append_group(self._next_group())
        if insert.error is not None:
            raise insert.error
        return list(insert.positions or ())

    def _next_group(self) -> list[_Insert]:
        """Take as many of the waiting calls as fit into one record, at least one."""
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
        """Append what can be appended. Give each insert its positions or its error."""
        try:
            self._try_to_append(group)
        except Exception as error:  # noqa: BLE001  # it is raised in the callers' threads
            if isinstance(error, (Fenced, InDoubt)) or not isinstance(error, PersistenceError):
                self._drop_writer()
            self._finish(group, error)
        except BaseException:  # this thread is interrupted, and the others must not wait for ever
            self._drop_writer()
            self._finish(group, InDoubt("The thread that appended for several callers was interrupted"))
            raise
        else:
            self._finish(group, None)

    def _try_to_append(self, group: list[_Insert]) -> None:
        if self._closed.is_set():
            raise ProgrammingError("The recorder is closed")
        if self._watch is None:
            self._watch = TopicWatch(lambda: refuse_another_topic(self._settings, self._topic_id))
        self._watch.raise_if_unsafe()
        if self._writer is None:
            self._writer = self._take_over_with_retries()
        self._refuse_conflicts(group, self._writer)
        accepted = [insert for insert in group if insert.error is None]
        try:
            self._append(accepted, self._writer)
        except DataError as error:  # nothing was sent; append one by one, to find those that cannot be encoded
            if len(accepted) == 1:
                accepted[0].error = error
            else:
                for insert in accepted:
                    self._append_group([insert])

    @staticmethod
    def _finish(group: list[_Insert], error: Exception | None) -> None:
        """Let the callers return. Those that have neither positions nor an error get this error."""
        for insert in group:
            if insert.error is None and insert.positions is None:
                insert.error = error
            insert.done = True

    def _refuse_conflicts(self, group: list[_Insert], writer: Writer) -> None:
        """Set the error of each insert with a version or a tracking that exists, in the log or earlier in the group."""
        end = writer.checkpoint.offset
        keys = {key for insert in group if insert.check for key in insert.keys}
        existing = self._lookup.existing(keys, end) if keys else set()
        names = {insert.tracked for insert in group if insert.tracked is not None}
        tracked = self._lookup.tracked(names, end) if names else {}
        for insert in group:
            last = tracked.get(insert.tracked) if insert.tracked is not None else None
            if insert.check and (len(set(insert.keys)) < len(insert.keys) or not existing.isdisjoint(insert.keys)):
                insert.error = IntegrityError("Stored events already recorded, or not unique")
            elif last is not None and insert.processed <= last:
                insert.error = IntegrityError(
                    f"Event {insert.processed} of {insert.tracked} was processed before, as all up to {last}"
                )
            else:
                existing.update(insert.keys)
                if insert.tracked is not None:
                    tracked[insert.tracked] = insert.processed

    def _append(self, inserts: list[_Insert], writer: Writer) -> None:
        if not inserts:
            return
        before = writer.checkpoint
        tracking = {insert.tracked: insert.processed for insert in inserts if insert.tracked is not None}
        append = writer.begin([event for insert in inserts for event in insert.events], tracking=tracking)
        first = append.result().start
        for insert in inserts:
            insert.positions = range(first, first + len(insert.events))
            first = insert.positions.stop
        if tracking or any(insert.check for insert in inserts):
            self._lookup.add(before, append.value, writer.checkpoint)

    def _take_over_with_retries(self) -> Writer:
        """Take over. If another writer keeps claiming, wait for random times that grow, for ``append_timeout`` in all."""
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
    """Also returns positions: 1, 2, 3, ... without a gap, stored in the records themselves."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, check_versions: bool = True, **kwargs: Any
    ) -> Sequence[int] | None:
        """Append like ``KafkaAggregateRecorder.insert_events``, and return the positions of the events."""
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
        """Return an iterator of all present and future events after position ``gt``."""
        return KafkaSubscription(self, gt, topics, reader_at=self.reader_at, closed=self._closed)

    def reader_at(self, gt: int | None = None) -> Reader:
        """Return a reader that finds the events after position ``gt``, and perhaps some before it."""
        at = self._lookup.checkpoint_at(gt + 1) if gt else START
        return Reader(self._settings, at, fetch_wait_ms=FOLLOW_WAIT_MS)


class _Insert:
    """One call of ``insert_events`` that waits to be appended."""

    __slots__ = ("check", "done", "error", "events", "keys", "positions", "processed", "size", "tracked")

    def __init__(self, events: Sequence[StoredEvent], check: bool, tracking: Tracking | None) -> None:
        self.events = events
        self.check = check
        self.keys = [(id_to_text(event.originator_id), event.originator_version) for event in events]
        self.size = sum(len(event.state) for event in events)
        self.tracked = None if tracking is None else tracked_name(tracking)
        self.processed = 0 if tracking is None else tracking.notification_id
        self.positions: range | None = None
        self.error: Exception | None = None
        self.done = False
