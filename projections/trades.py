"""Trades: every fill, with both its sides."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain.events import Recorded
from domain.market import MarketDrafted, Payout
from domain.money import MICRO, divide_half_even
from domain.orders import OrderAmended, OrderCanceled, OrderReduced, RestingOrderFilled
from domain.story import StoryPublished
from projections.basis import RESOLVED, fractions_of
from projections.batch import EXECUTED, Batch
from projections.profits import DAY
from projections.projection import Projection
from projections.reading import AsOf, Conditions
from projections.table import Big, Table
from projections.workspace import Rows, Workspace


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


@dataclass(slots=True)
class ScoreTotal:
    """How an account's trades in the finalized markets of a category forecast them.

    `error` sums cost * (price after - paid)^2 in 1e-18 credits, `weight` the cost: their quotient is the Brier score, in 1e-12.
    """

    account_id: str
    category: str
    error: Big
    weight: Big


@dataclass(slots=True)
class ScoreDay:
    """The same for the trades of one UTC day (its first microsecond); `position` is that of the last change."""

    account_id: str
    category: str
    day: int
    position: int
    error: Big
    weight: Big


class ScoreVersion(NamedTuple):
    """An account's score total from `position` on."""

    account_id: str
    category: str
    position: int
    error: Big
    weight: Big


class ScoreDayVersion(NamedTuple):
    """An account's score of a day from `position` on."""

    account_id: str
    category: str
    day: int
    position: int
    error: Big
    weight: Big


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
SCORE_TOTALS = Table("trade_score_totals", ScoreTotal, key=["account_id", "category"])
SCORE_DAYS = Table("trade_score_days", ScoreDay, key=["account_id", "category", "day"], indexes=["day"])
SCORE_VERSIONS = Table("trade_score_versions", ScoreVersion, key=["account_id", "category", "position"], history=True)
SCORE_DAY_VERSIONS = Table(
    "trade_score_day_versions", ScoreDayVersion, key=["account_id", "category", "day", "position"], history=True
)

KINDS: Final = EXECUTED | RESOLVED | {StoryPublished, MarketDrafted, OrderCanceled, OrderReduced, RestingOrderFilled}


def fold(batch: Batch, workspace: Workspace) -> None:  # noqa: C901  one case an event
    """Add a row for each fill; score the trades of a market when it is finalized."""
    markets = workspace.load(PRICES_NOW, batch.markets)
    resting = workspace.load(RESTING, batch.orders)
    append = workspace.rows(TRADES).append
    event: Any
    for recorded in batch.of(KINDS):
        event = recorded.event
        kind = type(event)
        if kind in EXECUTED:
            market = markets.cache[event.market_id]
            execution = event.execution
            if execution.prices:
                market.prices = list(execution.prices)
                markets.change(event.market_id)
            if execution.fills:
                _execute(batch.partition, recorded, market, resting, append)
            if execution.resting:
                order = Resting(event.order_id, event.outcome, event.side, execution.remaining)
                resting.put(event.order_id, order)
            elif kind is OrderAmended:
                resting.delete(event.order_id)
        elif kind is RestingOrderFilled:
            market = markets.cache[event.market_id]
            if event.prices:
                market.prices = list(event.prices)
                markets.change(event.market_id)
            filled(resting, event.order_id, event.quantity)
            append(_swept(batch.partition, recorded, market))
        elif kind is OrderCanceled:
            resting.delete(event.order_id)
        elif kind is OrderReduced:
            resting.put(event.order_id, Resting(event.order_id, event.outcome, event.side, event.remaining))
        else:
            _follow_market(batch, workspace, recorded)


def _follow_market(batch: Batch, workspace: Workspace, recorded: Recorded) -> None:
    """Take in what a market is and what it pays."""
    markets, categories = workspace.rows(PRICES_NOW), workspace.rows(CATEGORIES)
    event: Any = recorded.event
    if isinstance(event, StoryPublished):
        categories.put(event.story_id, Category(event.story_id, event.category))
    elif isinstance(event, MarketDrafted):
        found = workspace.load(CATEGORIES, batch.stories).get(event.story_id)
        category = found.category if found else ""
        outcomes, prices = list(event.outcomes), list(event.initial_prices)
        markets.put(event.market_id, MarketPrices(event.market_id, category, outcomes, prices, None))
    else:
        _score(workspace, markets.cache[event.market_id], event.payouts, recorded.position)
        markets.change(event.market_id)


def _execute(
    partition: int,
    recorded: Recorded,
    market: MarketPrices,
    resting: Rows[Resting],
    append: Callable[[tuple[Any, ...]], None],
) -> None:
    """Append the fills of a taker's order."""
    event: Any = recorded.event
    position, time, fee = recorded.position, recorded.time, event.execution.fee
    market_id, outcome, side = event.market_id, event.outcome, event.side
    account_id, order_id = event.account_id, event.order_id
    price_after = market.prices[market.outcomes.index(outcome)]
    for number, fill in enumerate(event.execution.fills):
        other = None if fill.order_id is None else filled(resting, fill.order_id, fill.quantity)
        append(
            (
                partition,
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
                other and other.outcome,
                other and other.side,
                fill.resting_cost,
                price_after,
                other and market.prices[market.outcomes.index(other.outcome)],
            )
        )
        fee = 0


def _swept(partition: int, recorded: Recorded, market: MarketPrices) -> Trade:
    """Return the fill of a resting order by the maker."""
    event: Any = recorded.event
    return Trade(
        partition,
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
        "maker",
        "resting",
        event.account_id,
        event.order_id,
        None,
        None,
        None,
        None,
        0,
        market.prices[market.outcomes.index(event.outcome)],
        None,
    )


def filled(resting: Rows[Resting], order_id: str, quantity: int) -> Resting:
    """Take a fill off an order that rests, and return what it was before."""
    order = resting.get(order_id)
    assert order is not None, "a resting order was placed first"
    remaining = order.remaining - quantity
    if remaining:
        resting.put(order_id, order._replace(remaining=remaining))
    else:
        resting.delete(order_id)
    return order


def _score(workspace: Workspace, market: MarketPrices, payouts: Sequence[Payout], position: int) -> None:
    """Score the trades of a market by what it pays, and no more by what it paid before a correction."""
    before, market.payouts = market.payouts, fractions_of(payouts, market.outcomes)
    workspace.rows(TRADES).flush(workspace.connection)
    changes: dict[tuple[str, int], tuple[int, int]] = {}
    for account_id, day, error, weight in _errors(workspace.connection, market, market.payouts):
        changes[account_id, day] = (error, weight)
    if before is not None:
        for account_id, day, error, _ in _errors(workspace.connection, market, before):
            changes[account_id, day] = (changes[account_id, day][0] - error, 0)
    category = market.category
    totals = workspace.load(SCORE_TOTALS, {(account_id, category) for account_id, _ in changes})
    days = workspace.load(SCORE_DAYS, [(account_id, category, day) for account_id, day in changes])
    keep = workspace.rows(SCORE_DAY_VERSIONS).append
    scored: dict[str, ScoreTotal] = {}
    for (account_id, day), (error, weight) in changes.items():
        total = totals.get((account_id, category))
        if total is None:
            total = ScoreTotal(account_id, category, 0, 0)
            totals.put((account_id, category), total)
        of_day = days.get((account_id, category, day))
        if of_day is None:
            of_day = ScoreDay(account_id, category, day, position, 0, 0)
            days.put((account_id, category, day), of_day)
        scored[account_id] = total
        total.error += error
        total.weight += weight
        of_day.position = position
        of_day.error += error
        of_day.weight += weight
        totals.change((account_id, category))
        days.change((account_id, category, day))
        keep((account_id, category, day, position, of_day.error, of_day.weight))
    keep_total = workspace.rows(SCORE_VERSIONS).append
    for account_id, total in scored.items():
        keep_total((account_id, category, position, total.error, total.weight))


def _errors(connection: Connection, market: MarketPrices, payouts: list[int]) -> Iterable[tuple[str, int, int, int]]:
    """Return error and weight of each account's trades in a market by day, where it pays so much."""
    values = {"market": market.market_id, "outcomes": market.outcomes, "payouts": payouts, "day": DAY}
    return connection.execute(_ERRORS, values).fetchall()


_ERRORS: Final = """
    SELECT account_id, time - time %% %(day)s AS day, sum(cost::numeric * (error * error)), sum(cost)
    FROM (SELECT account_id, time, cost, price - (%(payouts)s::int8[])[array_position(%(outcomes)s::text[], outcome)] AS error
        FROM (
            SELECT time, account_id, outcome, cost, price_after AS price FROM trades WHERE market_id = %(market)s
            UNION ALL
            SELECT time, resting_account_id, resting_outcome, resting_cost, resting_price_after
            FROM trades WHERE market_id = %(market)s AND resting_account_id IS NOT NULL) sides) errors
    GROUP BY account_id, day ORDER BY account_id, day"""
"""Every trade counts once for each of its parties, by the price of the party's outcome after it."""


PROJECTION = Projection(
    "trades",
    4,
    (TRADES, PRICES_NOW, RESTING, CATEGORIES, SCORE_TOTALS, SCORE_DAYS, SCORE_VERSIONS, SCORE_DAY_VERSIONS),
    fold,
    scope="market",
    cost=9.1,
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
