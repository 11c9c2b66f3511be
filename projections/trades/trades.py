"""Trades: every fill, with both its sides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain.events import Recorded
from domain.market import MarketDrafted, Payout
from domain.money import MICRO, divide_half_even
from domain.orders import OrderAmended, OrderCanceled, OrderReduced, RestingOrderFilled
from domain.story import StoryPublished
from projections.machine.batch import EXECUTED, Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Rows, Workspace
from projections.market_facts import RESOLVED, fractions_of
from projections.reading import AsOf, Conditions
from projections.trades import scores


class Trade(NamedTuple):
    """One fill; `number` counts those of one event, from 0.

    `outcome`, `side`, `account_id`, `order_id` are those of the party that `role` names: the taker or, where the maker
    came to a resting order's price, that resting order. `source` is what it traded with: the maker or an order, then the
    other party is in `resting_*`; its outcome is another one where two bids met to make complete sets.
    `cost` is without `fee`, the fee of the whole execution stands on its first fill. `price_after` is the maker's price
    of the outcome after the event, `resting_price_after` that of the other party's outcome.
    """

    partition: int
    position: int
    number: int
    time: int
    market_id: str
    outcome: str
    side: str
    price: int
    quantity: int
    cost: int
    fee: int
    source: str
    role: str
    account_id: str
    order_id: str
    resting_account_id: str | None
    resting_order_id: str | None
    resting_outcome: str | None
    resting_side: str | None
    resting_cost: int
    price_after: int
    resting_price_after: int | None

    @property
    def key(self) -> tuple[int, int]:
        """Its place in lists, newest first."""
        return self.position, self.number


@dataclass(frozen=True, slots=True)
class Fill:
    """A trade as one of its parties sees it."""

    position: int
    number: int
    time: int
    market_id: str
    outcome: str
    side: str
    role: str
    order_id: str
    price: int
    quantity: int
    cost: int
    fee: int

    @property
    def key(self) -> tuple[int, int]:
        """Its place in lists, newest first."""
        return self.position, self.number


@dataclass(slots=True)
class MarketPrices:
    """A market's category, outcomes and prices; its payouts once it is finalized."""

    market_id: str
    category: str
    outcomes: list[str]
    prices: list[int]
    payouts: list[int] | None


class Resting(NamedTuple):
    """What a trade has to say of an order that rests now."""

    order_id: str
    outcome: str
    side: str
    remaining: int


class Category(NamedTuple):
    """The category of a story, which is that of its markets."""

    story_id: str
    category: str


TRADES = Table(
    "trades",
    Trade,
    key=["market_id", "position", "number"],
    indexes=[
        "account_id, position, number",
        "resting_account_id, position, number WHERE resting_account_id IS NOT NULL",
    ],
)
PRICES_NOW = Table("trades_markets", MarketPrices, key=["market_id"])
RESTING = Table("trades_resting", Resting, key=["order_id"])
CATEGORIES = Table("trades_categories", Category, key=["story_id"])

KINDS: Final = EXECUTED | RESOLVED | {StoryPublished, MarketDrafted, OrderCanceled, OrderReduced, RestingOrderFilled}


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add a row for each fill; score the trades of a market when it is finalized."""
    fills = Fills(batch, workspace)
    markets, resting = fills.markets, fills.resting
    event: Any
    for recorded in batch.of(KINDS):
        event = recorded.event
        kind = type(event)
        if kind in EXECUTED:
            if event.execution.fills:
                fills.execute(recorded)
            if event.execution.resting:
                order = Resting(event.order_id, event.outcome, event.side, event.execution.remaining)
                resting.put(event.order_id, order)
            elif kind is OrderAmended:
                resting.delete(event.order_id)
        elif kind is RestingOrderFilled:
            fills.sweep(recorded)
        elif kind is OrderCanceled:
            resting.delete(event.order_id)
        elif kind is OrderReduced:
            resting.put(event.order_id, Resting(event.order_id, event.outcome, event.side, event.remaining))
        elif kind in RESOLVED:
            _score(workspace, markets.cache[event.market_id], event.payouts, recorded.position)
            markets.change(event.market_id)
        else:
            _follow_market(batch, workspace, recorded)


def _follow_market(batch: Batch, workspace: Workspace, recorded: Recorded) -> None:
    """Take in what a market is."""
    markets, categories = workspace.rows(PRICES_NOW), workspace.rows(CATEGORIES)
    event: Any = recorded.event
    if isinstance(event, StoryPublished):
        categories.put(event.story_id, Category(event.story_id, event.category))
    else:
        found = workspace.load(CATEGORIES, lambda: batch.stories).get(event.story_id)
        category = found.category if found else ""
        outcomes, prices = list(event.outcomes), list(event.initial_prices)
        markets.put(event.market_id, MarketPrices(event.market_id, category, outcomes, prices, None))
        workspace.notes[event.market_id] = []


class Fills:
    """Takes in the fills of one batch: a row for each, and the sides of its parties while all of the market are kept."""

    def __init__(self, batch: Batch, workspace: Workspace) -> None:
        self.markets: Rows[MarketPrices] = workspace.load(PRICES_NOW, lambda: batch.markets)
        self.resting: Rows[Resting] = workspace.load(RESTING, lambda: batch.orders)
        self._append = workspace.rows(TRADES).append
        self._notes = workspace.notes
        self._partition = batch.partition

    def execute(self, recorded: Recorded) -> None:
        """Take in a taker's order."""
        event: Any = recorded.event
        position, time, fee = recorded.position, recorded.time, event.execution.fee
        market_id, outcome, side = event.market_id, event.outcome, event.side
        account_id, order_id = event.account_id, event.order_id
        market = self._price(market_id, event.execution.prices)
        place = market.outcomes.index(outcome)
        price_after = market.prices[place]
        sides = self._notes.get(market_id)
        for number, fill in enumerate(event.execution.fills):
            other_outcome = other_side = other_price = None
            if fill.order_id is not None:
                _, other_outcome, other_side, _ = self._fill(fill.order_id, fill.quantity)
                other_place = market.outcomes.index(other_outcome)
                other_price = market.prices[other_place]
                if sides is not None:
                    sides.append((fill.account_id, time, other_place, fill.resting_cost, other_price))
            if sides is not None:
                sides.append((account_id, time, place, fill.cost, price_after))
            self._append(
                (
                    self._partition,
                    position,
                    number,
                    time,
                    market_id,
                    outcome,
                    side,
                    fill.price,
                    fill.quantity,
                    fill.cost,
                    fee,
                    fill.source,
                    "taker",
                    account_id,
                    order_id,
                    fill.account_id,
                    fill.order_id,
                    other_outcome,
                    other_side,
                    fill.resting_cost,
                    price_after,
                    other_price,
                )
            )
            fee = 0

    def sweep(self, recorded: Recorded) -> None:
        """Take in a resting order that the maker's price came to."""
        event: Any = recorded.event
        market = self._price(event.market_id, event.prices)
        self._fill(event.order_id, event.quantity)
        place = market.outcomes.index(event.outcome)
        if (sides := self._notes.get(event.market_id)) is not None:
            sides.append((event.account_id, recorded.time, place, event.cost, market.prices[place]))
        self._append(
            (
                self._partition,
                recorded.position,
                0,
                recorded.time,
                event.market_id,
                event.outcome,
                event.side,
                divide_half_even(event.cost * MICRO, event.quantity),
                event.quantity,
                event.cost,
                0,
                "amm",
                "resting",
                event.account_id,
                event.order_id,
                None,
                None,
                None,
                None,
                0,
                market.prices[place],
                None,
            )
        )

    def _price(self, market_id: str, prices: Sequence[int]) -> MarketPrices:
        """Return the market, with these prices if there are any."""
        market = self.markets.cache[market_id]
        if prices:
            market.prices = list(prices)
            self.markets.changed[market_id] = market
        return market

    def _fill(self, order_id: str, quantity: int) -> Resting:
        """Take a fill off an order that rests, and return what it was before."""
        order = self.resting.get(order_id)
        assert order is not None, "a resting order was placed first"
        remaining = order.remaining - quantity
        if remaining:
            self.resting.put(order_id, order._replace(remaining=remaining))
        else:
            self.resting.delete(order_id)
        return order


def _score(workspace: Workspace, market: MarketPrices, payouts: Sequence[Payout], position: int) -> None:
    """Score the trades of a market by what it pays: from memory while that has all of them, else from the table."""
    before, market.payouts = market.payouts, fractions_of(payouts, market.outcomes)
    sides: Iterable[scores.Side] | None = workspace.notes.pop(market.market_id, None)
    if sides is None:
        workspace.rows(TRADES).make_ready(workspace.connection)
        values = {"market": market.market_id, "outcomes": market.outcomes}
        sides = workspace.connection.execute(_SIDES, values).fetchall()
    scores.score(workspace, scores.Scored(market.category, sides, before, market.payouts), position)


_SIDES: Final = """
    SELECT account_id, time, array_position(%(outcomes)s::text[], outcome) - 1, cost, price_after
    FROM trades WHERE market_id = %(market)s
    UNION ALL
    SELECT resting_account_id, time, array_position(%(outcomes)s::text[], resting_outcome) - 1, resting_cost, resting_price_after
    FROM trades WHERE market_id = %(market)s AND resting_account_id IS NOT NULL"""


PROJECTION = Projection(
    "trades",
    6,
    (TRADES, PRICES_NOW, RESTING, CATEGORIES, *scores.TABLES),
    fold,
    scope="market",
    weight=6.9,
)


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


_OWN: Final = "position, number, time, market_id, outcome, side, role, order_id, price, quantity, cost, fee"
_OTHERS: Final = (
    "position, number, time, market_id, resting_outcome, resting_side, 'resting', resting_order_id, "
    "CASE WHEN resting_outcome = outcome THEN price ELSE 1000000 - price END, quantity, resting_cost, 0"
)


def account_fills(
    connection: Connection,
    as_of: AsOf,
    account_id: str,
    *,
    market_id: str | None = None,
    limit: int = 50,
    after: tuple[int, int] | None = None,
) -> list[Fill]:
    """Return the account's side of every trade it took part in, newest first."""
    parts: list[str] = []
    values: list[Any] = []
    for columns, account in ((_OWN, "account_id"), (_OTHERS, "resting_account_id")):
        where = Conditions(f"{account} = %s AND position <= %s", account_id, as_of.position)
        where.add_if("market_id = %s", market_id)
        where.after("position, number", after)
        parts.append(f"(SELECT {columns} FROM trades {where.sql} ORDER BY position DESC, number DESC LIMIT %s)")
        values += [*where.values, limit]
    with connection.cursor(row_factory=args_row(Fill)) as cursor:
        return cursor.execute(
            f"{' UNION ALL '.join(parts)} ORDER BY position DESC, number DESC LIMIT %s", [*values, limit]
        ).fetchall()
