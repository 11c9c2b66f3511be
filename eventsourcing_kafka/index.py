"""The index of the log: a local SQLite file, written in one transaction with the checkpoint up to which it is complete.

It holds no events, only where to find them: one row for each batch (position -> offset), and one row for each run of
versions that an aggregate has in a batch (aggregate -> batches). It may be deleted at any time: an index that is absent,
damaged, or of another topic is rebuilt from the log. Several processes may share the file; each advances it in one
transaction, from the checkpoint in the file.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eventsourcing.persistence import OperationalError

from eventsourcing_kafka.protocol import Batch, Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BatchLocation", "Damaged", "Index", "Run"]

FORMAT = 1
"""The version of the layout below. A file with another one is rebuilt."""

_SCHEMA = """
CREATE TABLE log (
    format INTEGER NOT NULL, identity TEXT NOT NULL,
    "offset" INTEGER NOT NULL, epoch INTEGER NOT NULL, writer TEXT NOT NULL, next INTEGER NOT NULL
);
CREATE TABLE batch (
    first INTEGER PRIMARY KEY, "offset" INTEGER NOT NULL, count INTEGER NOT NULL, epoch INTEGER NOT NULL
);
CREATE TABLE writer (epoch INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE aggregate (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE run (
    aggregate INTEGER NOT NULL, low INTEGER NOT NULL, first INTEGER NOT NULL, high INTEGER NOT NULL,
    PRIMARY KEY (aggregate, low, first)
) WITHOUT ROWID;
"""

_TABLES = {"log", "batch", "writer", "aggregate", "run"}


class Damaged(Exception):  # noqa: N818  # as in errors.py
    """The file does not hold what it should. Delete it and read the log again."""


class BatchLocation(NamedTuple):
    """The place of a batch in the log."""

    first: int
    """The position of its first event."""
    offset: int
    epoch: int
    writer: str | None
    """None in a damaged file."""
    events: int
    """The number of its events."""


class Run(NamedTuple):
    """Consecutive versions of one aggregate within one batch."""

    low: int
    high: int
    first: int
    """The position of the first event of their batch."""
    offset: int
    epoch: int
    writer: str | None


class Index:
    """The index of one log. Not safe for threads: its owner holds a lock."""

    def __init__(self, path: str, identity: str) -> None:
        """Open the file. If it is not an index of the log with this identity, replace it by an empty one.

        Args:
            path: the file; "" for a temporary one that is deleted when it is closed.
            identity: the unique id of the topic, and the partition. A topic that is recreated gets another id.
        """
        self._path = path
        self._identity = identity
        self._numbers: dict[str, int] = {}
        try:
            self._open()
        except Damaged:
            self.clear()

    def clear(self) -> None:
        """Delete everything, and begin with an empty index."""
        self.close()
        if self._path:
            for suffix in ("", "-wal", "-shm"):
                Path(self._path + suffix).unlink(missing_ok=True)
        self._open()

    def close(self) -> None:
        """Close the file."""
        self._numbers.clear()
        self._db.close()

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint to continue reading from: everything before it is indexed."""
        with self._checked():
            row = self._db.execute('SELECT "offset", epoch, writer, next FROM log').fetchone()
            return Checkpoint(*row)

    def advance(self, before: Checkpoint, batches: Sequence[Batch], after: Checkpoint) -> bool:
        """Add the batches between two checkpoints, all or none.

        Returns:
            Whether they were added; False if the index is not at ``before`` because another process has advanced it.
        """
        with self._transaction():
            if self.checkpoint.offset != before.offset:
                return False
            self._db.execute('UPDATE log SET "offset" = ?, epoch = ?, writer = ?, next = ?', after)
            self._db.executemany(
                "INSERT INTO batch VALUES (?, ?, ?, ?)", [(b.first, b.offset, len(b.events), b.epoch) for b in batches]
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO writer VALUES (?, ?)", {b.epoch: b.writer for b in batches}.items()
            )
            self._db.executemany("INSERT OR IGNORE INTO run VALUES (?, ?, ?, ?)", self._runs_of(batches))
        return True

    def last(self) -> BatchLocation | None:
        """Return where the last batch is, or None if there is none."""
        with self._checked():
            row = self._db.execute(
                'SELECT first, "offset", epoch, name, count FROM batch LEFT JOIN writer USING (epoch)'
                " ORDER BY first DESC LIMIT 1"
            ).fetchone()
        return BatchLocation(*row) if row else None

    def locations(self, position: int, limit: int) -> list[BatchLocation]:
        """Return where the batch of this position and the batches after it are, at most ``limit`` of them."""
        with self._checked():
            rows = self._db.execute(
                'SELECT first, "offset", epoch, name, count FROM batch LEFT JOIN writer USING (epoch) WHERE first >='
                " coalesce((SELECT max(first) FROM batch WHERE first <= ?), 0) ORDER BY first LIMIT ?",
                (position, limit),
            ).fetchall()
        return [found for found in map(BatchLocation._make, rows) if found.first + found.events > position]

    def checkpoint_at(self, position: int) -> Checkpoint:
        """Return the last known checkpoint from which a reader finds this position and all after it."""
        with self._checked():
            row = self._db.execute(
                'SELECT "offset", batch.epoch, name, first FROM batch JOIN writer USING (epoch)'
                " WHERE first = (SELECT max(first) FROM batch WHERE first <= ?)",
                (position,),
            ).fetchone()
        at = self.checkpoint
        return at if position >= at.next else Checkpoint(*row) if row else Checkpoint()

    def runs(
        self, name: str, *, gt: int | None = None, lte: int | None = None, desc: bool = False, limit: int = -1
    ) -> list[Run]:
        """Return the runs of an aggregate that have a version within the bounds, in order of version."""
        with self._checked():
            rows = self._db.execute(
                'SELECT low, high, run.first, "offset", epoch, writer.name FROM run'
                " JOIN batch ON batch.first = run.first LEFT JOIN writer USING (epoch)"
                " WHERE aggregate = (SELECT number FROM aggregate WHERE name = ?)"
                f" AND low <= ? AND high > ? ORDER BY low {'DESC' if desc else 'ASC'} LIMIT ?",
                (name, _MAX if lte is None else lte, -_MAX if gt is None else gt, limit),
            ).fetchall()
        return [Run._make(row) for row in rows]

    def holds(self, name: str, version: int) -> bool:
        """Tell whether the aggregate has an event of this version.

        This looks at one run only: runs of an aggregate do not overlap if its versions are checked on every insert.
        """
        runs = self.runs(name, lte=version, desc=True, limit=1)
        return bool(runs) and runs[0].high >= version

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            with self._checked():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.execute("PRAGMA cache_size = -16384")  # KiB
                with self._transaction():
                    tables = {
                        name for (name,) in self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
                    }
                    if not tables:
                        for statement in _SCHEMA.split(";"):
                            self._db.execute(statement)
                    elif tables != _TABLES:
                        raise Damaged(f"It has the tables {sorted(tables)}")  # noqa: TRY301
                    row = self._db.execute("SELECT format, identity FROM log").fetchone()
                    if row is None:
                        self._db.execute(
                            "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", (FORMAT, self._identity, *Checkpoint())
                        )
                    elif row != (FORMAT, self._identity):
                        raise Damaged(f"An index of {row}, not of {self._identity}")  # noqa: TRY301
        except BaseException:
            self._db.close()
            raise

    def _runs_of(self, batches: Sequence[Batch]) -> Iterator[tuple[int, int, int, int]]:
        for batch in batches:
            versions: dict[str, list[int]] = {}
            for name, version, _, _ in batch.events:
                versions.setdefault(name, []).append(version)
            for name, found in versions.items():
                number = self._number(name)
                found.sort()
                low = high = found[0]
                for version in found[1:]:
                    if version > high + 1:
                        yield number, low, batch.first, high
                        low = version
                    high = version
                yield number, low, batch.first, high

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            self._db.execute("INSERT OR IGNORE INTO aggregate (name) VALUES (?)", (name,))
            number = int(self._db.execute("SELECT number FROM aggregate WHERE name = ?", (name,)).fetchone()[0])
            if len(self._numbers) >= _NUMBERS_MAX:
                self._numbers.clear()
            self._numbers[name] = number
        return number

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._checked():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._numbers.clear()  # the numbers given in this transaction are rolled back
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such" in str(error):  # a table or column is missing: not our file
                raise Damaged(str(error)) from error
            raise OperationalError(f"Index {self._path}: {error}") from error
        except (sqlite3.DatabaseError, TypeError) as error:  # TypeError: a row is missing
            raise Damaged(str(error)) from error


_MAX = 2**63 - 1
_NUMBERS_MAX = 100_000
