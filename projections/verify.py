"""Comparing read models with the log: hashes of read models, and the differences between two copies of one.

A hash covers the rows in the order of their keys, in PostgreSQL's text form of integers, texts and arrays. It is the same on
every machine, and however the log was cut into batches.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import zip_longest
from typing import Any, Literal

from psycopg import Connection, OperationalError, sql

from domain.events import Recorded
from domain.exchange import Entry, Exchange
from domain.invariants import TAKING_BACK, Audit, BrokenInvariantError
from domain.ledger import BONDS, FEES, Ledger, postings
from projections.machine.advance import advance_through
from projections.machine.batch import Batch
from projections.machine.parking import UnreadableEvent
from projections.machine.pipeline import PipelineConnection
from projections.machine.projection import Projection
from projections.machine.store import connect, ensure, position_of
from projections.machine.table import Table
from projections.machine.workspace import Workspace
from projections.reading import hold_snapshot

Kind = Literal[
    "row", "parked", "waiting", "skipped", "version", "missing", "ahead", "fold",
    "postings", "balance", "invariant", "unreadable", "channel",
]  # fmt: skip
"""What is wrong.

Of a read model. `row`: a row differs (the first one of a table). `parked`: an event could not be folded. `waiting`: events
wait behind parked ones. `skipped`: an operator left out an event. `version`: the tables are those of another version.
`missing`: no projector has ever folded the read model. `ahead`: its position is behind the end of the log. `fold`: the log
cannot be folded again.

Of the ledger. `postings`: they do not sum to zero. `balance`: one is negative that may not be. `invariant`: one does not hold.
`unreadable`: an event cannot be read or applied.

Of several partitions. `channel`: what one partition received is not what another one sent (see `projections.channels`).
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as the log says: its kind, and what there is to tell about it, by name.

    A `row` has its `table`, the row `expected` according to the log, and the one `found`; None where there is no such row.
    """

    kind: Kind
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A read model or the ledger, compared with the log up to a position."""

    name: str
    position: int
    differences: list[Difference]


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


def row_differences(expected: Connection, found: Connection, projection: Projection) -> Iterator[Difference]:
    """Yield the first row, in the order of keys, of each table in which two copies of a read model differ."""
    for table in projection.tables:
        if _hash(expected, table) == _hash(found, table):
            continue
        for one, other in zip_longest(_rows(expected, table), _rows(found, table)):
            if one != other:
                rows = {"expected": _named(table, one), "found": _named(table, other)}
                yield Difference("row", {"table": table.name, **rows})
                break


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
) -> Iterator[Comparison]:
    """Fold the log into a schema of its own and compare every row; nothing at all where no projector has ever worked.

    The live read models are folded further meanwhile: each is compared as it was when its comparison began. Parked and skipped
    events are differences, and are left out of the comparison of the rows.
    """
    with connect(dsn, schema) as live:
        if not live.execute("SELECT 1 FROM projection_positions WHERE partition = %s LIMIT 1", [partition]).fetchone():
            return
    scratch = f"{schema}_verify"
    for projection in projections:
        with connect(dsn, scratch) as again, connect(dsn, schema) as live:
            again.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(scratch)))
            ensure(again, [projection], partition, scratch)
            try:
                with live.transaction():
                    hold_snapshot(live)
                    until, version = position_of(live, projection.name, partition)
                    differences = _differences(again, live, projection, version, read(0, until), partition)
                    yield Comparison(projection.name, until, list(differences))
            finally:
                again.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(scratch)))


def _differences(  # noqa: PLR0917  the two copies, and what the second is made of
    again: PipelineConnection,
    live: Connection,
    projection: Projection,
    version: int,
    log: Iterable[Batch],
    partition: int,
) -> Iterator[Difference]:
    """Yield what is wrong with a read model; `again` is where the log is folded once more."""
    if not version:
        yield Difference("missing", {})
        return
    yield from _held_back(live, projection.name, partition)
    if version != projection.version:
        yield Difference("version", {"expected": projection.version, "found": version})
        return
    _keep_skipped(live, again, projection.name)
    try:
        for _ in advance_through(again, projection, Workspace(projection.tables), log):
            pass
    except OperationalError:
        raise
    except Exception as error:  # noqa: BLE001  whatever a fold raises
        folded, _ = position_of(again, projection.name, partition)
        yield Difference("fold", {"behind": folded, "error": repr(error)})
        return
    folded, _ = position_of(again, projection.name, partition)
    if folded < position_of(live, projection.name, partition)[0]:
        yield Difference("ahead", {"log": folded})
    with again.transaction():
        yield from row_differences(again, live, projection)


def _held_back(live: Connection, name: str, partition: int) -> Iterator[Difference]:
    """Yield the events that a read model has not folded: each parked or skipped one, and how many wait behind others."""
    of_one = "WHERE projection = %s AND partition = %s"
    for position, topic, error in live.execute(
        f"SELECT position, topic, error FROM projection_parked {of_one} AND error IS NOT NULL ORDER BY position",
        [name, partition],
    ).fetchall():
        yield Difference("parked", {"position": position, "topic": topic, "error": error})
    for first, events in live.execute(
        f"SELECT min(position), count(*) FROM projection_parked {of_one} AND error IS NULL HAVING count(*) > 0",
        [name, partition],
    ).fetchall():
        yield Difference("waiting", {"position": first, "events": events})
    for position, reason in live.execute(
        f"SELECT position, reason FROM projection_skipped {of_one} ORDER BY position", [name, partition]
    ).fetchall():
        yield Difference("skipped", {"position": position, "reason": reason})


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


def ledger_differences(events: Iterable[Recorded], partition: int = 0, partitions: int = 1) -> Iterator[Difference]:
    """Yield what is wrong with the money and with the rules, each where it first goes wrong.

    At every position, all postings sum to zero, and no balance is negative but the house's and those of accounts from which
    a correction or a void took back what they had spent. All invariants hold.
    """
    balances = _Balances()
    rules = _Rules(Exchange(partition, partitions))
    for recorded in events:
        if isinstance(recorded.event, UnreadableEvent):
            details = {"position": recorded.position, "topic": recorded.event.TOPIC, "error": recorded.event.error}
            yield Difference("unreadable", details)
            continue
        yield from balances.post(recorded)
        yield from rules.apply(recorded)
    yield from rules.check_all()


class _Balances:
    """The balances of the ledger, position by position."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._overdrawn: set[str] = set()
        self._wrong: set[str] = set()

    def post(self, recorded: Recorded) -> Iterator[Difference]:
        """Post an event; yield what is wrong afterwards and was not before."""
        event = recorded.event
        lines = postings(event)
        at = {"position": recorded.position, "topic": event.TOPIC}
        if total := sum(amount for _, amount in lines):
            yield Difference("postings", {**at, "sum": total})
        self._ledger.post(event)
        for name, amount in lines:
            balance = self._ledger.balances[name]
            if balance >= 0:
                self._overdrawn.discard(name)
                self._wrong.discard(name)
            elif name.startswith("cash:") and (isinstance(event, TAKING_BACK) or name in self._overdrawn):
                self._overdrawn.add(name)
            elif name not in self._wrong and _must_be_covered(name):
                self._wrong.add(name)
                yield Difference("balance", {**at, "account": name, "balance": balance, "change": amount})


def _must_be_covered(name: str) -> bool:
    """Return whether an account of the ledger may not be negative."""
    return name.startswith(("cash:", "held:", "pool:")) or name in {FEES, BONDS}


class _Rules:
    """The invariants, position by position. Each that breaks is told once for each account and market that it concerns."""

    def __init__(self, exchange: Exchange) -> None:
        self._broken: list[BrokenInvariantError] = []
        self._audit = Audit(exchange, broken=self._broken)
        self._told: set[tuple[str, ...]] = set()

    def apply(self, recorded: Recorded) -> Iterator[Difference]:
        """Apply an event; yield what it broke."""
        event = recorded.event
        about = (getattr(event, "market_id", None) or "", getattr(event, "account_id", None) or "")
        self._audit.position = recorded.position - 1
        try:
            entry = Entry(recorded.stream, recorded.version, event)
            self._audit.apply(entry, time=recorded.time, command_id=recorded.command_id)
        except Exception as error:  # noqa: BLE001  the log may hold anything
            if self._is_new(type(error).__name__, event.TOPIC, *about):
                details = {"position": recorded.position, "topic": event.TOPIC, "error": repr(error)}
                yield Difference("unreadable", details)
        yield from self._new(about)

    def check_all(self) -> Iterator[Difference]:
        """Yield what is wrong with the whole state at the end."""
        try:
            self._audit.check_all()
        except Exception as error:  # noqa: BLE001  a state that no log of ours would make
            yield Difference("invariant", {"position": self._audit.position, "error": repr(error)})
        yield from self._new(())

    def _new(self, about: tuple[str, ...]) -> Iterator[Difference]:
        for error in self._broken:
            if self._is_new(error.claim, *about):
                yield Difference("invariant", {"position": error.position, "claim": error.claim, "event": error.event})
        self._broken.clear()

    def _is_new(self, *told: str) -> bool:
        if told in self._told:
            return False
        self._told.add(told)
        return True
