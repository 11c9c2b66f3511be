"""Comparing read models with the log: hashes of read models, and the first difference between two copies of one.

A hash covers the rows in the order of their keys, in PostgreSQL's text form of integers, texts and arrays. It is the same on
every machine, and however the log was cut into batches.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import zip_longest
from typing import Any

from psycopg import Connection, sql

from domain.events import Recorded
from domain.ledger import Ledger, postings
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.store import advance_through, connect, ensure, position_of
from projections.machine.table import Table
from projections.machine.workspace import Workspace
from projections.reading import hold_snapshot


@dataclass(frozen=True, slots=True)
class Difference:
    """The first row that differs: `expected` according to the log, `found` in the table; None where there is no such row."""

    projection: str
    table: str
    expected: dict[str, Any] | None
    found: dict[str, Any] | None


def digest(connection: Connection, projection: Projection) -> str:
    """Return the hash of a read model as this transaction sees it: 32 hexadecimal digits."""
    total = blake2b(digest_size=16)
    for table in projection.tables:
        total.update(f"{table.name}({table.column_list})\n".encode())
        for part in _copied(connection, table):
            total.update(part)
    return total.hexdigest()


def _copied(connection: Connection, table: Table[Any]) -> Iterator[bytes]:
    with connection.cursor() as cursor, cursor.copy(f"COPY ({table.ordered()}) TO STDOUT") as copy:
        for part in copy:
            yield bytes(part)


def first_difference(expected: Connection, found: Connection, projection: Projection) -> Difference | None:
    """Return the first row in which two copies of a read model differ, in the order of tables and keys, or None."""
    for table in projection.tables:
        if _hash(expected, table) == _hash(found, table):
            continue
        for one, other in zip_longest(_rows(expected, table), _rows(found, table)):
            if one != other:
                return Difference(projection.name, table.name, _named(table, one), _named(table, other))
    return None


def _hash(connection: Connection, table: Table[Any]) -> bytes:
    total = blake2b(digest_size=16)
    for part in _copied(connection, table):
        total.update(part)
    return total.digest()


def _rows(connection: Connection, table: Table[Any]) -> Iterator[tuple[Any, ...]]:
    with connection.cursor(name=f"verify_{table.name}") as cursor:
        cursor.execute(table.ordered())
        yield from cursor


def _named(table: Table[Any], values: tuple[Any, ...] | None) -> dict[str, Any] | None:
    return None if values is None else dict(zip(table.columns, values, strict=True))


Read = Callable[[int, int], Iterable[Batch]]
"""Reads the log: batches of the events after the first position, up to and including the second."""


def verify(
    dsn: str, schema: str, projections: Iterable[Projection], read: Read, partition: int = 0
) -> Iterator[tuple[str, int, Difference | None]]:
    """Fold the log into a schema of its own and compare every row; yield name, position and first difference.

    The live read models are folded further meanwhile: each is compared as it was when its comparison began.
    """
    scratch = f"{schema}_verify"
    for projection in projections:
        with connect(dsn, scratch) as again, connect(dsn, schema) as live:
            again.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(scratch)))
            ensure(again, [projection], partition, scratch)
            try:
                with live.transaction():
                    hold_snapshot(live)
                    until, _ = position_of(live, projection.name, partition)
                    _keep_skipped(live, again, projection.name)
                    workspace = Workspace(projection.tables)
                    for _ in advance_through(again, projection, workspace, read(0, until)):
                        pass
                    with again.transaction():
                        difference = first_difference(again, live, projection)
                yield projection.name, until, difference
            finally:
                again.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(scratch)))


def _keep_skipped(live: Connection, again: Connection, name: str) -> None:
    """Leave out the events that the live read model has skipped or parked."""
    for row in live.execute(
        "SELECT projection, partition, position, 'skipped' FROM projection_skipped WHERE projection = %(name)s "
        "UNION ALL SELECT projection, partition, position, 'parked' FROM projection_parked WHERE projection = %(name)s",
        {"name": name},
    ).fetchall():
        again.execute(
            "INSERT INTO projection_skipped (projection, partition, position, reason) VALUES (%s, %s, %s, %s)", row
        )


def ledger_problem(events: Iterable[Recorded]) -> str | None:
    """Return what is wrong with the money at the first position where something is wrong, or None.

    At every position, all balances sum to zero, and none is negative but the house's and those that a correction left so.
    """
    ledger = Ledger()
    overdrawn: set[str] = set()
    for recorded in events:
        lines = postings(recorded.event)
        if not lines:
            continue
        if sum(amount for _, amount in lines):
            return f"position {recorded.position}: the postings of {recorded.event.TOPIC} do not sum to zero"
        ledger.post(recorded.event)
        for name, amount in lines:
            balance = ledger.balances[name]
            if balance >= 0:
                overdrawn.discard(name)
            elif name.startswith("cash:") and (recorded.event.TOPIC.startswith("PayoutReversed") or name in overdrawn):
                overdrawn.add(name)
            elif name.startswith(("cash:", "held:", "pool:")) or name in {"fees", "bonds"}:
                return f"position {recorded.position}: {name} is at {balance} micro-credits ({amount:+d})"
    return None
