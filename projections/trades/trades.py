"""Trades: every fill, with both its sides."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from psycopg import Connection
from psycopg.rows import args_row

from domain.events import Recorded
from domain.market import (
    LiquidityAdded,
    MarketActivated,
    MarketCorrected,
    MarketDrafted,
    MarketFinalized,
    MarketResumed,
)
from domain.money import Credits, Price, Shares, Time, average_price
from domain.orders import Execution, Fill, OrderAmended, OrderCanceled, OrderPlaced, OrderReduced, RestingOrderFilled
from domain.story import StoryPublished
from projections import market_facts
from projections.forms import Count
from projections.log_index import TYPE_CODES
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.row_values import copying
from projections.machine.table import Table
from projections.machine.workspace import Notes, Workspace
from projections.market_facts import KnownMarkets, MarketFacts, Resolved, category_table, facts_table
from projections.reading import AsOf, Conditions, query
from projections.trades import scores


class Trade(NamedTuple):
    """One fill; `number` counts those of one event, from 0.

    `outcome`, `side`, `account_id` and `order_id` are those of the party that `role` names: the taker or, where the AMM
    filled a resting order, the resting order. `source` says what that party traded with: the AMM, or an order in the book.
    In the latter case `resting_*` name the other party. Its outcome is another one where two bids met to make complete
    sets. `cost` excludes `fee`; the fee of a whole execution stands on its first fill. `price_after` is the AMM's price of
    the outcome after the whole command that traded, with the sweep that it set off: all fills of a command have the same
    one. `resting_price_after` is its price of the other party's outcome.
    """

    partition: int
    position: Count
    number: Count
    time: Time
    market_id: str
    outcome: str
    side: str
    price: Price
    quantity: Shares
    cost: Credits
    fee: Credits
    source: str
    role: str
    account_id: str
    order_id: str
    resting_account_id: str | None
    resting_order_id: str | None
    resting_outcome: str | None
    resting_side: str | None
    resting_cost: Credits
    price_after: Price
    resting_price_after: Price | None

    @property
    def key(self) -> tuple[int, int]:
        """Its place in lists, newest first."""
        return self.position, self.number


@dataclass(frozen=True, slots=True)
class AccountFill:
    """A trade as one of its parties sees it."""

    position: Count
    number: Count
    time: Time
    market_id: str
    outcome: str
    side: str
    role: str
    order_id: str
    price: Price
    quantity: Shares
    cost: Credits
    fee: Credits

    @property
    def key(self) -> tuple[int, int]:
        """Its place in lists, newest first."""
        return self.position, self.number


@dataclass(slots=True)
class RestingParty:
    """An order that rests now: what the trades that fill it say of it, and the shares that remain of it."""

    order_id: str
    outcome: str
    side: str
    limit_price: int
    remaining: int


TRADES = Table(
    "trades",
    Trade,
    key=["market_id", "position", "number"],
    indexes=[
        "account_id, position, number",
        "resting_account_id, position, number WHERE resting_account_id IS NOT NULL",
    ],
)
MARKETS = facts_table("trades_markets", MarketFacts)
RESTING = Table("trades_resting", RestingParty, key=["order_id"], by="order")
CATEGORIES = category_table("trades_categories")

SIDES: Final[Notes[scores.TradeSide]] = Notes("sides")
"""All sides of a market's trades."""

KINDS: Final = market_facts.KINDS | {LiquidityAdded, MarketResumed, OrderCanceled, OrderReduced}


@dataclass(frozen=True, slots=True)
class OtherParty:
    """The resting order that an order traded with, if any, and the AMM's price of its outcome after the command."""

    resting_account_id: str | None = None
    resting_order_id: str | None = None
    resting_outcome: str | None = None
    resting_side: str | None = None
    resting_price_after: int | None = None


AMM: Final = OtherParty()


class TradedOrder(Protocol):
    """The fields that a trade copies from the event of the order that traded."""

    outcome: str
    side: str
    account_id: str
    order_id: str


_taken = copying(Trade, MarketFacts, TradedOrder, Fill, Recorded, OtherParty)
_rested = copying(Trade, MarketFacts, TradedOrder, RestingOrderFilled, Recorded, OtherParty)


def fold(batch: Batch, workspace: Workspace) -> None:  # noqa: C901, PLR0912  one case an event
    """Add a row for each fill; score the trades of a market when it is finalized or corrected."""
    fills = Fills(batch, workspace)
    markets, resting = fills.markets, fills.resting
    for recorded in batch.of(KINDS):
        match recorded.event:
            case OrderPlaced() as event:
                execution = event.execution
                if execution.fills:
                    fills.take(event, execution, recorded)
                if execution.resting:
                    assert event.limit_price is not None, "only limit orders rest"
                    resting.add(
                        RestingParty(event.order_id, event.outcome, event.side, event.limit_price, execution.remaining)
                    )
            case RestingOrderFilled() as event:
                fills.fill_resting(event, recorded)
            case OrderAmended() as event:
                execution = event.execution
                if execution.fills:
                    fills.take(event, execution, recorded)
                if execution.resting:
                    order = resting.edit(event.order_id)
                    order.limit_price, order.remaining = event.limit_price, execution.remaining
                else:
                    resting.remove(event.order_id)
            case OrderCanceled() as event:
                resting.remove(event.order_id)
            case OrderReduced() as event:
                resting.edit(event.order_id).remaining = event.remaining
            case MarketDrafted() as event:
                markets.draft(event)
                fills.sides[event.market_id] = []
            case MarketFinalized() | MarketCorrected() as event:
                _score(workspace, markets, event, recorded.position)
            case LiquidityAdded() | MarketResumed() as event:
                markets.price(event.market_id, event.swept_prices)
            case StoryPublished() | MarketActivated() as event:
                markets.follow(event)


class Fills:
    """Takes in the fills of a batch: adds a row for each, and notes the sides of its parties.

    The prices of a market are here those after the whole command. The event of the order, or of the operator's command that
    sets off a sweep, names them at once, before the sweep that leads there, so a row never changes.
    """

    def __init__(self, batch: Batch, workspace: Workspace) -> None:
        self.markets = KnownMarkets(workspace, MARKETS, CATEGORIES)
        self._edit_market = self.markets.rows.edit
        self.resting = workspace.rows(RESTING)
        self.sides = workspace.notes_of(SIDES)
        self._append = workspace.rows(TRADES).append
        self._partition = batch.partition

    def take(self, event: OrderPlaced | OrderAmended, execution: Execution, recorded: Recorded) -> None:
        """Take in the fills of a taker's order."""
        account_id, time = event.account_id, recorded.time
        market = self._edit_market(event.market_id)
        if prices := execution.final_prices:  # as `KnownMarkets.price` does, without another call for each order
            market.prices = list(prices)
        outcome = market.outcomes.index(event.outcome)
        price_after = market.prices[outcome]
        sides = self.sides.get(market.market_id)
        fee = execution.fee
        for number, fill in enumerate(execution.fills):
            other = AMM
            if fill.order_id is not None:
                other = self._fill_other(fill, market, recorded)
            if sides is not None:
                sides.append((account_id, time, outcome, fill.cost, price_after))
            self._append(
                _taken(
                    market,
                    event,
                    fill,
                    recorded,
                    other,
                    partition=self._partition,
                    number=number,
                    fee=fee,
                    role="taker",
                    price_after=price_after,
                )
            )
            fee = 0

    def fill_resting(self, event: RestingOrderFilled, recorded: Recorded) -> None:
        """Take in the fill of a resting order by the AMM."""
        market = self.markets.price(event.market_id, () if event.more else event.prices)
        order = self._reduce(event.order_id, event.quantity)
        outcome = market.outcomes.index(event.outcome)
        price_after = market.prices[outcome]
        if (sides := self.sides.get(event.market_id)) is not None:
            sides.append((event.account_id, recorded.time, outcome, event.cost, price_after))
        self._append(
            _rested(
                market,
                event,
                event,
                recorded,
                AMM,
                partition=self._partition,
                number=0,
                price=average_price(event.cost, event.quantity, order.limit_price, buys=event.side == "buy"),
                fee=0,
                source="amm",
                role="resting",
                resting_cost=0,
                price_after=price_after,
            )
        )

    def _fill_other(self, fill: Fill, market: MarketFacts, recorded: Recorded) -> OtherParty:
        """Take in the other side of a fill, and return whose it is."""
        assert fill.order_id is not None, "the AMM is no other party"
        assert fill.account_id is not None, "every order has an account"
        order = self._reduce(fill.order_id, fill.quantity)
        outcome = market.outcomes.index(order.outcome)
        price_after = market.prices[outcome]
        if (sides := self.sides.get(market.market_id)) is not None:
            sides.append((fill.account_id, recorded.time, outcome, fill.resting_cost, price_after))
        return OtherParty(
            resting_account_id=fill.account_id,
            resting_order_id=fill.order_id,
            resting_outcome=order.outcome,
            resting_side=order.side,
            resting_price_after=price_after,
        )

    def _reduce(self, order_id: str, quantity: int) -> RestingParty:
        """Take a fill off a resting order, and return the order."""
        order = self.resting.edit(order_id)
        order.remaining -= quantity
        if not order.remaining:
            self.resting.remove(order_id)
        return order


def _score(workspace: Workspace, markets: KnownMarkets[MarketFacts], event: Resolved, position: int) -> None:
    """Score the trades of a market by what it pays: from the notes where they are complete, else from the table."""
    before = markets.rows.edit(event.market_id).payouts
    market = markets.resolve(event)
    assert market.payouts is not None, "just set"
    sides = workspace.notes_of(SIDES).pop(market.market_id, None)
    if sides is None:
        sides = workspace.query(_SIDES, {"market": market.market_id, "outcomes": market.outcomes}, TRADES)
    scores.score(workspace, scores.Scored(market.category, sides, before, market.payouts), position)


_SIDES: Final = """
    SELECT account_id, time, array_position(%(outcomes)s::text[], outcome) - 1, cost, price_after
    FROM trades WHERE market_id = %(market)s
    UNION ALL
    SELECT resting_account_id, time, array_position(%(outcomes)s::text[], resting_outcome) - 1, resting_cost, resting_price_after
    FROM trades WHERE market_id = %(market)s AND resting_account_id IS NOT NULL"""

PROJECTION = Projection(
    "trades", 8, (TRADES, MARKETS, RESTING, CATEGORIES, *scores.TABLES), fold, scope="market", weight=6.9
)


@query("trades")
def market_trades(
    connection: Connection, as_of: AsOf, market_id: str, *, limit: int = 50, after: tuple[int, int] | None = None
) -> list[Trade]:
    """Return the trades of a market, newest first."""
    where = Conditions("market_id = %s AND position <= %s", market_id, as_of.position)
    where.after("position, number", after)
    with connection.cursor(row_factory=args_row(Trade)) as cursor:
        return cursor.execute(
            f"SELECT {TRADES.column_list} FROM trades {where.sql} ORDER BY position DESC, number DESC LIMIT %s",
            [*where.values, limit],
        ).fetchall()


@query("trades", "log_index")
def tape(connection: Connection, as_of: AsOf, *, limit: int = 50, after: tuple[int, int] | None = None) -> list[Trade]:
    """Return the trades of all markets, newest first.

    The index of the log says whose order traded at which position. Its cost is that of the events from the newest to the
    last one found, so that no index of the trades themselves has to follow every trade.
    """
    where = Conditions("t.position <= %s", as_of.position)
    where.after("t.position, t.number", after)
    values = [[*_TRADING], as_of.position if after is None else after[0], *where.values, limit]
    with connection.cursor(row_factory=args_row(Trade)) as cursor:
        return cursor.execute(
            f"SELECT {', '.join(f't.{name}' for name in TRADES.columns)} FROM (SELECT account_id, position FROM log_index "
            "WHERE partition = 0 AND type_code = ANY(%s) AND position <= %s ORDER BY position DESC) i "
            "CROSS JOIN LATERAL (SELECT * FROM trades WHERE account_id = i.account_id AND position = i.position) t "
            f"{where.sql} ORDER BY i.position DESC, t.number DESC LIMIT %s",
            values,
        ).fetchall()


_TRADING: Final = [TYPE_CODES[name] for name in ("OrderPlaced", "OrderAmended", "RestingOrderFilled")]

_OWN: Final = "position, number, time, market_id, outcome, side, role, order_id, price, quantity, cost, fee"
_OTHERS: Final = (
    "position, number, time, market_id, resting_outcome, resting_side, 'resting', resting_order_id, "
    "CASE WHEN resting_outcome = outcome THEN price ELSE 1000000 - price END, quantity, resting_cost, 0"
)


@query("trades")
def account_fills(
    connection: Connection,
    as_of: AsOf,
    account_id: str,
    *,
    market_id: str | None = None,
    limit: int = 50,
    after: tuple[int, int] | None = None,
) -> list[AccountFill]:
    """Return the account's side of every trade that it took part in, newest first."""
    parts: list[str] = []
    values: list[Any] = []
    for columns, account in ((_OWN, "account_id"), (_OTHERS, "resting_account_id")):
        where = Conditions(f"{account} = %s AND position <= %s", account_id, as_of.position)
        where.add_if("market_id = %s", market_id)
        where.after("position, number", after)
        parts.append(f"(SELECT {columns} FROM trades {where.sql} ORDER BY position DESC, number DESC LIMIT %s)")
        values += [*where.values, limit]
    with connection.cursor(row_factory=args_row(AccountFill)) as cursor:
        return cursor.execute(
            f"{' UNION ALL '.join(parts)} ORDER BY position DESC, number DESC LIMIT %s", [*values, limit]
        ).fetchall()
