"""The state of the exchange at any position or time, in memory, event by event, from a live log or an export.

    from analysis.replay import open_history

    with open_history() as history:  # the log that the settings name; `open_history("DIR")` reads an export
        print(history.at(position=1_200).exchange.ledger.balances["house"])

    with open_history("DIR") as history:
        for recorded in (replay := history.replay()):
            print(recorded.position, type(recorded.event).__name__, replay.exchange.time)

`exchange` is the object that the engine decides with (`domain.exchange.Exchange`): its markets, accounts, books and ledger are
those after the event that was applied last. Amounts are integers of a millionth of a credit or share, times are microseconds
since 1970. `tidings replay`, `tidings verify` and `tidings whatif` read and step with this module too.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analysis.exported import read_export
from api.database import with_database
from consumers.wiring import open_recorder
from domain.exchange import Exchange
from messages.events import UnreadableEventError
from projections.machine.log_reader import read_log
from projections.machine.parking import UnreadableEvent
from settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from eventsourcing.persistence import ApplicationRecorder

    from domain.events import Recorded
    from domain.money import Time
    from projections.machine.batch import Batch

PROGRESS_EVENTS: Final = 5_000
"""The number of events between two reports of progress."""


@contextmanager
def open_history(export: str | Path | None = None, settings: Settings | None = None) -> Iterator[History]:
    """Open the history of an exchange for reading, and close it at the end of the block.

    Args:
        export: the folder that `tidings export` wrote. Without it, the log is read that the settings name; a PostgreSQL of
            Tidings' own runs until the end of the block.
        settings: where the log is, and which partition is read; by default what the environment says.

    Raises:
        ExportError: the folder is no export, or has no events.
    """
    settings = settings or Settings()
    if export is not None:
        history = history_of_export(Path(export), settings.partition)
        try:
            yield history
        finally:
            history.close()
        return
    with ExitStack() as stack:
        if settings.log == "postgres":
            settings = with_database(settings, stack)
        history = history_of_log(stack.enter_context(open_recorder(settings)), settings.partition)
        stack.callback(history.close)
        yield history


def history_of_log(log: ApplicationRecorder, partition: int = 0) -> History:
    """Return the history in a log that somebody else has opened, and closes."""
    return History(
        lambda after, until: read_log(log, partition, after, until, whole=True),
        lambda: log.max_notification_id() or 0,
        partition,
    )


def history_of_export(folder: Path, partition: int = 0) -> History:
    """Return the history in an export. Raises ExportError."""
    return History(*read_export(folder, partition), partition)


class History:
    """The events of one partition of an exchange, to be read any number of times, from any position on."""

    def __init__(
        self,
        read: Callable[[int, int], Iterator[Batch]],
        end: Callable[[], int],
        partition: int = 0,
    ) -> None:
        self.partition = partition
        self._read = read
        self._end = end
        self._opened = ExitStack()

    def close(self) -> None:
        """End what is still being read."""
        self._opened.close()

    def end(self) -> int:
        """Return the position of the last event, 0 if there is none. A live log grows."""
        return self._end()

    def batches(self, after: int = 0, until: int | None = None) -> Iterator[Batch]:
        """Yield the events after a position in batches, up to a position or to the end of the log as it is now.

        What cannot be read stands there as an `UnreadableEvent`.
        """
        until = self.end() if until is None else min(until, self.end())
        batches = self._read(after, until)
        if (close := getattr(batches, "close", None)) is not None:
            self._opened.callback(close)
        return iter(batches)

    def events(self, after: int = 0, until: int | None = None) -> Iterator[Recorded]:
        """Yield the same events one by one."""
        for batch in self.batches(after, until):
            yield from batch.events

    def replay(self, until: int | None = None) -> Replayed:
        """Return the state before the first event, to be stepped up to a position, or to the end of the log as it is now."""
        return Replayed(self.events(until=until), self.partition)

    def at(self, *, position: int | None = None, time: Time | None = None) -> Replayed:
        """Return the state after the last event at or before this position and time; without both, at the end.

        It can be stepped on from there. Raises UnreadableEventError.
        """
        return self.replay().step_to(position=position, time=time)


class Replayed:
    """The exchange as the events up to a position made it. Iterating applies one event after the other and returns it.

    `exchange` is the state in memory. Nobody else changes it; a copy of it is not needed, another replay has its own.
    `position` is that of the last event that was applied, 0 before the first.
    """

    def __init__(self, events: Iterable[Recorded], partition: int = 0) -> None:
        self.exchange = Exchange(partition)
        self.position = 0
        self._events = iter(events)
        self._next: Recorded | None = None

    @property
    def time(self) -> Time:
        """The time of the last event, in microseconds since 1970; 0 before the first."""
        return self.exchange.time

    def peek(self) -> Recorded | None:
        """Return the event that comes next, without applying it; None at the end."""
        if self._next is None:
            self._next = next(self._events, None)
        return self._next

    def __iter__(self) -> Replayed:
        return self

    def __next__(self) -> Recorded:
        """Apply the next event and return it. Raises UnreadableEventError."""
        recorded = self.peek()
        if recorded is None:
            raise StopIteration
        if isinstance(recorded.event, UnreadableEvent):
            raise UnreadableEventError(f"position {recorded.position}: {recorded.event.error}")
        self._next = None
        self.exchange.apply(
            recorded.event,
            stream=recorded.stream,
            version=recorded.version,
            time=recorded.time,
            command_id=recorded.command_id,
        )
        self.position = recorded.position
        return recorded

    def step_to(
        self,
        *,
        position: int | None = None,
        time: Time | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Replayed:
        """Apply all events at or before this position and time that were not applied yet, and return this object.

        `progress` is told a position from time to time. Raises UnreadableEventError.
        """
        while (recorded := self.peek()) is not None:
            if (position is not None and recorded.position > position) or (time is not None and recorded.time > time):
                break
            next(self)
            if progress is not None and recorded.position % PROGRESS_EVENTS == 0:
                progress(recorded.position)
        return self
