"""The log as batches: each is read and decoded once, and kept for read models that are a little behind."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any, Final, Generic, TypeVar

import msgspec
import structlog
from eventsourcing.persistence import ApplicationRecorder, InterfaceError, Notification, OperationalError
from eventsourcing.postgres import PostgresApplicationRecorder
from eventsourcing.utils import retry
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from domain.events import Recorded
from domain.money import Time
from messages.events import TOPICS, UnreadableEventError
from messages.stored import decode_state, from_stored
from projections.machine.batch import Batch
from projections.machine.parking import UnreadableEvent

_log: Final = structlog.get_logger()

BATCH_EVENTS: Final = 50_000
"""The most events of a batch."""

PAGE_EVENTS: Final = 5_000
"""The most events of one query: for more, PostgreSQL may choose to sort everything after the position."""

BATCHES_KEPT: Final = 3
"""The number of newest batches that stay in memory for read models that come a little later."""

PATIENCE_SECONDS: Final = 30.0
"""The longest wait of the fast read models for a slow one, so that the log is read once."""

TAIL_EVENTS_MAX: Final = 20_000
"""The most events that are kept while nobody asks for them; older ones are read from the log again."""

RETRY_SECONDS_MAX: Final = 5.0
"""The longest pause before the log is followed again; the first is 0.1 seconds, each one twice the last."""

DataT = TypeVar("DataT")


class _State(msgspec.Struct, Generic[DataT]):
    """The part of a stored event's state that folds need."""

    time: Time
    data: DataT


_DECODERS: Final = {topic: msgspec.json.Decoder(_State[kind]).decode for topic, kind in TOPICS.items()}  # type: ignore[valid-type]


def decode(notifications: Iterable[Notification]) -> list[Recorded]:
    """Return the events; one that cannot be read becomes an `UnreadableEvent`, which every read model parks."""
    events: list[Recorded] = []
    for notification in notifications:
        try:
            events.append(from_stored(notification.id, notification))
        except UnreadableEventError as error:
            stream, version = str(notification.originator_id), notification.originator_version
            events.append(_unreadable(notification.id, stream, version, notification.topic, error))
    return events


def _unreadable(position: int, stream: str, version: int, topic: str, error: Exception) -> Recorded:
    event: Any = UnreadableEvent(topic, str(error))
    return Recorded(position, stream, version, 0, "", event)


def select(recorder: ApplicationRecorder, after: int, until: int | None = None) -> list[Recorded]:
    """Return the next events after a position, up to and including `until` if it is given: at most `BATCH_EVENTS`."""
    if isinstance(recorder, PostgresApplicationRecorder):
        events: list[Recorded] = _select_rows(recorder, after, until)
        return events
    return decode(recorder.select_notifications(after, BATCH_EVENTS, until, inclusive_of_start=False))


_ROWS: Final = SQL(
    "SELECT notification_id, originator_id, originator_version, topic, state FROM {} "
    "WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id LIMIT %s"
)
_LAST: Final = (1 << 63) - 1


@retry((InterfaceError, OperationalError), max_attempts=10, wait=0.2)
def _select_rows(recorder: PostgresApplicationRecorder, after: int, until: int | None) -> list[Recorded]:
    """Do what `select_notifications` does in a fifth of its time.

    States come in binary form, not as text of hexadecimal digits, and rows are not made `Notification`s. The ids of commands
    are left out: no fold uses them.
    """
    query = _ROWS.format(Identifier(recorder.datastore.schema, recorder.events_table_name))
    events: list[Recorded] = []
    with recorder.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
        while len(events) < BATCH_EVENTS:
            limits = [after, _LAST if until is None else until, PAGE_EVENTS]
            rows = cursor.execute(query, limits, prepare=True, binary=True).fetchall()
            _decode_rows(rows, events.append)
            if len(rows) < PAGE_EVENTS:
                break
            after = events[-1].position
    return events


def _decode_rows(rows: Iterable[tuple[Any, ...]], append: Callable[[Recorded], None]) -> None:
    decoders = _DECODERS
    for position, stream, version, topic, stored in rows:
        try:
            known = decoders.get(topic)
            state: Any = known(stored) if known is not None else decode_state(topic, stored)
        except (msgspec.DecodeError, UnreadableEventError) as error:
            append(_unreadable(position, stream, version, topic, error))
        else:
            append(Recorded(position, stream, version, state.time, "", state.data))


def read_log(recorder: ApplicationRecorder, partition: int, after: int, until: int) -> Iterator[Batch]:
    """Yield the events after one position, up to and including another one, in batches."""
    while after < until:
        events = select(recorder, after, until)
        if not events:
            return
        yield Batch(partition, events)
        after = events[-1].position


class LogReader:
    """One partition's log, for several readers; a subscription of the recorder's tells what is new.

    Readers that are far behind stay level, so that the log is read once for all of them: a batch stays in memory until the
    last of them has taken it, unless that reader makes no progress. While they fold a batch, the next one is read.
    """

    def __init__(self, recorder: ApplicationRecorder, partition: int = 0) -> None:
        self.partition = partition
        self._recorder = recorder
        self._batches: deque[tuple[int, Batch]] = deque(maxlen=BATCHES_KEPT)  # with the position that each begins after
        self._next: dict[str, tuple[int, float]] = {}  # the position that each reader has reached, and since when
        self._reading = threading.Lock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        # The batch that is read ahead: the position that it begins after, and its events.
        self._ahead: tuple[int, Future[list[Recorded]]] | None = None
        self._moved = threading.Condition()
        self._tail: deque[Notification] = deque()
        self._tail_from: int | None = None  # the tail holds every event after this position
        self._stopping = threading.Event()
        self._subscription: Any = None
        self._follower = threading.Thread(target=self._follow, name="log-reader", daemon=True)

    def start(self) -> None:
        """Start to follow what is new."""
        self._follower.start()

    def stop(self) -> None:
        """Stop following; readers that wait for a batch get None."""
        self._stopping.set()
        with self._moved:
            if self._subscription is not None:
                self._subscription.stop()
            self._moved.notify_all()
        with self._reading:  # a thread that reads now will see that we stop before it reads ahead
            self._executor.shutdown()
        if self._follower.is_alive():
            self._follower.join()

    def after(self, position: int, timeout_seconds: float, reader: str) -> Batch | None:
        """Wait for the next batch after a position, and return it; None if none came in that time.

        Raises whatever the recorder raises when the log cannot be read.
        """
        ends = monotonic() + timeout_seconds
        self._note_position(reader, position)
        while not self._stopping.is_set():
            with self._reading:
                batch = self._kept(position) or self._from_tail(position)
                waits = batch is None and self._must_wait_for_slower()
                if batch is None and not waits:
                    batch = self._from_log(position)
            if batch is not None:
                self._note_position(reader, batch.last.position)
                return batch
            with self._moved:
                left = ends - monotonic()
                if left <= 0:
                    return None
                if waits or not self._has_news(position):
                    # A subscription that has not begun yet, or broke, tells nothing: look again soon.
                    self._moved.wait(left if self._tail_from is not None and not waits else min(left, 0.1))
        return None

    def leave(self, reader: str) -> None:
        """Forget a reader that takes no more batches: the others do not wait for it."""
        with self._moved:
            self._next.pop(reader, None)
            self._moved.notify_all()

    def _note_position(self, reader: str, position: int) -> None:
        with self._moved:
            if self._next.get(reader, (-1,))[0] != position:
                self._next[reader] = (position, monotonic())
                self._moved.notify_all()

    def _must_wait_for_slower(self) -> bool:
        """Return whether the next batch would displace one that a slower reader is about to take."""
        if len(self._batches) < BATCHES_KEPT:
            return False
        begins, oldest = self._batches[0]
        still = monotonic() - PATIENCE_SECONDS
        return any(begins <= at < oldest.last.position and since > still for at, since in list(self._next.values()))

    def _kept(self, position: int) -> Batch | None:
        for begins, batch in reversed(self._batches):
            if begins <= position < batch.last.position:
                return batch.after(position)
        return None

    def _has_news(self, position: int) -> bool:
        return bool(self._tail) and self._tail[-1].id > position

    def _from_tail(self, position: int) -> Batch | None:
        with self._moved:
            if self._tail_from is None or position < self._tail_from or not self._has_news(position):
                return None
            while self._tail[0].id <= position:
                self._tail.popleft()
            taken = [self._tail.popleft() for _ in range(min(BATCH_EVENTS, len(self._tail)))]
            self._tail_from = taken[-1].id
        return self._keep(position, decode(taken))

    def _from_log(self, position: int) -> Batch | None:
        with self._moved:
            if self._tail_from is not None and position >= self._tail_from:
                self._ahead = None
                return None  # the subscription tells what comes
        begins, reading = self._ahead or (None, None)
        self._ahead = None
        events = reading.result() if reading and begins == position else select(self._recorder, position)
        if not events:
            return None
        if len(events) >= BATCH_EVENTS and not self._stopping.is_set():
            last = events[-1].position
            self._ahead = last, self._executor.submit(select, self._recorder, last)
        return self._keep(position, events)

    def _keep(self, position: int, events: Sequence[Recorded]) -> Batch:
        batch = Batch(self.partition, events)
        self._batches.append((position, batch))
        return batch

    def _follow(self) -> None:
        """Collect what is recorded from now on; after a failure continue after what was collected."""
        pause = 0.1
        last: int | None = None
        while not self._stopping.is_set():
            try:
                if last is None:
                    last = self._recorder.max_notification_id() or 0
                with self._recorder.subscribe(gt=last) as subscription:
                    with self._moved:
                        self._subscription = subscription
                        if self._tail_from is None:
                            self._tail_from = last
                        if self._stopping.is_set():
                            subscription.stop()
                    for notification in subscription:
                        pause = 0.1
                        last = notification.id
                        self._collect(notification)
            except Exception as error:  # noqa: BLE001  whatever the recorder's driver raises when the log is away
                if not self._stopping.is_set():
                    _log.warning("log_away", error=repr(error), retry_seconds=pause)
            self._stopping.wait(pause)
            pause = min(2 * pause, RETRY_SECONDS_MAX)

    def _collect(self, notification: Notification) -> None:
        with self._moved:
            self._tail.append(notification)
            if len(self._tail) > TAIL_EVENTS_MAX:
                self._tail_from = self._tail.popleft().id
            self._moved.notify_all()
