"""For those who ask the read models: one snapshot of several of them, now or as of then."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, errors

from projections import timeline
from projections.machine.projection import folded


class NotYetProjected(Exception):  # noqa: N818  named for what a caller has to tell
    """A read model has not come to the position that was asked for."""

    def __init__(self, position: int, reached: int) -> None:
        super().__init__(f"position {position} is not projected yet, {reached} is")
        self.position = position
        self.reached = reached


class UnknownProjection(LookupError):  # noqa: N818  likewise
    """A read model has never been folded here."""


@dataclass(frozen=True, slots=True)
class AsOf:
    """The place in the log that an answer stands for; `past` where the current rows may be newer than that."""

    position: int
    time: int
    past: bool


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """How far a read model is. `updated_at` is the clock of the database when it last moved, `parked` counts events."""

    projection: str
    partition: int
    position: int
    time: int
    version: int
    updated_at: int
    parked: int


@contextmanager
def read(
    connection: Connection, *names: str, at: int | None = None, time: int | None = None, partition: int = 0
) -> Iterator[AsOf]:
    """Hold one snapshot of the named read models for the queries inside, and say which position it stands for.

    The position is the last one that all of them have folded or, for the past, the one asked for by position or time.

    Raises:
        NotYetProjected: `at` is ahead of one of them.
        UnknownProjection: one of them has never been folded.
    """
    with connection.transaction():
        wanted = folded(names) | ({"timeline"} if at is not None or time is not None else set())
        try:
            hold_snapshot(connection)
            rows = connection.execute(
                "SELECT projection, position, time FROM projection_positions WHERE projection = ANY(%s) AND partition = %s",
                [list(wanted), partition],
                prepare=True,
            ).fetchall()
        except errors.UndefinedTable:
            rows = []
        if missing := wanted - {row[0] for row in rows}:
            raise UnknownProjection(f"not projected yet: {', '.join(sorted(missing))}")
        reached, reached_time = min((row[1], row[2]) for row in rows)
        if at is None and time is not None:
            at = min(timeline.position_at(connection, time, partition), reached)
        if at is None:
            yield AsOf(reached, reached_time, past=any(row[1] != reached for row in rows))
            return
        if at > reached:
            raise NotYetProjected(at, reached)
        yield AsOf(at, timeline.time_of(connection, at, partition), past=True)


def hold_snapshot(connection: Connection) -> None:
    """Make the transaction that has just begun see one moment of all read models.

    The lock comes before the snapshot: a rebuild that exchanges tables holds it in the other mode, so that nobody can see
    its tables with a snapshot that is older than their rows.
    """
    connection.execute(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; LOCK TABLE projection_tables IN ACCESS SHARE MODE"
    )


def projection_status(connection: Connection) -> list[ProjectionStatus]:
    """Return how far every read model is, by name and partition."""
    rows = connection.execute(
        "SELECT p.projection, p.partition, p.position, p.time, p.version, p.updated_at, "
        "(SELECT count(*) FROM projection_parked k WHERE k.projection = p.projection AND k.partition = p.partition) "
        "FROM projection_positions p ORDER BY p.projection, p.partition"
    ).fetchall()
    return [ProjectionStatus(*row) for row in rows]


class Conditions:
    """The WHERE of a query, as it comes together: texts with placeholders and their values."""

    def __init__(self, first: str, *values: Any) -> None:
        self.parts = [first]
        self.values: list[Any] = list(values)

    def add(self, condition: str, *values: Any) -> None:
        """Ask for one more condition."""
        self.parts.append(condition)
        self.values += values

    def add_if(self, condition: str, value: Any) -> None:
        """Ask for a condition if its value is not None."""
        if value is not None:
            self.add(condition, value)

    def after(self, columns: str, key: Sequence[Any] | None) -> None:
        """Go on behind the row with this key, in descending order of the columns."""
        if key is not None:
            self.add(f"({columns}) < ({', '.join(['%s'] * len(key))})", *key)

    @property
    def sql(self) -> str:
        """The clause, with `WHERE`."""
        return f"WHERE {' AND '.join(self.parts)}"
