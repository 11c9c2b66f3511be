"""One partition's state in this process, folded from the log, and the files beside the log: snapshots, command index.

A standby's replica follows the log. An engine takes over the log with its replica, and from then on decides on the
replica's state. That state may be ahead of the log, so after any doubt it is dropped and made again.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from consumers.engine.command_index import DiskCommandIndex, MemoryCommandIndex
from consumers.engine.known_log import KnownLog, lost_if_stale
from consumers.engine.log import Checkpoint, InDoubt, Log, LogError
from consumers.engine.recorded_replies import RecordedReplies
from consumers.engine.replay import Replay
from consumers.engine.snapshots import EngineFolder, Snapshot
from messages.replies import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from domain.exchange import Exchange
    from domain.partition import SnapshotWritten

_logger: Final = structlog.get_logger()

SNAPSHOT_EVENTS: Final = 100_000
"""The number of events after which a snapshot is due: a start folds hardly more."""

SNAPSHOT_SECONDS: Final = 10.0
"""The shortest time from one snapshot to the next."""

PROOF_SECONDS: Final = 10.0
"""The time without news after which a standby expects no more that the log has the hash of its snapshot."""

SNAPSHOT_REPLIES: Final = 1_000
"""The number of last replies in a snapshot, to be sent again."""


class Replica:
    """The state of one partition, and the reply to every command in it.

    Args:
        log: the log that is folded.
        partition: the partition's number.
        base: where snapshots and the command index are kept. Without it the whole log is folded at each start, and the
            index is in memory.
    """

    def __init__(self, log: Log, partition: int, base: "Path | None") -> None:
        self._log = log
        self._partition = partition
        self._base = base
        self._folder: EngineFolder | None = None
        self._is_as_the_log = False
        self._grew_at = 0.0
        self._snapshot_position = 0
        self._snapshot_at = 0.0
        self._snapshot_began = 0.0
        self.known_log = KnownLog(base, log.place)
        self.replies = RecordedReplies(log, MemoryCommandIndex())
        self._replay = Replay(partition, self.replies.index)

    @property
    def exchange(self) -> "Exchange":
        """The state."""
        return self._replay.exchange

    @property
    def folded_checkpoint(self) -> Checkpoint:
        """The checkpoint after the last event that was folded. What this engine appends later moves only `Log.checkpoint`."""
        return self._replay.checkpoint

    @property
    def next_offsets(self) -> dict[str, int]:
        """Name of a command source -> the offset up to which it is read. Whoever decides on the state updates it."""
        return self._replay.next_offsets

    def prepare(self) -> None:
        """Begin with the newest snapshot, or with nothing, unless the state in memory is that of the log.

        Raises LogLost when the log is another one than before, or does not hold what it once confirmed.
        """
        if self._is_as_the_log:
            return
        self.known_log.check(self._log)
        if self._base is not None and self._folder is None:
            self._open_folder(self._base)
        snapshot = self._folder.newest() if self._folder is not None else None
        self._replay = Replay(self._partition, self.replies.index, snapshot)
        self.replies.forget()
        self._log.checkpoints = snapshot.checkpoints if snapshot else []
        self._snapshot_position = snapshot.checkpoint.position if snapshot else 0
        self._snapshot_began = monotonic() if snapshot else 0.0
        self._is_as_the_log = True

    def _open_folder(self, base: "Path") -> None:
        """Open the files. If the disk has no room even for the folder, go on without."""
        identity = self._log.identity()
        try:
            self._folder = EngineFolder(base, identity)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            self._base = None
            _logger.warning("engine_folder_left_out", folder=str(base), reason=str(error))
        else:
            self.replies.index = DiskCommandIndex(self._folder.path, identity)

    def drop(self) -> None:
        """Have the next `prepare` begin anew: the state in memory may differ from that of the log."""
        self._is_as_the_log = False

    def follow(self, timeout_seconds: float) -> bool:
        """Fold the new events of the log, waiting for them if there are none yet; return whether any have come."""
        before = self._replay.checkpoint
        with self._snapshot_on_trial(), lost_if_stale():
            self._log.follow(self._replay.handle, before, timeout_seconds)
        if self._replay.checkpoint != before:
            self._grew_at = monotonic()
            return True
        if not self._replay.is_proven and monotonic() > self._grew_at + PROOF_SECONDS:
            self._throw_away_snapshot()
            self.prepare()
        return False

    @contextmanager
    def _snapshot_on_trial(self) -> Iterator[None]:
        """Throw the snapshot away if the log cannot be folded into it, unless the log has its hash. Raises InDoubt then."""
        try:
            yield
        except LogError:
            raise
        except Exception as error:
            if self._replay.is_proven:
                raise
            self._throw_away_snapshot()
            raise InDoubt(f"the log does not fit the snapshot: {type(error).__name__}: {error}") from error

    def _throw_away_snapshot(self) -> None:
        assert self._folder is not None, "it came from there"
        self._folder.throw_away("the log does not have its hash")
        self.drop()

    def take_over(self) -> list[Reply]:
        """Claim the log and fold all of it; return the last replies, which may not have reached anybody.

        From then on the caller may decide on the state. Raises LogLost, Fenced or InDoubt.
        """
        while True:
            self.prepare()
            with self._snapshot_on_trial(), lost_if_stale():
                self._log.take_over(self._replay.handle, self._replay.checkpoint)
                # If the claim was lost, the state is still right.
                self.drop()
                self._replay.check_end()
            if self._replay.is_proven:
                break
            self._throw_away_snapshot()
        if self._replay.proof_position == self._snapshot_position + 1:  # nothing else has happened since
            self._snapshot_position = self._replay.proof_position + 1
        self.known_log.note(self._replay.checkpoint)
        replies = self._replay.last_replies()
        unfinished = set(self.exchange.unfinished.values())
        for reply in replies:
            if reply.command_id not in unfinished:
                self.replies.remember(reply)
        return replies

    # --- snapshots

    def is_snapshot_due(self, position: int) -> bool:
        """Return whether it is time for a snapshot at this position."""
        return (
            self._folder is not None
            and position >= self._snapshot_position + SNAPSHOT_EVENTS
            and monotonic() >= self._snapshot_at
            and not self._folder.writing()
        )

    def take_written(self) -> "SnapshotWritten | None":
        """Return what to append of a snapshot that was written since this was asked last. Without it, it never counts."""
        return self._folder.take_written() if self._folder is not None else None

    def snapshot_age(self) -> float | None:
        """Return the seconds since a snapshot was begun or read; None if none was, or none is kept."""
        return monotonic() - self._snapshot_began if self._snapshot_began else None

    def save(self) -> None:
        """Begin to write a snapshot. It must be due, and all that was decided must be in the log."""
        assert self._folder is not None, "one is due only where it can be kept"
        self._folder.write_apart(self._snapshot())
        checkpoint = self._log.checkpoint
        self.known_log.note(checkpoint)
        self._snapshot_began = monotonic()
        self._snapshot_position, self._snapshot_at = checkpoint.position, self._snapshot_began + SNAPSHOT_SECONDS

    def save_last(self, position: int) -> None:
        """Write a snapshot at a clean end, so that the next start is quick. `take_written` has what to append then."""
        if self._folder is not None and position > self._snapshot_position and not self._folder.writing(wait=True):
            self._folder.write_last(self._snapshot())

    def _snapshot(self) -> Snapshot:
        replies = self.replies.recent(SNAPSHOT_REPLIES)
        return Snapshot(self.exchange, self._log.checkpoint, self.next_offsets, replies, self._log.checkpoints)

    def close(self) -> None:
        """Close the files."""
        self.replies.index.close()
        self.known_log.close()
        if self._folder is not None:
            self._folder.close()
