"""Accounts and the ledger: who has what, and every movement of money as a row that sums to zero."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain.account import AccountOpened, OrderReleased, OrderReserved, PayoutPaid, TradeSettled
from domain.events import Recorded
from domain.ledger import Posting, postings
from domain.orders import OrderPlaced
from domain.partition import CommandHadNoEffect, CommandRejected, CommandsRead
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Rows, Workspace
from projections.positions.profits import held_at, worth
from projections.reading import AsOf, Conditions


@dataclass(slots=True)
class AccountRow:
    """An account's cash: `available` (below zero: overdrawn) and `held` by its resting orders."""

    partition: int
    account_id: str
    name: str
    available: int
    held: int
    opened_position: int
    opened_at: int
    position: int
    time: int


class LedgerEntry(NamedTuple):
    """One event's postings: the signed changes sum to zero.

    `cash` and `held` are those of `account_id`, `pool` that of `market_id`; `fees`, `house`, `bonds` and `external` are the
    operator's. `available_after` and `held_after` are the account's balances after it.
    """

    partition: int
    position: int
    time: int
    kind: str
    account_id: str | None
    market_id: str | None
    order_id: str | None
    cash: int
    held: int
    pool: int
    fees: int
    house: int
    bonds: int
    external: int
    available_after: int | None
    held_after: int | None

    @property
    def key(self) -> tuple[int]:
        """Its place in lists, newest first."""
        return (self.position,)


@dataclass(slots=True)
class Balance:
    """The balance of a book: house, fees, bonds, external, or `pool:<market>`."""

    partition: int
    name: str
    balance: int


@dataclass(frozen=True, slots=True)
class Account:
    """An account with its positions valued at the maker's prices, each rounded down."""

    account_id: str
    name: str
    available: int
    held: int
    positions_value: int
    opened_position: int
    opened_at: int
    position: int
    time: int

    @property
    def equity(self) -> int:
        """All it has: cash, held cash and positions at their price."""
        return self.available + self.held + self.positions_value

    @property
    def overdrawn(self) -> bool:
        """Whether a payout that was taken back left it below zero."""
        return self.available < 0

    @property
    def key(self) -> tuple[int, str]:
        """Its place in lists, newest first."""
        return self.opened_position, self.account_id


class EquityPoint(NamedTuple):
    """What an account had at a moment."""

    time: int
    available: int
    held: int
    positions: int
    equity: int


ACCOUNTS = Table("accounts", AccountRow, key=["account_id"], indexes=["name", "opened_position, account_id"])
LEDGER = Table(
    "ledger",
    LedgerEntry,
    key=["partition", "position"],
    indexes=["account_id, position WHERE account_id IS NOT NULL"],
    checks=["cash + held + pool + fees + house + bonds + external = 0"],
)
BALANCES = Table("ledger_balances", Balance, key=["partition", "name"])

_NO_MONEY: Final = frozenset({OrderPlaced, CommandsRead, CommandRejected, CommandHadNoEffect})
_MOVES: Final[dict[type[Any], Callable[[Any], tuple[int, int, int, int]]]] = {
    TradeSettled: lambda event: (event.cash, event.held, -(event.cash + event.held + event.fee), event.fee),
    OrderReserved: lambda event: (-event.cash, event.cash, 0, 0),
    OrderReleased: lambda event: (event.cash, -event.cash, 0, 0),
    PayoutPaid: lambda event: (event.amount, 0, -event.amount, 0),
}
"""What the events of which there are most add to an account's cash, to what is held of it, to the pool of the market and to
the fees: the same as their postings, which a test sees to.
"""
_BOOKS: Final = {"cash": 0, "held": 1, "pool": 2, "fees": 3, "house": 4, "bonds": 5, "external": 6}
_NAMES: Final = tuple(_BOOKS)


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add the row of every movement of money, and bring the balances up to date."""
    accounts = workspace.load(ACCOUNTS, lambda: batch.accounts)
    cache, touched = accounts.cache, accounts.changed
    append = workspace.rows(LEDGER).append
    partition = batch.partition
    moved: defaultdict[str, int] = defaultdict(int)
    pools: defaultdict[str, int] = defaultdict(int)
    event: Any
    for recorded in batch.events:
        event = recorded.event
        kind = type(event)
        if kind in _NO_MONEY:
            continue
        if (move := _MOVES.get(kind)) is not None:
            cash, held, pool, fee = move(event)
            if not (cash or held or kind is TradeSettled):  # a payout of nothing; shares that a sale holds
                continue
            account_id, market_id = event.account_id, event.market_id
            position, time = recorded.position, recorded.time
            account = cache[account_id]
            account.available = available = account.available + cash
            account.held = held_after = account.held + held
            account.position, account.time = position, time
            touched[account_id] = account
            pools[market_id] += pool
            if fee:
                moved["fees"] += fee
            append(
                (
                    partition,
                    position,
                    time,
                    kind.__name__,
                    account_id,
                    market_id,
                    None if kind is PayoutPaid else event.order_id,
                    cash,
                    held,
                    pool,
                    fee,
                    0,
                    0,
                    0,
                    available,
                    held_after,
                )
            )
        elif kind is AccountOpened:
            at = (recorded.position, recorded.time)
            accounts.put(event.account_id, AccountRow(partition, event.account_id, event.name, 0, 0, *at, *at))
        elif lines := postings(event):
            append(_posted(partition, recorded, lines, accounts, moved))
    for market_id, amount in pools.items():
        moved[f"pool:{market_id}"] += amount
    _balance(workspace, partition, moved)


def _balance(workspace: Workspace, partition: int, moved: Mapping[str, int]) -> None:
    """Add what was moved to the balances of the books."""
    balances = workspace.load(BALANCES, lambda: [(partition, name) for name in moved])
    for name, amount in moved.items():
        balance = balances.get((partition, name))
        if balance is None:
            balances.put((partition, name), Balance(partition, name, amount))
        else:
            balance.balance += amount
            balances.change((partition, name))


def _posted(
    partition: int,
    recorded: Recorded,
    lines: Sequence[Posting],
    accounts: Rows[AccountRow],
    moved: defaultdict[str, int],
) -> LedgerEntry:
    """Return the entry of an event with these postings."""
    event: Any = recorded.event
    amounts = [0] * 7
    for book, amount in lines:
        amounts[_BOOKS[book.partition(":")[0]]] += amount
        if book[:5] not in {"cash:", "held:"}:
            moved[book] += amount
    account_id = getattr(event, "account_id", None)
    after: tuple[int | None, int | None] = (None, None)
    if account_id and (amounts[0] or amounts[1]):
        account = accounts.cache[account_id]
        account.available += amounts[0]
        account.held += amounts[1]
        account.position, account.time = recorded.position, recorded.time
        accounts.change(account_id)
        after = (account.available, account.held)
    return LedgerEntry(
        partition,
        recorded.position,
        recorded.time,
        type(event).__name__,
        account_id,
        getattr(event, "market_id", None),
        getattr(event, "order_id", None),
        *amounts,
        *after,  # type: ignore[call-arg]  # seven amounts come before it
    )


PROJECTION = Projection("accounts", 3, (ACCOUNTS, LEDGER, BALANCES), fold, scope="account", weight=4.6)

_SUM: Final = "coalesce(sum({}), 0)::int8"
_WORTH: Final = _SUM.format(worth("s.shares", "p.prices[array_position(k.outcomes, s.outcome)]"))
_WORTH_NOW: Final = _SUM.format(worth("s.shares", "m.prices[array_position(m.outcomes, s.outcome)]"))

_VALUE_NOW: Final = f"""(
    SELECT {_WORTH_NOW} FROM positions s JOIN positions_markets m USING (market_id)
    WHERE s.account_id = a.account_id AND s.open)"""


def _value_at(at: str, positions: str) -> str:
    """Return the query for what these positions, with the outcomes of their markets, were worth at a position of the log."""
    return f"""(
    SELECT {_WORTH} FROM ({positions}) k CROSS JOIN LATERAL (
        SELECT outcome, shares FROM position_versions WHERE account_id = k.account_id AND market_id = k.market_id
        AND outcome = k.outcome AND position <= {at} ORDER BY position DESC LIMIT 1) s
    CROSS JOIN LATERAL (SELECT prices FROM market_activity WHERE market_id = k.market_id AND position <= {at}
        ORDER BY position DESC LIMIT 1) p
    WHERE s.shares > 0)"""


def positions_value_at(at: str, account_id: str) -> str:
    """Return the SQL for the value of an account's positions at a position of the log, in micro-credits.

    Both arguments are SQL expressions. Each position is valued at the AMM's price then, and rounded down.
    """
    return _value_at(
        at,
        "SELECT k.account_id, k.market_id, k.outcome, m.outcomes FROM positions_markets m JOIN positions k USING (market_id) "
        f"WHERE {held_at(at)} AND k.account_id = {account_id} AND k.opened_position <= {at}",
    )


_VALUE_THEN: Final = positions_value_at("%(at)s", "a.account_id")

_NOW: Final = f"""
    SELECT account_id, name, available, held, {_VALUE_NOW} AS positions_value, opened_position, opened_at, position, time
    FROM accounts a"""
_THEN: Final = f"""
    SELECT account_id, name, coalesce(e.available_after, 0) AS available, coalesce(e.held_after, 0) AS held,
    {_VALUE_THEN} AS positions_value, opened_position, opened_at,
    coalesce(e.position, opened_position) AS position, coalesce(e.time, opened_at) AS time
    FROM accounts a LEFT JOIN LATERAL (
        SELECT available_after, held_after, position, time FROM ledger WHERE account_id = a.account_id
        AND position <= %(at)s AND available_after IS NOT NULL ORDER BY position DESC LIMIT 1) e ON true"""


def get_account(connection: Connection, as_of: AsOf, ref: str) -> Account | None:
    """Return the account with this id, or the only one with this name, or None."""
    with connection.cursor(row_factory=args_row(Account)) as cursor:
        rows = cursor.execute(
            f"{_THEN if as_of.past else _NOW} WHERE (account_id = %(ref)s OR name = %(ref)s) "
            "AND opened_position <= %(at)s ORDER BY account_id <> %(ref)s LIMIT 2",
            {"ref": ref, "at": as_of.position},
        ).fetchall()
    return rows[0] if rows and (len(rows) == 1 or rows[0].account_id == ref) else None


def list_accounts(
    connection: Connection, as_of: AsOf, *, limit: int = 50, after: tuple[int, str] | None = None
) -> list[Account]:
    """Return accounts, newest first."""
    before = "AND (opened_position, account_id) < (%(p)s, %(a)s)" if after else ""
    position, account_id = after or (0, "")
    with connection.cursor(row_factory=args_row(Account)) as cursor:
        return cursor.execute(
            f"{_THEN if as_of.past else _NOW} WHERE opened_position <= %(at)s {before} "
            "ORDER BY opened_position DESC, account_id DESC LIMIT %(limit)s",
            {"at": as_of.position, "p": position, "a": account_id, "limit": limit},
        ).fetchall()


def statement(
    connection: Connection, as_of: AsOf, account_id: str, *, limit: int = 50, after: tuple[int] | None = None
) -> list[LedgerEntry]:
    """Return every movement of the account's money, newest first."""
    where = Conditions("account_id = %s AND position <= %s", account_id, as_of.position)
    where.add("available_after IS NOT NULL")
    where.after("position", after)
    with connection.cursor(row_factory=args_row(LedgerEntry)) as cursor:
        return cursor.execute(
            f"SELECT {LEDGER.column_list} FROM ledger {where.sql} ORDER BY position DESC LIMIT %s",
            [*where.values, limit],
        ).fetchall()


def ledger_sums(connection: Connection) -> dict[str, int]:
    """Return the sum of each kind of book now: cash, held, pool, fees, house, bonds, external; together they are 0."""
    sums = dict.fromkeys(_NAMES, 0)
    row = connection.execute("SELECT sum(available), sum(held) FROM accounts").fetchone()
    assert row is not None, "an aggregate always has a row"
    sums["cash"], sums["held"] = int(row[0] or 0), int(row[1] or 0)
    for name, balance in connection.execute(
        "SELECT split_part(name, ':', 1), sum(balance) FROM ledger_balances GROUP BY 1"
    ):
        sums[name] = int(balance)
    return sums


_VALUE_AT_POINTS: Final = _value_at(
    "g.at",
    "SELECT * FROM held WHERE opened_position <= g.at AND (over_position IS NULL OR over_position > g.at)",
)

_EQUITY: Final = f"""
    WITH points AS (
        SELECT g.time, coalesce(least((SELECT previous FROM timeline WHERE partition = 0 AND time > g.time
            ORDER BY time LIMIT 1), %(at)s), %(at)s) AS at FROM generate_series(%(start)s::int8, %(end)s, %(step)s) g(time)),
    held AS MATERIALIZED (  -- of all that the account ever had, what it may have had at one of the points
        SELECT k.account_id, k.market_id, k.outcome, k.opened_position, m.outcomes, m.over_position
        FROM positions k JOIN positions_markets m USING (market_id)
        WHERE k.account_id = %(account)s AND int8range(m.opened_position, m.over_position)
            && int8range((SELECT min(at) FROM points), (SELECT max(at) FROM points), '[]'))
    SELECT g.time, coalesce(e.available_after, 0), coalesce(e.held_after, 0), {_VALUE_AT_POINTS}
    FROM points g LEFT JOIN LATERAL (
        SELECT available_after, held_after FROM ledger WHERE account_id = %(account)s
        AND position <= g.at AND available_after IS NOT NULL ORDER BY position DESC LIMIT 1) e ON true
    ORDER BY g.time"""


def equity_history(
    connection: Connection, as_of: AsOf, account_id: str, *, start: int, end: int, step: int
) -> list[EquityPoint]:
    """Return what the account had at `start` and each `step` after it, up to `end` and to the moment of `as_of`."""
    rows = connection.execute(
        _EQUITY,
        {"at": as_of.position, "start": start, "end": min(end, as_of.time), "step": step, "account": account_id},
    ).fetchall()
    return [EquityPoint(time, cash, held, value, cash + held + value) for time, cash, held, value in rows]
