"""Scratch schemas: read models of a world that was never live, folded beside the live ones and dropped afterwards.

One program at a time has them. The lock belongs to its connection, so it is free again whatever becomes of the program; what a
killed one has left behind is dropped by the next one.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from queue import Queue
from typing import TYPE_CHECKING, Any, Final

import msgspec
import psycopg
from psycopg import sql

from analysis.world_fold import FoldBatch, FoldedWorld, WorldFold, stored_row
from messages.frames import read_frame, widen_pipe, write_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from domain.events import Recorded

PREFIX: Final = "whatif_"
"""The beginning of the schemas' names. No other schema has it."""

BATCH_EVENTS: Final = 10_000
"""The number of events that are folded together."""

BATCHES_WAITING: Final = 2
"""The most batches that wait to be folded: then whoever makes events waits."""


class ScratchBusyError(Exception):
    """Another program has the scratch schemas."""


class FoldError(RuntimeError):
    """The process that folds a world was ended, has lost the database, or has failed; then the message is its traceback."""


@contextmanager
def scratch_schemas(dsn: str, *names: str) -> Iterator[list[str]]:
    """Yield empty schemas of these names, each with the prefix; they are dropped at the end of the block.

    Raises ScratchBusyError.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"tidings {PREFIX}"]
        ).fetchone()
        if not row or not row[0]:
            raise ScratchBusyError("another what-if or backtest is at work on this database; wait for it, or end it")
        drop_scratch(connection)
        try:
            yield [PREFIX + name for name in names]
        finally:
            drop_scratch(connection)


def drop_scratch(connection: psycopg.Connection[Any]) -> None:
    """Drop all scratch schemas."""
    found = connection.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", [PREFIX]).fetchall()
    for (name,) in found:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


class ScratchFold:
    """Folds events into the read models of a schema. A long world is folded by a process of its own, beside this one.

    A fold that is `whole` has all read models, and a log of the events: what an export reads.
    """

    def __init__(self, dsn: str, schema: str, partition: int = 0, *, whole: bool = False) -> None:
        self.folded = 0
        """The number of events that were added."""
        self._world = FoldedWorld(dsn, schema, partition, whole)
        self._batch = FoldBatch([], [])
        self._beside: _FoldProcess | None = None

    def add(self, recorded: Recorded) -> None:
        """Take the next event. Raises FoldError."""
        self.folded += 1
        self._batch.events.append(stored_row(recorded))
        if len(self._batch.events) >= BATCH_EVENTS:
            self._beside = self._beside or _FoldProcess(self._world)
            self._beside.hand_over(self._batch)
            self._batch = FoldBatch([], [])

    def add_refused(self, order_id: str, code: str) -> None:
        """Take an order that was refused."""
        self._batch.refused.append((order_id, code))

    def finish(self) -> None:
        """Fold what is left, make a whole fold's indexes for readers, and end. Raises FoldError."""
        if self._beside is not None:
            self._beside.hand_over(self._batch)
            self._beside.finish()
            return
        with WorldFold(self._world) as fold:
            fold.fold(self._batch)
            fold.finish()

    def close(self) -> None:
        """End at once. May be called again."""
        if self._beside is not None:
            self._beside.close()


class _FoldProcess:
    """A process that folds, and the thread that hands batches to it, so that whoever makes events need not wait for each."""

    def __init__(self, world: FoldedWorld) -> None:
        self._batches: Queue[bytes | None] = Queue(BATCHES_WAITING)
        self._is_broken = False
        # Its own group, so that Ctrl-C ends the comparison, which ends it. -P: the current folder is the user's, and may have
        # modules of our names.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "analysis.fold_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        assert self._process.stdin is not None, "it is a pipe"
        widen_pipe(self._process.stdin)
        self._batches.put(msgspec.msgpack.encode(world))
        self._thread = threading.Thread(target=self._write, name=f"fold-{world.schema}", daemon=True)
        self._thread.start()

    def hand_over(self, batch: FoldBatch) -> None:
        """Let it fold a batch. Raises FoldError where it has failed."""
        if self._is_broken:
            self._raise()
        self._batches.put(msgspec.msgpack.encode(batch))

    def finish(self) -> None:
        """Wait for its end. Raises FoldError."""
        self._batches.put(b"")
        self._stop_writing()
        self._raise()
        self.close()

    def close(self) -> None:
        """End it at once."""
        self._process.kill()
        self._stop_writing()
        with suppress(BrokenPipeError):
            self._process.communicate()

    def _stop_writing(self) -> None:
        if self._thread.is_alive():
            self._batches.put(None)
            self._thread.join()

    def _write(self) -> None:
        assert self._process.stdin is not None, "it is a pipe"
        while (content := self._batches.get()) is not None:
            if not self._is_broken:
                try:
                    write_frame(self._process.stdin, content)
                except BrokenPipeError:
                    self._is_broken = True

    def _raise(self) -> None:
        """Raise what it has failed with, once it has ended or says so; return if it says that all is done."""
        assert self._process.stdout is not None, "it is a pipe"
        answer = read_frame(self._process.stdout)
        if answer is None:
            raise FoldError(f"the process that folds a world ended with {self._process.wait()}")
        if answer:
            raise FoldError(answer.decode())
