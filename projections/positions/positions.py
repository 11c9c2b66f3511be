"""Positions: what every account holds of every outcome, its cost and its profit; now and at any log position."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain.account import PayoutPaid, PayoutReversed, PositionVoided, SetsMerged, SetsSplit, TradeSettled
from domain.events import Recorded
from domain.market import (
    MarketActivated,
    MarketCorrected,
    MarketDrafted,
    MarketFinalized,
    MarketSettled,
    MarketUnwound,
)
from domain.money import MICRO, Credits, Price, Shares, Time, divide_half_even
from domain.orders import OrderAmended, OrderPlaced, RestingOrderFilled
from domain.story import StoryPublished
from projections import market_facts
from projections.forms import Count, CreditsSum
from projections.machine.batch import ENDED, Batch
from projections.machine.projection import Projection
from projections.machine.row_values import copying
from projections.machine.table import Big, Table
from projections.machine.workspace import Workspace
from projections.market_facts import KnownMarkets, MarketFacts, category_table, facts_table
from projections.positions import cost_basis
from projections.positions.cost_basis import HOLDING_KINDS, IS_SETTLEMENT, HoldingChange
from projections.positions.profits import TABLES, Profits, ProfitTotal
from projections.positions.valuation import HELD_RANGE, OF_POSITION, held_at
from projections.reading import AsOf, Conditions, query, whole_numbers


@dataclass(slots=True)
class PositionRow:
    """The position of an account in an outcome now; closed positions stay.

    `realized` is net of `fees`; `volume` is the cost of all fills, `buys` the cost of the purchases. `trades` counts
    executions, not fills. `open` says whether there are shares: it is a column because an index on `shares` would change
    with every trade. `opened_position` is where in the log the position began, `position` and `time` are of its last change.
    """

    partition: int
    account_id: str
    market_id: str
    outcome: str
    opened_position: int
    position: int
    time: int
    shares: int = 0
    cost_basis: int = 0
    realized: Big = 0
    fees: Big = 0
    volume: Big = 0
    buys: Big = 0
    trades: int = 0
    settled_shares: int = 0
    settled_cost_basis: int = 0
    settled_amount: int = 0
    open: bool = False


class PositionVersion(NamedTuple):
    """A row for each log position at which the holding changed, valid from there; `kind` says what changed it.

    `quantity` is the signed change of shares, `amount` the signed cash for them, without the fee. `trades` counts
    executions. `account_*` are the sums over all positions of the account in the category, after the event.
    """

    partition: int
    account_id: str
    market_id: str
    outcome: str
    opened_position: int
    position: int
    time: int
    kind: str
    quantity: int
    amount: int
    shares: int
    cost_basis: int
    realized: Big
    fees: Big
    volume: Big
    buys: Big
    trades: int
    category: str
    account_realized: Big
    account_volume: Big
    account_buys: Big
    account_trades: int


@dataclass(slots=True)
class HeldMarket(MarketFacts):
    """The facts of a market, and the log positions of the events that drafted and ended it.

    `ended_position` is the log position of the last payout: nobody holds shares from there on. It is None before, and again
    after a correction.
    """

    drafted_position: int = 0
    ended_position: int | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A position with the AMM's price of a share; `price` is None if the market has none, `position` is a log position."""

    account_id: str
    market_id: str
    outcome: str
    shares: Shares
    cost_basis: Credits
    realized: CreditsSum
    fees: CreditsSum
    volume: CreditsSum
    buys: CreditsSum
    position: Count
    time: Time
    price: Price | None

    @property
    def average_price(self) -> Price | None:
        """The cost basis per share, rounded half even; None where no share is held."""
        return divide_half_even(self.cost_basis * MICRO, self.shares) if self.shares else None

    @property
    def value(self) -> Credits:
        """The mark value: shares times price, rounded down."""
        return self.shares * (self.price or 0) // MICRO

    @property
    def unrealized(self) -> Credits:
        """The mark value less the cost basis."""
        return self.value - self.cost_basis

    @property
    def key(self) -> tuple[str, str]:
        """Its place in the account's list, by market and outcome."""
        return self.market_id, self.outcome


class Holder(NamedTuple):
    """An account that holds shares of an outcome."""

    account_id: str
    outcome: str
    shares: Shares
    cost_basis: Credits

    @property
    def key(self) -> tuple[int, str, str]:
        """Its place in lists, most shares first."""
        return self.shares, self.account_id, self.outcome


class AccountSettlement(NamedTuple):
    """The effect of the end of a market on a position; `kind` is one of `SETTLEMENT_KINDS`.

    `quantity` is the signed change of shares, `amount` the signed cash for them, `realized` the profit of the position
    afterwards.
    """

    position: Count
    time: Time
    account_id: str
    market_id: str
    outcome: str
    kind: str
    quantity: Shares
    amount: Credits
    realized: CreditsSum

    @property
    def key(self) -> tuple[int, str]:
        """Its place in lists, newest first."""
        return self.position, self.outcome


POSITIONS = Table(
    "positions",
    PositionRow,
    key=["account_id", "market_id", "outcome"],
    by="holding",
    indexes=["market_id, outcome", "account_id WHERE open"],
)
VERSIONS = Table(
    "position_versions",
    PositionVersion,
    key=["partition", "opened_position", "outcome", "position"],
    indexes=[f"account_id, position, outcome WHERE {IS_SETTLEMENT}", "account_id, category, position"],
    covered=["shares", "cost_basis"],
)
MARKETS = facts_table("positions_markets", HeldMarket, indexes=[f"USING gist ({HELD_RANGE})"])
CATEGORIES = category_table("positions_categories")

KINDS: Final = HOLDING_KINDS | market_facts.KINDS | ENDED

_version = copying(PositionVersion, PositionRow, account=ProfitTotal)


def fold(batch: Batch, workspace: Workspace) -> None:  # noqa: C901  one case an event
    """Bring the positions and profits that each event changes up to date, and keep a version of each position."""
    known = KnownMarkets(workspace, MARKETS, CATEGORIES)
    profits = Profits(batch, workspace)
    holdings = Holdings(batch, workspace, known, profits)
    trade = holdings.trade
    prices: dict[str, Sequence[int]] = {}  # of the markets whose prices have changed: only the last ones are stored
    for recorded in batch.of(KINDS):
        if recorded.time >= profits.until:
            _set_prices(known, prices)
            profits.begin_day(recorded.time)
        match recorded.event:
            case TradeSettled() as event:
                trade(event, recorded)
            case OrderPlaced() | OrderAmended() as event:
                if event.execution.prices:
                    prices[event.market_id] = event.execution.prices
            case RestingOrderFilled() | MarketActivated() as event:
                if event.prices:
                    prices[event.market_id] = event.prices
            case SetsSplit() | SetsMerged() | PayoutPaid() | PayoutReversed() | PositionVoided() as event:
                holdings.change(event, recorded)
            case StoryPublished() as event:
                known.follow(event)
            case MarketDrafted() as event:
                known.draft(event).drafted_position = recorded.position
            case MarketFinalized() | MarketCorrected() as event:
                known.resolve(event).ended_position = None
            case MarketSettled() | MarketUnwound() as event:
                known.rows.edit(event.market_id).ended_position = recorded.position
    _set_prices(known, prices)
    profits.end()


def _set_prices(known: KnownMarkets[HeldMarket], prices: dict[str, Sequence[int]]) -> None:
    """Store the prices by market, and clear them."""
    for market_id, changed in prices.items():
        known.price(market_id, changed)
    prices.clear()


class Holdings:
    """The positions while a batch is folded."""

    def __init__(self, batch: Batch, workspace: Workspace, known: KnownMarkets[HeldMarket], profits: Profits) -> None:
        self._partition = batch.partition
        positions = workspace.rows(POSITIONS)
        self._get, self._edit_row, self._add = positions.get, positions.edit, positions.add
        self._append = workspace.rows(VERSIONS).append
        self._market = known.rows.get
        self._total = profits.total

    def trade(self, event: TradeSettled, recorded: Recorded) -> None:
        """Take in an execution."""
        market = self._market(event.market_id)
        assert market is not None, "a market is drafted before it is traded"
        total = self._total(event.account_id, market.category)
        row = self._edit((event.account_id, event.market_id, event.outcome), recorded)
        before = row.realized
        quantity, cost = event.quantity, event.cost
        cost_basis.trade(row, event.side, quantity, cost, event.fee)
        row.open = row.shares > 0
        total.realized += row.realized - before
        total.volume += cost
        total.trades += 1
        if event.side == "buy":
            total.buys += cost
            cost = -cost
        else:
            quantity = -quantity
        self._append(
            _version(row, account=total, kind="trade", quantity=quantity, amount=cost, category=total.category)
        )

    def change(self, event: HoldingChange, recorded: Recorded) -> None:
        """Take in any other change of a holding, which may concern several outcomes."""
        market = self._market(event.market_id)
        assert market is not None, "a market is drafted before anybody holds its shares"
        total = self._total(event.account_id, market.category)
        changes: list[tuple[PositionRow, cost_basis.Step, int, int]] = []
        for step in cost_basis.steps(event, market.outcomes, market.payouts):
            if step.kind == "void" and self._get((event.account_id, event.market_id, step.outcome)) is None:
                continue
            row = self._edit((event.account_id, event.market_id, step.outcome), recorded)
            shares, before = row.shares, row.realized
            cash = cost_basis.apply(row, step)
            row.open = row.shares > 0
            changes.append((row, step, row.shares - shares, cash))
            total.realized += row.realized - before
        for row, step, quantity, cash in changes:
            self._append(
                _version(row, account=total, kind=step.kind, quantity=quantity, amount=cash, category=total.category)
            )

    def _edit(self, key: tuple[str, str, str], recorded: Recorded) -> PositionRow:
        """Return a position that an event changes; it begins with the event where there is none."""
        at, time = recorded.position, recorded.time
        if self._get(key) is None:
            # By place: most trades of a new market open a position, and names would cost a tenth of such a trade.
            return self._add(PositionRow(self._partition, *key, at, at, time))
        row = self._edit_row(key)
        row.position, row.time = at, time
        return row


PROJECTION = Projection(
    "positions", 9, (POSITIONS, VERSIONS, MARKETS, CATEGORIES, *TABLES), fold, scope="holding", weight=16.0
)

_COLUMNS: Final = "account_id, market_id, outcome, shares, cost_basis, realized, fees, volume, buys, position, time"
_NOW: Final = "SELECT * FROM positions k"
_PAST: Final = f"""
    SELECT v.* FROM positions k CROSS JOIN LATERAL (
        SELECT * FROM position_versions WHERE {OF_POSITION} AND position <= %s ORDER BY position DESC LIMIT 1) v"""
_PAST_OF_HELD_MARKETS: Final = _PAST.replace("positions k", "positions_markets m JOIN positions k USING (market_id)", 1)

_PRICE_NOW: Final = "m.prices[array_position(m.outcomes, s.outcome)]"
_PRICE_PAST: Final = """
    (SELECT p.prices[array_position(m.outcomes, s.outcome)] FROM market_activity p WHERE p.market_id = s.market_id
        AND p.position <= %s ORDER BY p.position DESC LIMIT 1)"""


@query("positions", "markets")
def account_positions(
    connection: Connection,
    as_of: AsOf,
    account_id: str,
    *,
    market_id: str | None = None,
    closed: bool = False,
    limit: int | None = None,
    after: tuple[str, str] | None = None,
) -> list[Position]:
    """Return the account's positions by market and outcome, those without shares only if `closed`; without a limit, all."""
    where = Conditions("k.account_id = %s", account_id)
    where.add_if("k.market_id = %s", market_id)
    if after is not None:
        where.add("(k.market_id, k.outcome) > (%s, %s)", *after)
    price, source, at = _PRICE_NOW, _NOW, []
    if as_of.past:
        price, source, at = _PRICE_PAST, _PAST if closed else _PAST_OF_HELD_MARKETS, [as_of.position] * 2
        where.add("k.opened_position <= %s", as_of.position)
        if not closed:
            where.add(held_at("%s"), as_of.position)
    elif not closed:
        where.add("k.open")
    with whole_numbers(connection, args_row(Position)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS}, {price} FROM ({source} {where.sql}) s JOIN positions_markets m USING (market_id) "
            f"{'' if closed else 'WHERE shares > 0'} ORDER BY market_id, outcome LIMIT %s",
            [*at, *where.values, limit],
        ).fetchall()


@query("positions")
def holders(
    connection: Connection,
    as_of: AsOf,
    market_id: str,
    *,
    outcome: str | None = None,
    limit: int = 100,
    after: tuple[int, str, str] | None = None,
) -> list[Holder]:
    """Return the holders of shares of the market: most shares first, equal ones by account."""
    where = Conditions("k.market_id = %s", market_id)
    where.add_if("k.outcome = %s", outcome)
    held = Conditions("shares > 0")
    if after is not None:
        held.add("(-shares, account_id, outcome) > (-%s, %s, %s)", *after)
    source, at = (_PAST, [as_of.position]) if as_of.past else (_NOW, [])
    rows = connection.execute(
        f"SELECT account_id, outcome, shares, cost_basis FROM ({source} {where.sql}) s {held.sql} "
        "ORDER BY shares DESC, account_id, outcome LIMIT %s",
        [*at, *where.values, *held.values, limit],
    ).fetchall()
    return [Holder(*row) for row in rows]


@query("positions")
def settlements(
    connection: Connection, as_of: AsOf, account_id: str, *, limit: int = 50, after: tuple[int, str] | None = None
) -> list[AccountSettlement]:
    """Return the effects of the ends of markets on the account's positions, newest first."""
    where = Conditions("account_id = %s AND position <= %s", account_id, as_of.position)
    where.add(IS_SETTLEMENT)
    where.after("position, outcome", after)
    with whole_numbers(connection, args_row(AccountSettlement)) as cursor:
        return cursor.execute(
            f"SELECT {', '.join(AccountSettlement._fields)} FROM position_versions {where.sql} "
            "ORDER BY position DESC, outcome DESC LIMIT %s",
            [*where.values, limit],
        ).fetchall()
