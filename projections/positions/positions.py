"""Positions: what every account holds of every outcome, what it cost, what it has brought; now and at any position."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain.account import TradeSettled
from domain.events import Recorded
from domain.market import (
    MarketActivated,
    MarketCorrected,
    MarketDrafted,
    MarketFinalized,
    MarketSettled,
    MarketUnwound,
)
from domain.money import MICRO, divide_half_even
from domain.orders import RestingOrderFilled
from domain.story import StoryPublished
from projections import market_facts
from projections.machine.batch import ENDED, EXECUTED, Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Rows, Workspace
from projections.market_facts import KnownMarkets, MarketFacts, category_table, facts_table
from projections.positions import cost_basis
from projections.positions.profits import TABLES, Profits, TotalRow, held_at
from projections.reading import AsOf, Conditions


@dataclass(slots=True)
class PositionRow:
    """An account's position in an outcome now, closed ones included.

    `realized` is net of `fees`; `volume` is the cost of all its fills, `buys` that of the purchases. `open` says that it has
    shares: in an index it changes seldom, where `shares` would with every trade. `opened_position` is where it began.
    """

    partition: int
    account_id: str
    market_id: str
    outcome: str
    shares: int
    cost_basis: int
    realized: int
    fees: int
    volume: int
    buys: int
    trades: int
    settled_shares: int
    settled_basis: int
    settled_amount: int
    position: int
    time: int
    open: bool
    opened_position: int


class PositionVersion(NamedTuple):
    """A position from `position` on; `kind` is what changed it: trade, split, merge, payout, reversal or void.

    `quantity` is the signed change of shares, `amount` the signed cash for them, without the fee. `account_*` are the sums
    of the account over all its positions in the category, after the event.
    """

    partition: int
    account_id: str
    market_id: str
    outcome: str
    position: int
    time: int
    kind: str
    quantity: int
    amount: int
    shares: int
    cost_basis: int
    realized: int
    fees: int
    volume: int
    buys: int
    trades: int
    category: str
    account_realized: int
    account_volume: int
    account_buys: int
    account_trades: int


@dataclass(slots=True)
class HeldMarket(MarketFacts):
    """What positions need of a market: prices to value them, payouts to settle them, from and to when it has holders.

    `over_position` is that of its end, from which on no shares are held; None where there are some, or may be.
    """

    opened_position: int = 0
    over_position: int | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A position valued at the maker's price: `value` is shares times price, rounded down; `unrealized` is value - basis."""

    account_id: str
    market_id: str
    outcome: str
    shares: int
    cost_basis: int
    realized: int
    fees: int
    volume: int
    buys: int
    position: int
    time: int
    price: int | None

    @property
    def average_price(self) -> int | None:
        """The basis per share, rounded half even; None where no share is held."""
        return divide_half_even(self.cost_basis * MICRO, self.shares) if self.shares else None

    @property
    def value(self) -> int:
        """What the shares are worth at the price of now."""
        return self.shares * (self.price or 0) // MICRO

    @property
    def unrealized(self) -> int:
        """The profit if the shares were worth their price."""
        return self.value - self.cost_basis


class Holder(NamedTuple):
    """An account that holds shares of an outcome."""

    account_id: str
    outcome: str
    shares: int
    cost_basis: int


class Settlement(NamedTuple):
    """What the end of a market did to a position: `kind` payout, reversal (of a payout, by a correction) or void.

    `quantity` is the signed change of shares, `amount` the signed cash for them, `realized` the position's profit after.
    """

    position: int
    time: int
    account_id: str
    market_id: str
    outcome: str
    kind: str
    quantity: int
    amount: int
    realized: int

    @property
    def key(self) -> tuple[int, str]:
        """Its place in lists, newest first."""
        return self.position, self.outcome


POSITIONS = Table(
    "positions",
    PositionRow,
    key=["account_id", "market_id", "outcome"],
    group=["account_id", "market_id"],
    indexes=["market_id, outcome", "account_id WHERE open"],
)
VERSIONS = Table(
    "position_versions",
    PositionVersion,
    key=["account_id", "market_id", "outcome", "position"],
    indexes=[
        "account_id, position, outcome WHERE kind IN ('payout', 'reversal', 'void')",
        "account_id, category, position",
    ],
)
MARKETS = facts_table(
    "positions_markets", HeldMarket, indexes=["USING gist (int8range(opened_position, over_position))"]
)
CATEGORIES = category_table("positions_categories")

KINDS: Final = cost_basis.HOLDING_KINDS | market_facts.KINDS | ENDED


def fold(batch: Batch, workspace: Workspace) -> None:  # noqa: C901  one case an event
    """Bring every touched position and its profits up to date, and keep the version that each event made."""
    positions = workspace.load_holdings(POSITIONS, batch)
    known = KnownMarkets(workspace, MARKETS, CATEGORIES)
    markets = known.rows
    append = workspace.rows(VERSIONS).append
    profits = Profits(workspace, batch)
    event: Any
    for recorded in batch.of(KINDS):
        event = recorded.event
        kind = type(event)
        time = recorded.time
        if time >= profits.until:
            profits.pass_time(time)
        if kind is TradeSettled:
            side, quantity, cost = event.side, event.quantity, event.cost
            row = _touch(positions, batch.partition, event, event.outcome, recorded)
            before = row.realized
            cost_basis.trade(row, side, quantity, cost, event.fee)
            row.open = row.shares > 0
            total = profits.total(event.account_id, markets.cache[event.market_id].category)
            total.realized += row.realized - before
            total.volume += cost
            total.trades += 1
            if side == "buy":
                total.buys += cost
                append(_version(row, "trade", quantity, -cost, total))
            else:
                append(_version(row, "trade", -quantity, cost, total))
        elif kind in EXECUTED:
            if event.execution.prices:
                known.price(event.market_id, event.execution.prices)
        elif kind in cost_basis.OTHER_KINDS:
            market = markets.cache[event.market_id]
            total = profits.total(event.account_id, market.category)
            changes: list[tuple[PositionRow, str, int, int]] = []
            for step in cost_basis.steps(event, market.outcomes, market.payouts):
                if step.kind == "void" and positions.get((event.account_id, event.market_id, step.outcome)) is None:
                    continue
                row = _touch(positions, batch.partition, event, step.outcome, recorded)
                shares, before = row.shares, row.realized
                cash = cost_basis.apply(row, step)
                row.open = row.shares > 0
                changes.append((row, step.kind, row.shares - shares, cash))
                total.realized += row.realized - before
            for change in changes:
                append(_version(*change, total))
        else:
            _follow_market(known, recorded)
    profits.end()


def _follow_market(known: KnownMarkets[HeldMarket], recorded: Recorded) -> None:
    """Take in the facts of a market, its beginning and its end."""
    match recorded.event:
        case MarketDrafted() as event:
            known.draft(event).opened_position = recorded.position
        case MarketFinalized() | MarketCorrected() as event:
            known.resolve(event).over_position = None
        case MarketSettled() | MarketUnwound() as event:
            known.rows.edit(event.market_id).over_position = recorded.position
        case StoryPublished() | MarketActivated() | RestingOrderFilled() as event:
            known.follow(event)


def _touch(positions: Rows[PositionRow], partition: int, event: Any, outcome: str, recorded: Recorded) -> PositionRow:
    """Return the row of a position, a new one where there is none, marked as changed by this event."""
    account_id, market_id, at = event.account_id, event.market_id, recorded.position
    key = (account_id, market_id, outcome)
    row = positions.cache.get(key)
    if row is None:
        row = PositionRow(
            partition, account_id, market_id, outcome, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, at, recorded.time, False, at
        )  # fmt: skip
        positions.cache[key] = positions.new[key] = row
    else:
        row.position, row.time = at, recorded.time
        positions.changed[key] = row
    return row


def _version(row: PositionRow, kind: str, quantity: int, amount: int, total: TotalRow) -> tuple[Any, ...]:
    """Return the values of the `PositionVersion` that an event made."""
    return (
        row.partition,
        row.account_id,
        row.market_id,
        row.outcome,
        row.position,
        row.time,
        kind,
        quantity,
        amount,
        row.shares,
        row.cost_basis,
        row.realized,
        row.fees,
        row.volume,
        row.buys,
        row.trades,
        total.category,
        total.realized,
        total.volume,
        total.buys,
        total.trades,
    )


PROJECTION = Projection(
    "positions", 5, (POSITIONS, VERSIONS, MARKETS, CATEGORIES, *TABLES), fold, scope="holding", weight=16.0
)

_COLUMNS: Final = "account_id, market_id, outcome, shares, cost_basis, realized, fees, volume, buys, position, time"

_OF_THEN: Final = """
    SELECT v.* FROM positions k CROSS JOIN LATERAL (
        SELECT * FROM position_versions WHERE account_id = k.account_id AND market_id = k.market_id
        AND outcome = k.outcome AND position <= %s ORDER BY position DESC LIMIT 1) v"""


_OF_OPEN_MARKETS_THEN: Final = _OF_THEN.replace(
    "positions k", "positions_markets m JOIN positions k USING (market_id)", 1
)


def account_positions(
    connection: Connection, as_of: AsOf, account_id: str, *, market_id: str | None = None, closed: bool = False
) -> list[Position]:
    """Return the account's positions, those without shares only if `closed`, by market and outcome."""
    where = Conditions("k.account_id = %s", account_id)
    where.add_if("k.market_id = %s", market_id)
    source, times = (_OF_THEN, [as_of.position]) if as_of.past else ("SELECT * FROM positions k", [])
    if as_of.past:
        where.add("k.opened_position <= %s", as_of.position)
        if not closed:
            source = _OF_OPEN_MARKETS_THEN
            where.add(held_at("%s"), as_of.position)
    elif not closed:
        where.add("k.open")
    price = (
        "(SELECT p.prices[array_position(m.outcomes, s.outcome)] FROM market_activity p WHERE p.market_id = s.market_id "
        f"AND p.position <= {as_of.position} ORDER BY p.position DESC LIMIT 1)"
        if as_of.past
        else "m.prices[array_position(m.outcomes, s.outcome)]"
    )
    with connection.cursor(row_factory=args_row(Position)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS}, {price} FROM ({source} {where.sql}) s JOIN positions_markets m USING (market_id) "
            f"{'' if closed else 'WHERE shares > 0'} ORDER BY market_id, outcome",
            [*times, *where.values],
        ).fetchall()


def holders(
    connection: Connection, as_of: AsOf, market_id: str, *, outcome: str | None = None, limit: int = 100
) -> list[Holder]:
    """Return who holds shares of the market, most shares first, equal ones by account."""
    where = Conditions("k.market_id = %s", market_id)
    where.add_if("k.outcome = %s", outcome)
    source, times = (_OF_THEN, [as_of.position]) if as_of.past else ("SELECT * FROM positions k", [])
    rows = connection.execute(
        f"SELECT account_id, outcome, shares, cost_basis FROM ({source} {where.sql}) s WHERE shares > 0 "
        "ORDER BY shares DESC, account_id, outcome LIMIT %s",
        [*times, *where.values, limit],
    ).fetchall()
    return [Holder(*row) for row in rows]


def settlements(
    connection: Connection, as_of: AsOf, account_id: str, *, limit: int = 50, after: tuple[int, str] | None = None
) -> list[Settlement]:
    """Return what the ends of markets did to the account's positions, newest first."""
    where = Conditions("account_id = %s AND position <= %s", account_id, as_of.position)
    where.add("kind IN ('payout', 'reversal', 'void')")
    where.after("position, outcome", after)
    rows = connection.execute(
        f"SELECT {', '.join(Settlement._fields)} FROM position_versions {where.sql} "
        "ORDER BY position DESC, outcome DESC LIMIT %s",
        [*where.values, limit],
    ).fetchall()
    return [Settlement(*row) for row in rows]
