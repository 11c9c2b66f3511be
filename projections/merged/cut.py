"""A cut through the read models of several partitions: a position in each, all seen in one snapshot of their database."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from psycopg import Connection, errors, sql

from domain.money import Time
from messages.vectors import PositionVector
from projections.machine.store import schema_of
from projections.reading import AsOf, Need, UnknownProjection, find_as_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ExchangeCut:
    """The partitions of an exchange as an answer sees them: each as of a position of its own."""

    connection: Connection[Any]
    parts: dict[int, AsOf]

    @property
    def positions(self) -> PositionVector:
        """The position of each partition."""
        return PositionVector((partition, as_of.position) for partition, as_of in self.parts.items())

    @property
    def time(self) -> Time:
        """The time of the last event of all."""
        return max(as_of.time for as_of in self.parts.values())

    def each(
        self, ask: Callable[[Connection[Any], AsOf, int], T], partitions: Iterable[int] | None = None
    ) -> dict[int, T]:
        """Ask each partition, or some, and return the answers; `ask` takes the connection, its `AsOf` and its number."""
        found: dict[int, T] = {}
        for partition in self.parts if partitions is None else partitions:
            _search(self.connection, partition)
            found[partition] = ask(self.connection, self.parts[partition], partition)
        return found


@contextmanager
def cut(
    connection: Connection[Any],
    partitions: Sequence[int],
    *needs: Need,
    at: PositionVector | None = None,
    time: Time | None = None,
    least: PositionVector | None = None,
) -> Iterator[ExchangeCut]:
    """Hold one snapshot of what queries need in these partitions.

    Each stands at the last position that its read models have folded, or at that of `at`, or at its last event at or before
    `time`. A cut by time is consistent: cash that one partition has received is gone in the one that sent it.

    Raises:
        NotYetProjected: `at` or `least` is ahead of a partition's read models.
        UnknownProjection: one of them has never been folded.
    """
    least = least or PositionVector()
    with connection.transaction():
        _hold_snapshot(connection, partitions)
        parts: dict[int, AsOf] = {}
        for partition in partitions:
            _search(connection, partition)
            position = None if at is None else at.of(partition)
            parts[partition] = find_as_of(connection, needs, position, time, least.of(partition))
        yield ExchangeCut(connection, parts)


def _hold_snapshot(connection: Connection[Any], partitions: Iterable[int]) -> None:
    """Let the transaction see one moment of all these partitions, as `projections.reading.hold_snapshot` does of one."""
    tables = [sql.Identifier(schema_of(partition), "projection_tables") for partition in partitions]
    try:
        connection.execute(
            sql.SQL(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; LOCK TABLE {} IN ACCESS SHARE MODE"
            ).format(sql.SQL(", ").join(tables))
        )
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        raise UnknownProjection(f"not projected yet: {error.diag.message_primary}") from None


def _search(connection: Connection[Any], partition: int) -> None:
    """Let the queries that follow in this transaction read a partition."""
    connection.execute("SELECT set_config('search_path', %s, true)", [schema_of(partition)])
