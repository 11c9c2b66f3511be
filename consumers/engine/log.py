"""The log as the engine uses it: take over, append, look up; and the recorder of it for everybody else.

Log                     what the engine needs
├── RecorderLog         over any recorder of the library; for one process alone, as in unit tests
├── PostgresLog         consumers/engine/postgres_log.py
└── KafkaLog            consumers/kafka/log.py

LogError
├── Fenced              another engine writes the log; this one must stop
├── StaleCheckpoint          the place at which reading was to go on is not in this log: begin at its beginning
└── InDoubt             it is unknown whether the append is in the log: take over again, then the log tells
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

from eventsourcing.persistence import ApplicationRecorder, IntegrityError, Notification, PersistenceError, StoredEvent

Buffer = Any  # bytes, or what a decoder takes like bytes; `collections.abc.Buffer` came with Python 3.12

READ_EVENTS: Final = 5_000


class Checkpoint(NamedTuple):
    """Where a reader of the log goes on: behind the event at `position`. What else a store must know is in the rest."""

    position: int = 0
    offset: int = 0
    epoch: int = 0
    writer: str = ""


START: Final = Checkpoint()
"""The beginning of every log."""


def checkpoint_before(places: Sequence[Checkpoint], position: int) -> Checkpoint:
    """Return the last of these places, which are in order, from which the event at the position is still ahead."""
    found = bisect_right(places, position - 1, key=attrgetter("position"))
    return places[found - 1] if found else START


Row = tuple[str, int, str, Buffer]
"""An event as it is read back: stream, version, topic, state."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events that follow each other in the log, their positions, and where a reader goes on behind them."""

    positions: Sequence[int]
    rows: Sequence[Row]
    after: Checkpoint


EventHandler = Callable[[EventBatch], None]
"""Takes the next events of the log, in its order."""


class LogError(Exception):
    """Something that ends the writing of the log for now."""


class Fenced(LogError):  # noqa: N818  says what happened
    """Another engine writes the log. What this one was about to append is not in it."""


class InDoubt(LogError):  # noqa: N818  says what happened
    """It is unknown whether the last append is in the log, or the log cannot be reached: take over again."""


class StaleCheckpoint(LogError):  # noqa: N818  says what happened
    """What was kept beside the log does not belong to it, or the log has lost its end: read it from the beginning."""


class Append(Protocol):
    """Events on their way into the log."""

    def done(self) -> bool:
        """Return whether `result` has not to wait."""

    def result(self) -> Sequence[int]:
        """Wait until they are in the log for certain and return their positions. Raises Fenced or InDoubt."""


class Log(Protocol):
    """One partition's log, with one writer. After Fenced or InDoubt only `take_over` and `close` may be called."""

    marks: list[Checkpoint]
    """Places by which `read` finds old events quickly, none where it needs none; a snapshot keeps them."""

    @property
    def epoch(self) -> int:
        """The number of this take-over, higher than all before; 0 where the log counts none."""

    @property
    def place(self) -> Checkpoint:
        """Where a reader goes on that knows all this writer has taken over and confirmed; while it is the writer."""

    def identity(self) -> str:
        """Return what tells this log from every other, also from one that is made anew under the same name.

        Raises InDoubt when the log cannot be reached.
        """

    def follow(self, apply: EventHandler, after: Checkpoint, timeout_seconds: float) -> None:
        """Pass what has come behind a place to `apply`, or return when nothing comes in time; claims nothing.

        Raises:
            StaleCheckpoint: the place is not in this log.
            InDoubt: the log cannot be reached now.
        """

    def take_over(self, apply: EventHandler, after: Checkpoint = START) -> None:
        """Become the writer, and pass all that is in the log behind a place to `apply`, in order, before returning.

        Raises:
            Fenced: another engine writes this log. What was passed to `apply` is true all the same.
            StaleCheckpoint: the place is not in this log.
            InDoubt: the log cannot be reached now.
        """

    def begin(self, events: Sequence[StoredEvent]) -> Append:
        """Append the events, all or none. One append at a time: ask for its result before the next.

        Raises:
            Fenced, InDoubt: as the result would.
        """

    def read(self, first: int, limit: int) -> Sequence[Notification]:
        """Return at most `limit` events from a position on. Raises InDoubt when the log cannot be reached."""

    def close(self) -> None:
        """Let go of the log; another engine may take over."""


class Appended:
    """An append that is done."""

    def __init__(self, positions: Sequence[int]) -> None:
        self._positions = positions

    def done(self) -> bool:
        """Return True."""
        return True

    def result(self) -> Sequence[int]:
        """Return the positions."""
        return self._positions


class RecorderLog:
    """A log through any recorder of the library. Two writers are told apart by the versions in each stream alone."""

    def __init__(self, recorder: ApplicationRecorder) -> None:
        self.recorder = recorder
        self.epoch = 0
        self.marks: list[Checkpoint] = []
        self._place = START

    @property
    def place(self) -> Checkpoint:
        """Where a reader goes on."""
        return self._place

    def identity(self) -> str:
        """Return a name for this object: it has no store of its own."""
        return f"recorder-{id(self.recorder)}"

    def follow(self, apply: EventHandler, after: Checkpoint, timeout_seconds: float) -> None:  # noqa: ARG002  nobody else writes
        """Pass what is behind the place to `apply`."""
        self.take_over(apply, after)

    def take_over(self, apply: EventHandler, after: Checkpoint = START) -> None:
        """Pass all that is in the log behind the place to `apply`."""
        position = after.position
        if position and [event.id for event in self.read(position, 1)] != [position]:
            raise StaleCheckpoint(f"the log has no event at {position}")
        while found := self.read(position + 1, READ_EVENTS):
            position = found[-1].id
            rows = [(str(event.originator_id), event.originator_version, event.topic, event.state) for event in found]
            apply(EventBatch([event.id for event in found], rows, Checkpoint(position)))
        self._place = Checkpoint(position)

    def begin(self, events: Sequence[StoredEvent]) -> Append:
        """Append the events; when this returns they are in the log."""
        try:
            positions = self.recorder.insert_events(events)
        except IntegrityError as error:
            raise InDoubt(f"somebody else has written to the log: {error}") from error
        except PersistenceError as error:
            raise InDoubt(str(error)) from error
        assert positions, "an application recorder returns positions"
        self._place = Checkpoint(positions[-1])
        return Appended(positions)

    def read(self, first: int, limit: int) -> Sequence[Notification]:
        """Return events from a position on."""
        try:
            return self.recorder.select_notifications(first, limit)
        except PersistenceError as error:
            raise InDoubt(str(error)) from error

    def close(self) -> None:
        """Nothing is held."""
