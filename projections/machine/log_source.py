"""Reading the log: what is next after a position, or what comes within a while.

A source belongs to one thread at a time. There is one for each kind of recorder: PostgreSQL's, those that can be read as a
stream (Kafka), and any other.
"""

import select
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from threading import Event
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import msgspec
from eventsourcing.persistence import ApplicationRecorder, InterfaceError, Notification, OperationalError
from eventsourcing.postgres import PostgresApplicationRecorder
from eventsourcing.utils import retry
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from domain.events import Recorded
from domain.money import Time
from messages.events import TOPICS, UnreadableEventError
from messages.stored import decode_state, from_stored
from projections.machine.fold_traces import FoldTraces
from projections.machine.parking import UnreadableEvent

PAGE_EVENTS: Final = 5_000
"""The most events of one query: for more, PostgreSQL may choose to sort everything after the position."""

GATHER_SECONDS: Final = 0.05
"""The longest that a read waits in all for more records of a stream, once it has so many that more must be coming."""

LOOK_SECONDS: Final = 0.01
"""The interval at which a recorder that can tell nothing is asked."""

STREAMS_MAX: Final = 3
"""The most places in a log that are followed at a time as streams."""

UNUSED_SECONDS: Final = 10.0
"""The time after which a stream that nobody has read from is closed: it fetches, also while nobody reads."""

DataT = TypeVar("DataT")


class _State(msgspec.Struct, Generic[DataT], gc=False):
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


_DecodeRows = Callable[[Iterable[tuple[Any, ...]], Callable[[Recorded], None]], None]
"""Decodes rows of the log and appends their events."""

_ROWS: Final = SQL(
    "SELECT notification_id, originator_id, originator_version, topic, state FROM {} "
    "WHERE notification_id > %s ORDER BY notification_id LIMIT %s"
)


@retry((InterfaceError, OperationalError), max_attempts=10, wait=0.2)
def _select_rows(
    recorder: PostgresApplicationRecorder, after: int, limit: int, decode_rows: _DecodeRows
) -> list[Recorded]:
    """Do what `select_notifications` does in a fifth of its time.

    States come in binary form, not as text of hexadecimal digits, and rows are not made `Notification`s.
    """
    query = _ROWS.format(Identifier(recorder.datastore.schema, recorder.events_table_name))
    events: list[Recorded] = []
    with recorder.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
        while len(events) < limit:
            rows = cursor.execute(query, [after, PAGE_EVENTS], prepare=True, binary=True).fetchall()
            decode_rows(rows, events.append)
            if len(rows) < PAGE_EVENTS:
                break
            after = events[-1].position
    return events


def _decode_rows(rows: Iterable[tuple[Any, ...]], append: Callable[[Recorded], None]) -> None:
    """Decode what folds need. The ids and digests of commands are left out, because no fold uses them."""
    decoders = _DECODERS
    for position, stream, version, topic, stored in rows:
        try:
            known = decoders.get(topic)
            state: Any = known(stored) if known is not None else decode_state(topic, stored)
        except (msgspec.DecodeError, UnreadableEventError) as error:
            append(_unreadable(position, stream, version, topic, error))
        else:
            append(Recorded(position, stream, version, state.time, "", state.data))


def _decode_whole(rows: Iterable[tuple[Any, ...]], append: Callable[[Recorded], None]) -> None:
    """Decode everything, the ids and digests of commands included."""
    for position, stream, version, topic, stored in rows:
        try:
            state = decode_state(topic, stored)
        except UnreadableEventError as error:
            append(_unreadable(position, stream, version, topic, error))
        else:
            append(Recorded(position, stream, version, state.time, state.command_id, state.data, state.digest))


class Source(Protocol):
    """A log that can be read on from any position."""

    def read(self, after: int, seconds: float, limit: int) -> list[Recorded]:
        """Return the next events after a position, about `limit` at most; wait for the first at most this long.

        Raises whatever the recorder raises when the log cannot be read.
        """

    def close(self) -> None:
        """Disconnect. The next read connects again."""


def source_of(recorder: ApplicationRecorder, traces: FoldTraces | None = None, *, whole: bool = False) -> Source:
    """Return the source that reads a recorder's log, and notes the traces of its records, if they have headers.

    With `whole`, events have the ids and digests of their commands, which no fold needs.
    """
    decode_rows = _decode_whole if whole else _decode_rows
    if isinstance(recorder, PostgresApplicationRecorder):
        return PostgresSource(recorder, decode_rows)
    if hasattr(recorder, "reader_at"):
        return StreamSource(recorder, traces, decode_rows)
    return AnySource(recorder)


class PostgresSource:
    """The log in PostgreSQL: asked only after a notification says that something is new."""

    def __init__(self, recorder: PostgresApplicationRecorder, decode_rows: _DecodeRows = _decode_rows) -> None:
        self._recorder = recorder
        self._decode_rows = decode_rows
        self._session = ExitStack()
        self._listening: Any = None
        self._level: int | None = None  # everything up to here is read, and whatever comes later is announced

    def read(self, after: int, seconds: float, limit: int) -> list[Recorded]:
        """Return the next events: see `Source`."""
        ends = monotonic() + seconds
        try:
            while True:
                left = max(0.0, ends - monotonic())
                if after == self._level and not self._is_announced(left):
                    return []
                self._connected()  # what comes after this query is announced
                events: list[Recorded] = _select_rows(self._recorder, after, limit, self._decode_rows)
                self._level = (events[-1].position if events else after) if len(events) < limit else None
                if events:  # there are none where a notification was for what had been read already
                    return events
        except BaseException:
            self.close()
            raise

    def _is_announced(self, seconds: float) -> bool:
        """Wait for a notification at most this long; return whether one has come."""
        connection = self._connected()
        if list(connection.notifies(timeout=0, stop_after=1)):
            return True
        # psycopg waits by looking ten times a second. So wait for its socket.
        arrived = select.poll()
        arrived.register(connection.fileno(), select.POLLIN)
        return bool(arrived.poll(seconds * 1000)) and bool(list(connection.notifies(timeout=0, stop_after=1)))

    def close(self) -> None:
        """Cease to listen."""
        self._session.close()
        self._listening = self._level = None

    def _connected(self) -> Any:
        if self._listening is None:
            self._listening = self._session.enter_context(self._recorder.datastore.get_connection())
            self._listening.execute(SQL("LISTEN {}").format(Identifier(self._recorder.channel_name)))
            self._listening.commit()
        return self._listening


class _Stream(Protocol):
    """Records in order, as `eventsourcing_kafka.Reader` returns them."""

    def read(self, timeout: float) -> list[Any]:
        """Return the next batches; wait for the first at most this long."""

    def close(self) -> None:
        """Disconnect."""


class StreamSource:
    """A log that is followed as a stream from wherever it was read last."""

    def __init__(
        self,
        recorder: ApplicationRecorder,
        traces: FoldTraces | None = None,
        decode_rows: _DecodeRows = _decode_rows,
    ) -> None:
        self._traces = traces
        self._decode_rows = decode_rows
        self._open = cast("Callable[[int], _Stream]", recorder.reader_at)  # type: ignore[attr-defined]
        # By the position after which each continues, those used last at the end, with the time of the last read.
        self._streams: OrderedDict[int, tuple[_Stream, float]] = OrderedDict()

    def read(self, after: int, seconds: float, limit: int) -> list[Recorded]:
        """Return the next events: see `Source`."""
        kept = self._streams.pop(after, None)
        stream = self._open(after) if kept is None else kept[0]
        events: list[Recorded] = []
        waits = GATHER_SECONDS  # a log that is being written always has a next record soon
        try:
            batches = stream.read(seconds)
            while batches:
                for batch in batches:
                    if batch.last > after:
                        self._decode_rows(_rows_of(batch, after), events.append)
                        if self._traces is not None and batch.headers:
                            self._traces.note(batch.last, batch.headers)
                if len(events) >= limit:
                    break
                batches = stream.read(0.0)
                if not batches and len(events) >= PAGE_EVENTS and waits > 0:
                    began = monotonic()
                    batches = stream.read(waits)
                    waits -= monotonic() - began
        except BaseException:
            stream.close()
            raise
        self._keep(events[-1].position if events else after, stream)
        return events

    def close(self) -> None:
        """Close the streams."""
        while self._streams:
            self._close_oldest()

    def _keep(self, position: int, stream: _Stream) -> None:
        now = monotonic()
        if (other := self._streams.pop(position, None)) is not None:
            other[0].close()
        self._streams[position] = stream, now
        while len(self._streams) > STREAMS_MAX or next(iter(self._streams.values()))[1] < now - UNUSED_SECONDS:
            self._close_oldest()

    def _close_oldest(self) -> None:
        _, (stream, _) = self._streams.popitem(last=False)
        stream.close()


def _rows_of(batch: Any, after: int) -> list[tuple[Any, ...]]:
    """Return the events of a stream's batch after a position as rows."""
    rows = [(position, *event[:4]) for position, event in enumerate(batch.events, batch.first)]
    return rows if batch.first > after else rows[after + 1 - batch.first :]


class AnySource:
    """The log of any other recorder, which is asked again and again while a reader waits: for tests."""

    def __init__(self, recorder: ApplicationRecorder) -> None:
        self._recorder = recorder
        self._closed = Event()

    def read(self, after: int, seconds: float, limit: int) -> list[Recorded]:
        """Return the next events: see `Source`."""
        ends = monotonic() + seconds
        while True:
            found = self._recorder.select_notifications(after, limit, inclusive_of_start=False)
            if found or monotonic() >= ends or self._closed.wait(LOOK_SECONDS):
                return decode(found)

    def close(self) -> None:
        """Let a read that waits end."""
        self._closed.set()
