"""One partition's state in this process, folded from the log, with the files beside it: snapshots and the command index.

A standby's replica follows the log. An engine takes the log over with it and from then on decides on its state; that may
be ahead of the log, so after any doubt it is dropped and made again.
"""

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from consumers.engine.command_index import CommandIndex
from consumers.engine.log import Checkpoint, Log
from consumers.engine.recorded_replies import MemoryIndex, Outcomes
from consumers.engine.replay import Fold
from consumers.engine.snapshots import EngineFolder, Snapshot
from messages.replies import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from domain.exchange import Exchange

SNAPSHOT_EVENTS: Final = 100_000
"""After so many events a snapshot is due: a start folds hardly more."""

SNAPSHOT_SECONDS: Final = 10.0
"""The least time from one snapshot to the next."""

OUTCOMES_KEPT: Final = 1_000
"""So many of the last outcomes go into a snapshot, to be told again."""


class Replica:
    """The state of one partition, and the outcome of every command in it.

    Args:
        log: where it comes from.
        partition: the partition's number.
        base: where snapshots and the command index are kept; none: all is folded at each start, and the index is in memory.
    """

    def __init__(self, log: Log, partition: int, base: "Path | None") -> None:
        self._log = log
        self._partition = partition
        self._base = base
        self._folder: EngineFolder | None = None
        self._folds_on = False
        self._snapshot_position = 0
        self._snapshot_at = 0.0
        self.outcomes = Outcomes(log, MemoryIndex())
        self._fold = Fold(partition, self.outcomes.index)

    @property
    def exchange(self) -> "Exchange":
        """The state."""
        return self._fold.exchange

    @property
    def place(self) -> Checkpoint:
        """How far the log is folded; an engine that has taken over knows better (`Log.place`)."""
        return self._fold.place

    @property
    def sources(self) -> dict[str, int]:
        """By name of a source: up to where its commands are read. Who decides on the state keeps it up to date."""
        return self._fold.sources

    def prepare(self) -> None:
        """Begin with the newest snapshot, or with nothing, unless what is in memory is what the log tells."""
        if self._folds_on:
            return
        if self._base is not None and self._folder is None:
            self._folder = EngineFolder(self._base, self._log.identity())
            self.outcomes.index = CommandIndex(self._folder.path)
        snapshot = self._folder.newest() if self._folder is not None else None
        self._fold = Fold(self._partition, self.outcomes.index, snapshot)
        self.outcomes.forget()
        self._log.marks = snapshot.marks if snapshot else []
        self._snapshot_position = snapshot.place.position if snapshot else 0
        self._folds_on = True

    def drop(self) -> None:
        """Have the next `prepare` begin anew: what is in memory may not be what the log tells."""
        self._folds_on = False

    def forget_files(self) -> None:
        """Throw away what is kept beside the log, because it does not belong to it, and what was made of that."""
        self.drop()
        self.outcomes.index.begin_again()
        if self._folder is not None:
            self._folder.throw_away(0)

    def follow(self, timeout_seconds: float) -> bool:
        """Fold what has come to the log, waiting so long for it; return whether anything has."""
        before = self._fold.place
        self._log.follow(self._fold.apply, before, timeout_seconds)
        return self._fold.place != before

    def take_over(self) -> list[Reply]:
        """Claim the log and fold all of it; return the last outcomes, whose replies may not have reached anybody.

        From then on the caller may decide on the state. Raises StaleCheckpoint, Fenced or InDoubt.
        """
        self.prepare()
        self._log.take_over(self._fold.apply, self._fold.place)  # when the claim is lost, what was folded is true
        self.drop()
        self._fold.check_end()
        outcomes = self._fold.outcomes()
        unfinished = set(self.exchange.unfinished.values())
        for outcome in outcomes:
            if outcome.command_id not in unfinished:
                self.outcomes.remember(outcome)
        return outcomes

    # --- snapshots

    def is_snapshot_due(self, position: int) -> bool:
        """Return whether it is time for one."""
        return (
            self._folder is not None
            and position >= self._snapshot_position + SNAPSHOT_EVENTS
            and monotonic() >= self._snapshot_at
            and not self._folder.writing()
        )

    def save_followed(self) -> None:
        """Begin to write a snapshot of what is folded, if one is due."""
        if self.is_snapshot_due(self.place.position):
            self._write_apart(self.place, self._fold.outcomes)

    def save(self) -> None:
        """Begin to write a snapshot, one being due; all that was decided must be in the log."""
        self._write_apart(self._log.place, lambda: self.outcomes.recent(OUTCOMES_KEPT))

    def save_last(self, position: int) -> None:
        """Write a snapshot at a clean end, so that the next start is quick."""
        if self._folder is not None and position > self._snapshot_position and not self._folder.writing(wait=True):
            with suppress(OSError):  # the log has everything
                self._folder.write(self._snapshot(self._log.place, self.outcomes.recent(OUTCOMES_KEPT)))

    def _write_apart(self, place: Checkpoint, outcomes: Callable[[], list[Reply]]) -> None:
        assert self._folder is not None, "one is due only where it can be kept"
        self._folder.write_apart(self._snapshot(place, outcomes()))
        self._snapshot_position, self._snapshot_at = place.position, monotonic() + SNAPSHOT_SECONDS

    def _snapshot(self, place: Checkpoint, outcomes: list[Reply]) -> Snapshot:
        return Snapshot(self.exchange, place, self.sources, outcomes, self._log.marks)

    def close(self) -> None:
        """Close the files."""
        self.outcomes.index.close()
        if self._folder is not None:
            self._folder.close()
