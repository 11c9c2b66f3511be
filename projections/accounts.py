"""Accounts and the ledger: the cash of every account, and every movement of money as a row that sums to zero."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, get_args

from psycopg import Connection
from psycopg.rows import args_row

from domain.account import AccountOpened, OrderReleased, OrderReserved, PayoutPaid, TradeSettled
from domain.events import EVENT_TYPES, Recorded
from domain.ledger import Posting, postings
from domain.money import Credits, Time
from domain.orders import OrderPlaced
from domain.partition import PartitionEvent
from domain.transfers import BalanceOpened
from messages.names import nfc
from projections.forms import Count
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.row_values import copying
from projections.machine.table import Table
from projections.machine.workspace import Workspace
from projections.positions.valuation import positions_value_at, positions_value_now
from projections.reading import AsOf, query


@dataclass(slots=True)
class AccountRow:
    """The cash of an account: `available` (below zero: overdrawn) and `held` by its resting orders.

    A balance of an account of another partition has no name. `position` and `time` are those of the last movement of its cash.
    """

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
    """The postings of an event: signed changes that sum to zero.

    `cash` and `held` are changes of `account_id`, `pool` is one of `market_id`; `fees`, `house`, `bonds` and `external`
    belong to the operator; what they lack of zero is in transit to another partition. `available_after` and `held_after` are
    the account's balances afterwards, None where they did not change. `kind` is the name of the event's type.
    """

    partition: int
    position: Count
    time: Time
    kind: str
    account_id: str | None
    market_id: str | None
    order_id: str | None
    cash: Credits
    held: Credits
    pool: Credits
    fees: Credits
    house: Credits
    bonds: Credits
    external: Credits
    available_after: Credits | None
    held_after: Credits | None

    def transit(self) -> Credits:
        """Return the change of the cash on its way to another partition. It is 0 with one partition, whose answers lack it."""
        return -(self.cash + self.held + self.pool + self.fees + self.house + self.bonds + self.external)

    @property
    def key(self) -> tuple[int]:
        """Its place in lists, newest first."""
        return (self.position,)


@dataclass(slots=True)
class Balance:
    """The balance of a book: house, fees, bonds, external, `pool:<market>`, or `transit:<partition>` (see `domain.ledger`)."""

    partition: int
    name: str
    balance: int


@dataclass(frozen=True, slots=True)
class ValuedAccount:
    """An account with the mark value of its positions, each rounded down."""

    account_id: str
    name: str
    available: Credits
    held: Credits
    positions_value: Credits
    opened_position: int
    opened_at: Time
    position: Count
    time: Time

    @property
    def equity(self) -> Credits:
        """Available cash, held cash and the mark value of its positions."""
        return self.available + self.held + self.positions_value

    @property
    def overdrawn(self) -> bool:
        """True if a reversed payout has left its available cash below zero."""
        return self.available < 0

    @property
    def key(self) -> tuple[int, str]:
        """Its place in lists, newest first."""
        return self.opened_position, self.account_id


ACCOUNTS = Table(
    "accounts", AccountRow, key=["account_id"], by="account", indexes=["name", "opened_position, account_id"]
)
LEDGER = Table(
    "ledger",
    LedgerEntry,
    key=["partition", "position"],
    indexes=["account_id, position WHERE account_id IS NOT NULL", "account_id, market_id WHERE bonds <> 0"],
    checks=["cash + held + pool + fees + house + bonds + external = 0 OR kind IN ('FundsSent', 'FundsReceived')"],
)
BALANCES = Table("ledger_balances", Balance, key=["partition", "name"])

BOOKS: Final = ("cash", "held", "pool", "fees", "house", "bonds", "external")
"""The kinds of books, as columns of the ledger; with several partitions there is `transit`, too."""

KINDS: Final = frozenset(EVENT_TYPES) - {OrderPlaced, *get_args(PartitionEvent)}
"""All events but the most frequent ones of those that move no money."""

_NOTHING: Final = {"house": 0, "bonds": 0, "external": 0}

_settled = copying(LedgerEntry, Recorded, TradeSettled, constants={"kind": "TradeSettled", **_NOTHING})
_moved = copying(LedgerEntry, Recorded, constants={"fees": 0, **_NOTHING})
_posted = copying(LedgerEntry, Recorded)


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add an entry for every movement of money, and bring the balances up to date.

    The most frequent events do not go through `postings`. Their entries are the same; a test compares them.
    """
    books = Books(batch, workspace)
    settle = books.settle
    for recorded in batch.of(KINDS):
        match recorded.event:
            case TradeSettled() as event:
                settle(event, recorded)
            case OrderReserved() as event:
                books.move(event, recorded, order_id=event.order_id, cash=-event.cash, held=event.cash, pool=0)
            case OrderReleased() as event:
                books.move(event, recorded, order_id=event.order_id, cash=event.cash, held=-event.cash, pool=0)
            case PayoutPaid() as event:
                books.move(event, recorded, order_id=None, cash=event.amount, held=0, pool=-event.amount)
            case AccountOpened() as event:
                books.open(event.account_id, event.name, recorded)
            case BalanceOpened() as event:
                books.open(event.account_id, "", recorded)
            case event:
                if lines := postings(event):
                    books.post(lines, recorded)
    books.end()


class Books:
    """The balances of the accounts and of the other books while a batch is folded."""

    def __init__(self, batch: Batch, workspace: Workspace) -> None:
        self._partition = batch.partition
        self._accounts = workspace.rows(ACCOUNTS)
        self._edit = self._accounts.edit
        self._append = workspace.rows(LEDGER).append
        self._balances = workspace.rows(BALANCES)
        self._pools: defaultdict[str, int] = defaultdict(int)
        self._moved: defaultdict[str, int] = defaultdict(int)

    def open(self, account_id: str, name: str, recorded: Recorded) -> None:
        """Add an account without cash."""
        self._accounts.add(
            AccountRow(
                partition=self._partition,
                account_id=account_id,
                name=name,
                available=0,
                held=0,
                opened_position=recorded.position,
                opened_at=recorded.time,
                position=recorded.position,
                time=recorded.time,
            )
        )

    def settle(self, event: TradeSettled, recorded: Recorded) -> None:
        """Move what an execution costs or brings between the account, the pool of the market, and the fees."""
        fee = event.fee
        pool = -(event.cash + event.held + fee)
        account = self._change(event.account_id, event.cash, event.held, recorded)
        self._pools[event.market_id] += pool
        if fee:
            self._moved["fees"] += fee
        self._append(
            _settled(
                recorded,
                event,
                partition=self._partition,
                pool=pool,
                fees=fee,
                available_after=account.available,
                held_after=account.held,
            )
        )

    def move(
        self,
        event: OrderReserved | OrderReleased | PayoutPaid,
        recorded: Recorded,
        *,
        order_id: str | None,
        cash: int,
        held: int,
        pool: int,
    ) -> None:
        """Move cash between what is available to the account, what is held of it, and the pool of the market.

        There is no entry where no cash moves: a sale reserves shares, and a payout may be 0.
        """
        if not cash:
            return
        account = self._change(event.account_id, cash, held, recorded)
        self._pools[event.market_id] += pool
        self._append(
            _moved(
                recorded,
                partition=self._partition,
                kind=type(event).__name__,
                account_id=event.account_id,
                market_id=event.market_id,
                order_id=order_id,
                cash=cash,
                held=held,
                pool=pool,
                available_after=account.available,
                held_after=account.held,
            )
        )

    def post(self, lines: Sequence[Posting], recorded: Recorded) -> None:
        """Move what the postings of an event say."""
        amounts = dict.fromkeys(BOOKS, 0)
        for name, amount in lines:
            book = name.partition(":")[0]
            if book in amounts:
                amounts[book] += amount
            if book not in {"cash", "held"}:
                self._moved[name] += amount
        event = recorded.event
        account_id = getattr(event, "account_id", None)
        account = None
        if account_id and (amounts["cash"] or amounts["held"]):
            account = self._change(account_id, amounts["cash"], amounts["held"], recorded)
        self._append(
            _posted(
                recorded,
                partition=self._partition,
                kind=type(event).__name__,
                account_id=account_id,
                market_id=getattr(event, "market_id", None),
                order_id=getattr(event, "order_id", None),
                **amounts,
                available_after=account.available if account else None,
                held_after=account.held if account else None,
            )
        )

    def end(self) -> None:
        """Add what was moved to the balances of the books."""
        for market_id, amount in self._pools.items():
            self._moved[f"pool:{market_id}"] += amount
        self._balances.prefetch(lambda: [(self._partition, name) for name in self._moved])
        for name, amount in self._moved.items():
            key = (self._partition, name)
            if self._balances.get(key) is None:
                self._balances.add(Balance(partition=self._partition, name=name, balance=amount))
            else:
                self._balances.edit(key).balance += amount

    def _change(self, account_id: str, cash: int, held: int, recorded: Recorded) -> AccountRow:
        """Change the balances of an account, and return it."""
        account = self._edit(account_id)
        account.available += cash
        account.held += held
        account.position, account.time = recorded.position, recorded.time
        return account


PROJECTION = Projection("accounts", 5, (ACCOUNTS, LEDGER, BALANCES), fold, scope="account", weight=4.6)

_VALUE_NOW: Final = positions_value_now("a.account_id")
_VALUE_PAST: Final = positions_value_at("%(at)s", "a.account_id")

_NOW: Final = f"""
    SELECT account_id, name, available, held, {_VALUE_NOW} AS positions_value, opened_position, opened_at, position, time
    FROM accounts a"""
_PAST: Final = f"""
    SELECT account_id, name, coalesce(e.available_after, 0) AS available, coalesce(e.held_after, 0) AS held,
    {_VALUE_PAST} AS positions_value, opened_position, opened_at,
    coalesce(e.position, opened_position) AS position, coalesce(e.time, opened_at) AS time
    FROM accounts a LEFT JOIN LATERAL (
        SELECT available_after, held_after, position, time FROM ledger WHERE account_id = a.account_id
        AND position <= %(at)s AND available_after IS NOT NULL ORDER BY position DESC LIMIT 1) e ON true"""


@query("accounts", "positions", "markets")
def get_account(connection: Connection, as_of: AsOf, ref: str) -> ValuedAccount | None:
    """Return the account with this id or name, or None; a name is looked up in NFC, as all are stored."""
    with connection.cursor(row_factory=args_row(ValuedAccount)) as cursor:
        return cursor.execute(
            f"{_PAST if as_of.past else _NOW} WHERE (account_id = %(ref)s OR name = %(ref)s) "
            "AND opened_position <= %(at)s",
            {"ref": nfc(ref), "at": as_of.position},
        ).fetchone()


@query("accounts", "positions", "markets")
def list_accounts(
    connection: Connection, as_of: AsOf, *, limit: int = 50, after: tuple[int, str] | None = None
) -> list[ValuedAccount]:
    """Return accounts, newest first."""
    before = "AND (opened_position, account_id) < (%(p)s, %(a)s)" if after else ""
    position, account_id = after or (0, "")
    with connection.cursor(row_factory=args_row(ValuedAccount)) as cursor:
        return cursor.execute(
            f"{_PAST if as_of.past else _NOW} WHERE opened_position <= %(at)s {before} "
            "ORDER BY opened_position DESC, account_id DESC LIMIT %(limit)s",
            {"at": as_of.position, "p": position, "a": account_id, "limit": limit},
        ).fetchall()


@query("accounts")
def names(connection: Connection, as_of: AsOf, account_ids: Sequence[str]) -> dict[str, str]:
    """Return the names of these accounts, by id."""
    rows = connection.execute(
        "SELECT account_id, name FROM accounts WHERE account_id = ANY(%s) AND opened_position <= %s",
        [list(account_ids), as_of.position],
    ).fetchall()
    return dict(rows)


@query("accounts")
def ledger_sums(connection: Connection, as_of: AsOf) -> dict[str, int]:
    """Return the sum of each of `BOOKS`, and of `transit` if cash has ever crossed partitions; together they are 0."""
    sums = dict.fromkeys(BOOKS, 0)
    row = connection.execute("SELECT sum(available), sum(held) FROM accounts").fetchone()
    assert row is not None, "an aggregate always has a row"
    sums["cash"], sums["held"] = int(row[0] or 0), int(row[1] or 0)
    for name, balance in connection.execute(
        "SELECT split_part(name, ':', 1), sum(balance) FROM ledger_balances GROUP BY 1"
    ):
        sums[name] = int(balance)
    if as_of.past:
        later = connection.execute(
            f"SELECT {', '.join(f'coalesce(sum({book}), 0)' for book in BOOKS)} FROM ledger WHERE position > %s",
            [as_of.position],
        ).fetchone()
        assert later is not None, "an aggregate always has a row"
        for book, amount in zip(BOOKS, later, strict=True):
            sums[book] -= int(amount)
        if "transit" in sums:
            sums["transit"] = -sum(sums[book] for book in BOOKS)  # as in each row
    return sums
