"""The index of the log: a local SQLite file, written in one transaction with the checkpoint up to which it is complete.

It holds no events, only where to find them: one row for each batch (position -> offset), and one row for each run of
versions that an aggregate has in a batch (aggregate -> batches). For each application that a process application follows it
has the last tracking, and where in the log that is. It may be deleted at any time: an index that is absent,
damaged, or of another topic is rebuilt from the log. Several processes may share the file; each advances it in one
transaction, from the checkpoint in the file.

SQLite notices damage of its structure, not of values. So the row with the checkpoint has a checksum, which is compared
whenever it is read, and the sum of the checksums of all other rows. Whoever asks for batches by position compares them with
the log. What is asked by aggregate cannot be compared: a row that is missing is not missed. So before the first such answer
of a process, all rows are summed up: half a second for each million. Each table is one tree, so that this sees all that
a search sees.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from crc32c import crc32c

from eventsourcing_kafka.index_layout import FORMAT, SCHEMA, SUM, name_check, row_check
from eventsourcing_kafka.library import OperationalError, names_of
from eventsourcing_kafka.protocol import Batch, Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BatchLocation", "Damaged", "Index", "Run", "TrackingLocation"]

_logger = getLogger(__name__)

_NOT_DAMAGE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
"""Errors of SQLite that say nothing about the file's content."""


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


class TrackingLocation(NamedTuple):
    """The last tracking of one application."""

    position: int
    """The position, in that application, of the last event that was processed."""
    offset: int
    """Where the log says so."""
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
        self._epochs: set[int] = set()
        self._summed_up = False
        try:
            self._open()
        except Damaged as error:
            _logger.warning("Index %s is built again from the log: %s", path, error)
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
        self._forget()
        self._summed_up = False
        self._db.close()

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint to continue reading from: everything before it is indexed."""
        return self._state()[0]

    def advance(self, before: Checkpoint, batches: Sequence[Batch], after: Checkpoint) -> bool:
        """Add the batches between two checkpoints, all or none.

        Returns:
            Whether they were added; False if the index is not at ``before`` because another process has advanced it.
        """
        with self._transaction():
            at, aggregates, total = self._state()
            if at.offset != before.offset:
                return False
            located = [(b.first, b.offset, len(b.events), b.epoch) for b in batches if b.events]
            self._db.executemany("INSERT INTO batch VALUES (?, ?, ?, ?)", located)
            total += sum([row_check(1, *row) for row in located])
            for epoch, name in {b.epoch: b.writer for b in batches}.items():
                if self._is_new(epoch):
                    self._db.execute("INSERT INTO writer VALUES (?, ?)", (epoch, name))
                    total += name_check(3, name.encode(), epoch)
            numbers: dict[str, int] = {}
            for name in {name for batch in batches for name, *_ in batch.events}:
                number = self._number(name)
                if number is None:
                    number = aggregates = aggregates + 1
                    self._db.execute("INSERT INTO aggregate VALUES (?, ?)", (name, number))
                    total += name_check(4, name.encode(), number)
                numbers[name] = number
            runs = list(_runs_of(batches, numbers))
            self._db.executemany("INSERT INTO run VALUES (?, ?, ?, ?)", runs)
            total += sum([row_check(2, *row) for row in runs])
            total += sum([self._track(name, *at) for name, at in _tracked_by(batches).items()])
            self._write_state(after, aggregates, total)
        return True

    def last(self) -> BatchLocation | None:
        """Return where the last batch is, or None if there is none. Raises Damaged: the checkpoint is not right after it."""
        with self._transaction("BEGIN"):  # both of one moment
            end = self.checkpoint.next
            row = self._db.execute(
                'SELECT first, "offset", epoch, name, count FROM batch LEFT JOIN writer USING (epoch)'
                " ORDER BY first DESC LIMIT 1"
            ).fetchone()
            last = BatchLocation(*row) if row else None
            if end != (last.first + last.events if last else 1):
                raise Damaged(f"its last batch is {last}, but its checkpoint says {end}")
        return last

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
        self._sum_up()
        runs: list[Run] = []
        with self._checked():
            for text in dict.fromkeys(names_of(name)):
                rows = self._db.execute(
                    'SELECT low, high, run.first, "offset", epoch, writer.name FROM run'
                    " JOIN batch ON batch.first = run.first LEFT JOIN writer USING (epoch)"
                    " WHERE aggregate = (SELECT number FROM aggregate WHERE name = ?)"
                    f" AND low <= ? AND high > ? ORDER BY low {'DESC' if desc else 'ASC'} LIMIT ?",
                    (text, _MAX if lte is None else lte, -_MAX if gt is None else gt, limit),
                ).fetchall()
                runs += map(Run._make, rows)
        runs.sort(key=lambda run: run.low, reverse=desc)  # in order already, unless there are two names
        return runs[:limit] if limit >= 0 else runs

    def holds(self, name: str, version: int) -> bool:
        """Tell whether the aggregate has an event of this version.

        This looks at one run only: runs of an aggregate do not overlap if its versions are checked on every insert.
        """
        runs = self.runs(name, lte=version, desc=True, limit=1)
        return bool(runs) and runs[0].high >= version

    def tracked(self, name: str) -> TrackingLocation | None:
        """Return the last tracking of an application, or None if there is none."""
        self._sum_up()
        with self._checked():
            row = self._db.execute(
                'SELECT position, "offset", epoch, writer.name FROM tracking LEFT JOIN writer USING (epoch)'
                " WHERE tracking.name = ?",
                (name,),
            ).fetchone()
        return TrackingLocation(*row) if row else None

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.create_function("row_check", 5, row_check, deterministic=True)
        self._db.create_function("name_check", -1, name_check, deterministic=True)
        try:
            with self._checked():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.execute("PRAGMA cache_size = -16384")  # KiB
            with self._transaction():
                schema = dict(self._db.execute("SELECT name, sql FROM sqlite_schema"))
                if not schema:
                    for statement in SCHEMA.values():
                        self._db.execute(statement)
                    self._write_state(Checkpoint(), 0, 0)
                elif schema != SCHEMA:
                    raise Damaged(f"it has other tables: {sorted(map(str, schema))}")  # noqa: TRY301
                self._state()
        except BaseException:
            self._db.close()
            raise

    def _state(self) -> tuple[Checkpoint, int, int]:
        """Return the checkpoint, the number of aggregates and the sum of the rows' checks."""
        with self._checked():
            rows = self._db.execute("SELECT * FROM log").fetchall()
        if len(rows) != 1:
            raise Damaged(f"it has {len(rows)} checkpoints")
        *values, check = rows[0]
        if check != crc32c(repr(values).encode()):
            raise Damaged("the checksum of the checkpoint is wrong")
        version, identity, offset, epoch, writer, after, aggregates, total = values
        if (version, identity) != (FORMAT, self._identity):
            raise Damaged(f"it is an index of {identity} in format {version}")
        return Checkpoint(offset, epoch, writer, after), aggregates, total

    def _write_state(self, checkpoint: Checkpoint, aggregates: int, total: int) -> None:
        values = [FORMAT, self._identity, *checkpoint, aggregates, total]
        self._db.execute("DELETE FROM log")
        self._db.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, crc32c(repr(values).encode())))

    def _sum_up(self) -> None:
        """Compare all rows with their sum, once. Raises Damaged."""
        if self._summed_up:
            return
        with self._transaction("BEGIN"):  # all of one moment
            *_, total = self._state()
            (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise Damaged(found)
            (found,) = self._db.execute(SUM).fetchone()
            if found != total:
                raise Damaged("the checksums of its rows do not add up")
        self._summed_up = True

    def _track(self, name: str, position: int, offset: int, epoch: int) -> int:
        """Store a tracking if it is above the last one. Return by how much this changes the sum of the checks."""
        row = self._db.execute('SELECT position, "offset", epoch FROM tracking WHERE name = ?', (name,)).fetchone()
        if row is not None and row[0] >= position:
            return 0
        self._db.execute("REPLACE INTO tracking VALUES (?, ?, ?, ?)", (name, position, offset, epoch))
        before = 0 if row is None else name_check(5, name.encode(), *row)
        return name_check(5, name.encode(), position, offset, epoch) - before

    def _number(self, name: str) -> int | None:
        number = self._numbers.get(name)
        if number is None:
            row = self._db.execute("SELECT number FROM aggregate WHERE name = ?", (name,)).fetchone()
            if row is None:
                return None
            if len(self._numbers) >= _NUMBERS_MAX:
                self._numbers.clear()
            self._numbers[name] = number = int(row[0])
        return number

    def _is_new(self, epoch: int) -> bool:
        if epoch in self._epochs:
            return False
        self._epochs.add(epoch)
        return self._db.execute("SELECT 1 FROM writer WHERE epoch = ?", (epoch,)).fetchone() is None

    def _forget(self) -> None:
        self._numbers.clear()
        self._epochs.clear()

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        with self._checked():
            self._db.execute(begin)
            try:
                yield
            except BaseException:
                self._forget()  # what was added in this transaction is rolled back
                if self._db.in_transaction:  # SQLite rolls back by itself when the disk is full
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            if self._is_damage(error):
                raise Damaged(str(error)) from error
            raise OperationalError(f"Index {self._path}: {error}") from error

    def _is_damage(self, error: Exception) -> bool:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # else a value is missing, or is no text
        if code & 0xFF == sqlite3.SQLITE_READONLY:
            return os.access(self._path, os.W_OK)  # so its header says, but not the file system
        return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _NOT_DAMAGE


def _runs_of(batches: Sequence[Batch], numbers: dict[str, int]) -> Iterator[tuple[int, int, int, int]]:
    for batch in batches:
        versions: dict[str, list[int]] = {}
        for name, version, *_ in batch.events:
            versions.setdefault(name, []).append(version)
        for name, found in versions.items():
            number = numbers[name]
            found.sort()
            low = high = found[0]
            for version in found[1:]:
                if version > high + 1:
                    yield number, low, batch.first, high
                    low = version
                high = version
            yield number, low, batch.first, high


def _tracked_by(batches: Sequence[Batch]) -> dict[str, tuple[int, int, int]]:
    """Return the highest position of each application that these batches track, with the batch's offset and epoch."""
    found: dict[str, tuple[int, int, int]] = {}
    for batch in batches:
        for name, position in (batch.tracking or {}).items():
            if name not in found or found[name][0] < position:
                found[name] = position, batch.offset, batch.epoch
    return found


_MAX = 2**63 - 1
_NUMBERS_MAX = 100_000
