"""The log as the engine uses it: take over, append, look up.

Log                     what the engine needs
├── RecorderLog         over any recorder of the library; for one process alone, as in unit tests
├── PostgresLog         consumers/engine/postgres_log.py
└── KafkaLog            consumers/kafka/log.py

LogError
├── Fenced              another engine writes the log; this one must stop
├── StaleCheckpoint     the checkpoint is not in this log
├── UnsafeLog           a setting could lose events; people must put it right
├── LogLost             the log has lost what it once confirmed, or is another one; people must decide
└── InDoubt             it is unknown whether the append is in the log; take over again, then the log tells
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

from eventsourcing.persistence import ApplicationRecorder, Notification, PersistenceError, StoredEvent

Buffer = Any  # bytes, or what a decoder takes like bytes; `collections.abc.Buffer` came with Python 3.12

READ_EVENTS: Final = 5_000
"""The number of events that a recorder is asked for at a time."""


class Checkpoint(NamedTuple):
    """The place from which a reader of the log goes on: after `position`. The other fields are for the store of the log."""

    position: int = 0
    offset: int = 0
    epoch: int = 0
    writer: str = ""


START: Final = Checkpoint()
"""The beginning of every log."""


def state_digest(state: "Buffer") -> str:
    """Return what tells an event from another one at the same position, where no writer's name does."""
    return blake2b(state, digest_size=8).hexdigest()


def checkpoint_before(checkpoints: Sequence[Checkpoint], position: int) -> Checkpoint:
    """Return the last of the checkpoints, which are in order, that lies before the event at this position."""
    found = bisect_right(checkpoints, position - 1, key=attrgetter("position"))
    return checkpoints[found - 1] if found else START


Row = tuple[str, int, str, Buffer]
"""An event as it is read from the log: stream, version, topic, state."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Successive events of the log, their positions, and the checkpoint after them."""

    positions: Sequence[int]
    rows: Sequence[Row]
    after: Checkpoint


EventHandler = Callable[[EventBatch], None]
"""Takes the next events of the log, in the log's order."""


class LogError(Exception):
    """The log cannot be written for now."""


class Fenced(LogError):  # noqa: N818  says what happened
    """Another engine writes the log. The events that this one was about to append are not in it."""


class InDoubt(LogError):  # noqa: N818  says what happened
    """It is unknown whether the last append is in the log, or the log cannot be reached: take over again."""


class StaleCheckpoint(LogError):  # noqa: N818  says what happened
    """The log does not hold what a checkpoint was made after; its events may be lost."""


class UnsafeLog(LogError):  # noqa: N818  says what is wrong
    """A setting of the log, or of a topic beside it, could lose events. The engine stops until it is put right."""


class LogLost(LogError):  # noqa: N818  says what happened
    """The log is another one, or has lost events that it once confirmed. The engine stops; people decide what to do."""


ErrorTable = Mapping[type[Exception], type[LogError]]
"""An error of a client library -> our error. The first entry that fits counts."""


@contextmanager
def mapped_errors(table: ErrorTable, doing: str = "") -> Iterator[None]:
    """Raise an error that is in the table as ours; every other error passes as it is.

    `doing` begins the message: what failed.
    """
    try:
        yield
    except tuple(table) as error:
        ours = next(ours for theirs, ours in table.items() if isinstance(error, theirs))
        raise ours(f"{doing}: {type(error).__name__}: {error}" if doing else str(error)) from error


_RECORDER_ERRORS: Final[ErrorTable] = {PersistenceError: InDoubt}  # IntegrityError: another writer has appended


class Append(Protocol):
    """Events on their way into the log."""

    def done(self) -> bool:
        """Return whether `result` returns without waiting."""

    def result(self) -> Sequence[int]:
        """Wait until the events are in the log for certain, and return their positions. Raises Fenced or InDoubt."""


class Log(Protocol):
    """One partition's log, with one writer. After Fenced or InDoubt only `take_over` and `close` may be called."""

    checkpoints: list[Checkpoint]
    """Checkpoints by which `read` finds old events quickly, none if the log needs none; a snapshot keeps them."""

    @property
    def epoch(self) -> int:
        """The number of this take-over, higher than all before; 0 where the log counts none."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint after all that this writer has read and confirmed."""

    @property
    def place(self) -> str:
        """Where the log is, as part of a file name. A log made anew in the same place has another identity."""

    def identity(self) -> str:
        """Return the name that tells this log from every other, even from a log made anew under the same name.

        Raises InDoubt when the log cannot be reached.
        """

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise StaleCheckpoint unless the log holds what the checkpoint was made after. Claims nothing.

        Raises InDoubt when the log cannot be reached.
        """

    def raise_if_unsafe(self) -> None:
        """Raise what a look at the log in the background has found, if it could lose events. Never waits."""

    def follow(self, handle: EventHandler, after: Checkpoint, timeout_seconds: float) -> None:
        """Pass the events after a checkpoint to `handle`; return when none come in time. Claims nothing.

        Raises:
            StaleCheckpoint: the checkpoint is not in this log.
            InDoubt: the log cannot be reached now.
        """

    def take_over(self, handle: EventHandler, after: Checkpoint = START) -> None:
        """Become the writer. Before this returns, all events after the checkpoint have gone to `handle`, in order.

        Raises:
            Fenced: another engine writes this log. The events that `handle` was given are in the log all the same.
            StaleCheckpoint: the checkpoint is not in this log.
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
        """Release the log; another engine may take over."""


class FinishedAppend:
    """An append that is in the log already."""

    def __init__(self, positions: Sequence[int]) -> None:
        self._positions = positions

    def done(self) -> bool:
        """Return True."""
        return True

    def result(self) -> Sequence[int]:
        """Return the positions."""
        return self._positions


class RecorderLog:
    """A log through any recorder of the library. Only the versions in each stream tell two writers apart."""

    def __init__(self, recorder: ApplicationRecorder) -> None:
        self.recorder = recorder
        self.epoch = 0
        self.checkpoints: list[Checkpoint] = []
        self._checkpoint = START

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint after all that this writer has read and confirmed."""
        return self._checkpoint

    @property
    def place(self) -> str:
        """A name for this object: it has no store of its own."""
        return self.identity()

    def identity(self) -> str:
        """Return a name for this object: it has no store of its own."""
        return f"recorder-{id(self.recorder)}"

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise StaleCheckpoint unless the log has the event at the checkpoint's position."""
        position = checkpoint.position
        if not position:
            return
        found = self.read(position, 1)
        if [event.id for event in found] != [position]:
            raise StaleCheckpoint(f"it has no event at position {position}")
        if checkpoint.writer not in {"", state_digest(found[0].state)}:
            raise StaleCheckpoint(f"it has another event at position {position}")

    def raise_if_unsafe(self) -> None:
        """Do nothing: nobody changes its settings."""

    def follow(self, handle: EventHandler, after: Checkpoint, timeout_seconds: float) -> None:  # noqa: ARG002  nobody else writes
        """Pass the events after the checkpoint to `handle`."""
        self.take_over(handle, after)

    def take_over(self, handle: EventHandler, after: Checkpoint = START) -> None:
        """Pass all events after the checkpoint to `handle`."""
        self.check(after)
        position, checkpoint = after.position, after
        while found := self.read(position + 1, READ_EVENTS):
            position = found[-1].id
            rows = [(str(event.originator_id), event.originator_version, event.topic, event.state) for event in found]
            checkpoint = Checkpoint(position, writer=state_digest(found[-1].state))
            handle(EventBatch([event.id for event in found], rows, checkpoint))
        self._checkpoint = checkpoint

    def begin(self, events: Sequence[StoredEvent]) -> Append:
        """Append the events; when this returns they are in the log."""
        with mapped_errors(_RECORDER_ERRORS, "the append failed"):
            positions = self.recorder.insert_events(events)
        assert positions, "an application recorder returns positions"
        self._checkpoint = Checkpoint(positions[-1], writer=state_digest(events[-1].state))
        return FinishedAppend(positions)

    def read(self, first: int, limit: int) -> Sequence[Notification]:
        """Return events from a position on."""
        with mapped_errors(_RECORDER_ERRORS, "the log cannot be read"):
            return self.recorder.select_notifications(first, limit)

    def close(self) -> None:
        """Nothing is held."""
