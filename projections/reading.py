"""Asking the read models: queries that say what they need, and one snapshot of it, now or as of any position."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from psycopg import Connection, Cursor, errors
from psycopg.rows import RowFactory

from projections import timeline
from projections.machine.adapters import WholeNumberLoader

P = ParamSpec("P")
T = TypeVar("T")


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
    """The position that an answer stands for, and its time. `past` is true if the tables may hold later changes.

    `log` is the identity of the log that the read models were folded from; "" if that is not known.
    """

    position: int
    time: int
    past: bool
    log: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """The progress of a read model. `updated_at` is the database's clock when it last moved, `parked` counts parked events."""

    projection: str
    partition: int
    position: int
    time: int
    version: int
    updated_at: int
    parked: int
    log: str
    """The identity of the log that it was folded from; "" if that is not known yet."""


class Query(Generic[P, T]):
    """A question to the read models: a function of a connection, `AsOf` and arguments, and the read models it `needs`.

    It is called like the function, inside a `read` that holds what it needs.
    """

    def __init__(self, function: Callable[Concatenate[Connection[Any], AsOf, P], T], needs: frozenset[str]) -> None:
        update_wrapper(self, function)
        self._function = function
        self.needs = needs

    def __call__(self, connection: Connection[Any], as_of: AsOf, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the answer."""
        return self._function(connection, as_of, *args, **kwargs)


Need = str | Query[..., Any]
"""A read model, or a query that needs some."""


def query(*needs: Need) -> Callable[[Callable[Concatenate[Connection[Any], AsOf, P], T]], Query[P, T]]:
    """Declare the read models that a query needs. Name a read model, or another query to include its needs."""
    return lambda function: Query(function, needs_of(needs))


def needs_of(needs: Iterable[Need]) -> frozenset[str]:
    """Return the names of the read models."""
    return frozenset(name for need in needs for name in ([need] if isinstance(need, str) else need.needs))


@contextmanager
def read(
    connection: Connection,
    *needs: Need,
    at: int | None = None,
    time: int | None = None,
    least: int = 0,
    partition: int = 0,
) -> Iterator[AsOf]:
    """Hold one snapshot of what the queries inside need, and return the position that it stands for.

    The position is the last one that all these read models have folded or, for the past, the one asked for by position or
    time.

    Raises:
        NotYetProjected: `at` or `least` is ahead of one of them. Whoever has waited for a position names it as `least`:
            after a crash of PostgreSQL the read models may be behind what they were.
        UnknownProjection: one of them has never been folded.
    """
    with connection.transaction():
        try:
            hold_snapshot(connection)
        except errors.UndefinedTable:
            raise UnknownProjection("not projected yet: nothing is") from None
        yield find_as_of(connection, needs, at, time, least, partition)


def find_as_of(  # noqa: PLR0917  as `read`
    connection: Connection, needs: Iterable[Need], at: int | None, time: int | None, least: int, partition: int = 0
) -> AsOf:
    """Return the position that `read` yields, in a transaction that holds the snapshot."""
    wanted = needs_of(needs) | ({"timeline"} if at is not None or time is not None else set())
    rows = connection.execute(
        "SELECT projection, position, time, log FROM projection_positions WHERE projection = ANY(%s) AND partition = %s",
        [list(wanted), partition],
        prepare=True,
    ).fetchall()
    if missing := wanted - {row[0] for row in rows}:
        raise UnknownProjection(f"not projected yet: {', '.join(sorted(missing))}")
    reached, reached_time = min((row[1], row[2]) for row in rows)
    if least > reached:
        raise NotYetProjected(least, reached)
    if at is None and time is not None:
        at = min(timeline.position_at(connection, time, partition), reached)
    if at is None:
        return AsOf(reached, reached_time, past=any(row[1] != reached for row in rows), log=rows[0][3])
    if at > reached:
        raise NotYetProjected(at, reached)
    return AsOf(at, timeline.time_of(connection, at, partition), past=True, log=rows[0][3])


def hold_snapshot(connection: Connection) -> None:
    """Let the transaction that has just begun see one moment of all read models.

    The lock comes before the snapshot. A rebuild that exchanges tables holds it in a conflicting mode, so that nobody reads
    its tables with a snapshot that is older than their rows.
    """
    connection.execute(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; LOCK TABLE projection_tables IN ACCESS SHARE MODE"
    )


def projection_status(connection: Connection) -> list[ProjectionStatus]:
    """Return how far every read model is, by name and partition."""
    rows = connection.execute(
        "SELECT p.projection, p.partition, p.position, p.time, p.version, p.updated_at, "
        "(SELECT count(*) FROM projection_parked k WHERE k.projection = p.projection AND k.partition = p.partition), p.log "
        "FROM projection_positions p ORDER BY p.projection, p.partition"
    ).fetchall()
    return [ProjectionStatus(*row) for row in rows]


def whole_numbers(connection: Connection[Any], row_factory: RowFactory[T]) -> Cursor[T]:
    """Return a cursor that reads exact numbers, which are whole in the tables of read models, as integers."""
    cursor = connection.cursor(row_factory=row_factory)
    cursor.adapters.register_loader("numeric", WholeNumberLoader)
    return cursor


class Conditions:
    """A WHERE clause built step by step: conditions with placeholders, and their values."""

    def __init__(self, first: str, *values: Any) -> None:
        self.parts = [first]
        self.values: list[Any] = list(values)

    def add(self, condition: str, *values: Any) -> None:
        """Add a condition."""
        self.parts.append(condition)
        self.values += values

    def add_if(self, condition: str, value: Any) -> None:
        """Add a condition, unless its value is None."""
        if value is not None:
            self.add(condition, value)

    def after(self, columns: str, key: Sequence[Any] | None) -> None:
        """Continue after the row with this key, in descending order of the columns."""
        if key is not None:
            self.add(f"({columns}) < ({', '.join(['%s'] * len(key))})", *key)

    @property
    def sql(self) -> str:
        """The clause, with `WHERE`."""
        return f"WHERE {' AND '.join(self.parts)}"
