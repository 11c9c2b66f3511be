"""Leaderboard: who has made most, traded most, forecast best; by day, week, month and for ever, also by category.

Sums are kept for each account, category and UTC day, and for ever. What is not a sum, the unrealized profit at the start
of a window, is written down whenever a day has ended. The past is answered from the histories of positions and prices.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from psycopg import Connection

from domain.account import TradeSettled
from domain.market import MarketActivated, MarketDrafted
from domain.orders import OrderAmended, OrderCanceled, OrderPlaced, OrderReduced, RestingOrderFilled
from domain.story import StoryPublished
from projections import basis, timeline
from projections.batch import Batch
from projections.prices import EXECUTED
from projections.projection import Projection
from projections.reading import AsOf
from projections.table import Big, Table
from projections.trades import Resting, filled
from projections.workspace import Workspace

DAY: Final = 86_400_000_000

NEEDS: Final = ("leaderboard", "accounts")
"""What `read` is to hold for the leaderboard of now."""

NEEDS_PAST: Final = ("leaderboard", "accounts", "positions", "prices", "markets", "trades", "timeline")
"""What `read` is to hold for a leaderboard of then."""


@dataclass(slots=True)
class HoldingRow:
    """An account's holding of an outcome; see `projections.basis`."""

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


@dataclass(slots=True)
class DayRow:
    """What an account did on one UTC day (its first microsecond) in one category."""

    day: int
    account_id: str
    category: str
    realized: int
    volume: int
    buys: int
    trades: int


@dataclass(slots=True)
class TotalRow:
    """What an account ever did in one category. `error / weight` is its Brier score over finalized markets, in 1e-12."""

    account_id: str
    category: str
    realized: int
    volume: int
    buys: int
    trades: int
    error: Big
    weight: Big


@dataclass(slots=True)
class ForecastRow:
    """An account's trades of one day in one outcome: sums of cost, cost * price after, cost * price after squared."""

    account_id: str
    market_id: str
    outcome: str
    day: int
    weight: int
    weighted: Big
    squared: Big


@dataclass(slots=True)
class MarketRow:
    """A market's category, prices, and payouts once it is finalized."""

    market_id: str
    category: str
    outcomes: list[str]
    prices: list[int]
    payouts: list[int] | None


class CategoryRow(NamedTuple):
    """The category of a story."""

    story_id: str
    category: str


class Opening(NamedTuple):
    """The unrealized profit of an account in a category when `day` began."""

    day: int
    account_id: str
    category: str
    unrealized: int


class OpenedDay(NamedTuple):
    """A day for whose beginning openings were written: they hold for the days after it, up to the next such day."""

    partition: int
    day: int


@dataclass(slots=True)
class ClockRow:
    """The day of the last event that this read model took in."""

    partition: int
    day: int


class Standing(NamedTuple):
    """A line of the leaderboard. `roi` and `brier` are in millionths, rounded down; None where there is nothing to divide by."""

    rank: int
    account_id: str
    name: str
    pnl: int
    realized: int
    unrealized: int
    volume: int
    buys: int
    roi: int | None
    brier: int | None
    trades: int


HOLDINGS = Table(
    "leaderboard_holdings",
    HoldingRow,
    key=["account_id", "market_id", "outcome"],
    group=["account_id", "market_id"],
    indexes=["market_id"],
)
DAYS = Table(
    "leaderboard_days", DayRow, key=["day", "account_id", "category"], group=["account_id", "day"]
)
TOTALS = Table("leaderboard_totals", TotalRow, key=["account_id", "category"], group=["account_id"])
FORECASTS = Table(
    "leaderboard_forecasts",
    ForecastRow,
    key=["account_id", "market_id", "outcome", "day"],
    group=["account_id", "market_id", "day"],
    indexes=["market_id", "day"],
)
MARKETS = Table("leaderboard_markets", MarketRow, key=["market_id"])
CATEGORIES = Table("leaderboard_categories", CategoryRow, key=["story_id"])
OPENINGS = Table("leaderboard_openings", Opening, key=["day", "account_id", "category"])
OPENED = Table("leaderboard_opened_days", OpenedDay, key=["partition", "day"])
CLOCK = Table("leaderboard_clock", ClockRow, key=["partition"])
RESTING = Table("leaderboard_resting", Resting, key=["order_id"])

KINDS: Final = (
    basis.HOLDING_KINDS
    | basis.RESOLVED
    | EXECUTED
    | {StoryPublished, MarketDrafted, MarketActivated, RestingOrderFilled, OrderCanceled, OrderReduced}
)


class _Fold:
    """One batch being folded: the rows of all tables at hand."""

    def __init__(self, batch: Batch, workspace: Workspace) -> None:
        self.batch = batch
        self.workspace = workspace
        self.events = batch.of(KINDS)
        self.holdings = workspace.load(HOLDINGS, batch.holdings)
        self.markets = workspace.load(MARKETS, batch.markets)
        self.resting = workspace.load(RESTING, batch.orders)
        self.categories = workspace.load(CATEGORIES, batch.stories)
        self.totals = workspace.load(TOTALS, batch.accounts)
        days, traded = self._days()
        self.days = workspace.load(DAYS, days)
        self.forecasts = workspace.load(FORECASTS, traded)
        clocks = workspace.load(CLOCK, [batch.partition])
        clock = clocks.get(batch.partition)
        if clock is None:
            clock = ClockRow(batch.partition, 0)
            clocks.put(batch.partition, clock)
        self.clock, self.clocks = clock, clocks

    def _days(self) -> tuple[set[tuple[str, int]], set[tuple[str, str, int]]]:
        """Return on which days which accounts did something, and in which markets they traded."""
        days: set[tuple[str, int]] = set()
        traded: set[tuple[str, str, int]] = set()
        event: Any
        for recorded in self.events:
            event = recorded.event
            kind = type(event)
            if kind in basis.HOLDING_KINDS:
                days.add((event.account_id, recorded.time - recorded.time % DAY))
            elif kind in EXECUTED:
                day = recorded.time - recorded.time % DAY
                traded.add((event.account_id, event.market_id, day))
                for fill in event.execution.fills:
                    if fill.account_id is not None:
                        traded.add((fill.account_id, event.market_id, day))
            elif kind is RestingOrderFilled:
                traded.add((event.account_id, event.market_id, recorded.time - recorded.time % DAY))
        return days, traded

    def run(self) -> None:
        event: Any
        for recorded in self.events:
            event = recorded.event
            kind = type(event)
            day = recorded.time - recorded.time % DAY
            if day != self.clock.day:
                self._new_day(day)
            if kind is TradeSettled:
                self._settle(event, day)
            elif kind in EXECUTED:
                self._execute(event, day)
            elif kind in basis.OTHER_KINDS:
                self._step(event, day)
            elif kind is RestingOrderFilled:
                market = self._market(event.market_id)
                if event.prices:
                    market.prices = list(event.prices)
                    self.markets.change(event.market_id)
                filled(self.resting, event.order_id, event.quantity)
                self._forecast(market, event.account_id, event.outcome, day, event.cost)
            else:
                self._other(event, kind)

    def _market(self, market_id: str) -> MarketRow:
        market = self.markets.get(market_id)
        assert market is not None, "a market is drafted first"
        return market

    def _other(self, event: Any, kind: type) -> None:
        if kind is OrderCanceled:
            self.resting.delete(event.order_id)
        elif kind is OrderReduced:
            self.resting.put(event.order_id, Resting(event.order_id, event.outcome, event.side, event.remaining))
        elif kind is StoryPublished:
            self.categories.put(event.story_id, CategoryRow(event.story_id, event.category))
        elif kind is MarketDrafted:
            category = self.categories.get(event.story_id)
            name = category.category if category else ""
            market = MarketRow(event.market_id, name, list(event.outcomes), list(event.initial_prices), None)
            self.markets.put(event.market_id, market)
        elif kind is MarketActivated:
            self._market(event.market_id).prices = list(event.prices)
            self.markets.change(event.market_id)
        else:
            self._score(self._market(event.market_id), event)

    def _settle(self, event: TradeSettled, day: int) -> None:
        holding = self._holding(event.account_id, event.market_id, event.outcome)
        before = holding.realized
        basis.trade(holding, event.side, event.quantity, event.cost, event.fee)
        buys = event.cost if event.side == "buy" else 0
        market = self._market(event.market_id)
        self._credit(event.account_id, market.category, day, holding.realized - before, event.cost, buys, 1)

    def _step(self, event: Any, day: int) -> None:
        market = self._market(event.market_id)
        realized = 0
        for step in basis.steps(event, market.outcomes, market.payouts):
            key = (event.account_id, event.market_id, step.outcome)
            if step.kind == "void" and self.holdings.get(key) is None:
                continue
            holding = self._holding(*key)
            before = holding.realized
            basis.apply(holding, step)
            realized += holding.realized - before
        self._credit(event.account_id, market.category, day, realized, 0, 0, 0)

    def _holding(self, account_id: str, market_id: str, outcome: str) -> HoldingRow:
        key = (account_id, market_id, outcome)
        holding = self.holdings.get(key)
        if holding is None:
            holding = HoldingRow(*key, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
            self.holdings.put(key, holding)
        else:
            self.holdings.change(key)
        return holding

    def _credit(
        self, account_id: str, category: str, day: int, realized: int, volume: int, buys: int, trades: int
    ) -> None:
        key = (day, account_id, category)
        row = self.days.get(key)
        if row is None:
            self.days.put(key, DayRow(*key, realized, volume, buys, trades))
        else:
            row.realized += realized
            row.volume += volume
            row.buys += buys
            row.trades += trades
            self.days.change(key)
        total = self.totals.get((account_id, category))
        if total is None:
            self.totals.put(
                (account_id, category), TotalRow(account_id, category, realized, volume, buys, trades, 0, 0)
            )
        else:
            total.realized += realized
            total.volume += volume
            total.buys += buys
            total.trades += trades
            self.totals.change((account_id, category))

    def _execute(self, event: OrderPlaced | OrderAmended, day: int) -> None:
        execution = event.execution
        if type(event) is OrderAmended and not execution.resting:
            self.resting.delete(event.order_id)
        if execution.fills:
            market = self._market(event.market_id)
            if execution.prices:
                market.prices = list(execution.prices)
                self.markets.change(event.market_id)
            self._forecast(market, event.account_id, event.outcome, day, execution.cost)
            for fill in execution.fills:
                if fill.order_id is not None and fill.account_id is not None:
                    other = filled(self.resting, fill.order_id, fill.quantity)
                    self._forecast(market, fill.account_id, other.outcome, day, fill.resting_cost)
        if execution.resting:
            self.resting.put(event.order_id, Resting(event.order_id, event.outcome, event.side, execution.remaining))

    def _forecast(self, market: MarketRow, account_id: str, outcome: str, day: int, cost: int) -> None:
        price = market.prices[market.outcomes.index(outcome)]
        key = (account_id, market.market_id, outcome, day)
        row = self.forecasts.get(key)
        if row is None:
            self.forecasts.put(key, ForecastRow(*key, cost, cost * price, cost * price * price))
        else:
            row.weight += cost
            row.weighted += cost * price
            row.squared += cost * price * price
            self.forecasts.change(key)

    def _score(self, market: MarketRow, event: Any) -> None:
        """Count the market's forecasts in the scores of those who made them, and no more by the payouts of before."""
        before, market.payouts = market.payouts, basis.fractions_of(event.payouts, market.outcomes)
        self.markets.change(market.market_id)
        self.workspace.flush()
        for payouts, sign in ((before, -1), (market.payouts, 1)):
            if payouts is not None:
                self.workspace.connection.execute(
                    _ADD_SCORES,
                    {"market": market.market_id, "outcomes": market.outcomes, "payouts": payouts, "sign": sign},
                )
        self.totals.forget()
        self.totals.load(self.workspace.connection, self.batch.accounts)

    def _new_day(self, day: int) -> None:
        """Write down what everybody's positions were worth when the last day ended."""
        last = self.clock.day
        self.clock.day = day
        self.clocks.change(self.batch.partition)
        if not last:
            return
        self.workspace.rows(OPENED).append(OpenedDay(self.batch.partition, last + DAY))
        self.workspace.flush()
        self.workspace.connection.execute(_WRITE_OPENINGS, {"day": last + DAY}, prepare=True)


_UNREALIZED: Final = (
    "div(h.shares::numeric * m.prices[array_position(m.outcomes, h.outcome)], 1000000)::int8 - h.cost_basis"
)

_ERROR: Final = "f.squared - 2 * {paid} * f.weighted + {paid}::numeric * {paid} * f.weight"

_ADD_SCORES: Final = f"""
    UPDATE leaderboard_totals t SET error = t.error + s.error * %(sign)s, weight = t.weight + s.weight * %(sign)s
    FROM (SELECT f.account_id, sum(f.weight) AS weight,
            sum({_ERROR.format(paid="(%(payouts)s::int8[])[array_position(%(outcomes)s::text[], f.outcome)]")}) AS error
        FROM leaderboard_forecasts f WHERE f.market_id = %(market)s GROUP BY f.account_id) s
    WHERE t.account_id = s.account_id
    AND t.category = (SELECT category FROM leaderboard_markets WHERE market_id = %(market)s)"""  # noqa: S608

_WRITE_OPENINGS: Final = f"""
    INSERT INTO leaderboard_openings (day, account_id, category, unrealized)
    SELECT %(day)s, h.account_id, m.category, sum({_UNREALIZED})
    FROM leaderboard_holdings h JOIN leaderboard_markets m USING (market_id) WHERE h.shares > 0
    GROUP BY h.account_id, m.category HAVING sum({_UNREALIZED}) <> 0"""  # noqa: S608


def fold(batch: Batch, workspace: Workspace) -> None:
    """Bring holdings, sums and forecasts up to date; end days and score markets where they fall."""
    _Fold(batch, workspace).run()


PROJECTION = Projection(
    "leaderboard",
    1,
    (HOLDINGS, DAYS, TOTALS, FORECASTS, MARKETS, CATEGORIES, OPENINGS, OPENED, CLOCK, RESTING),
    fold,
    scope="all",
)


# --- queries


def window_start(window: str, time: int) -> int | None:
    """Return when the day, week (from Monday) or month of a moment began, in UTC; None for `all`."""
    if window == "all":
        return None
    moment = datetime.fromtimestamp(time // 1_000_000, UTC).replace(hour=0, minute=0, second=0)
    if window == "week":
        moment -= timedelta(days=moment.weekday())
    elif window == "month":
        moment = moment.replace(day=1)
    return int(moment.timestamp()) * 1_000_000


_IN_CATEGORY: Final = "(%(category)s::text IS NULL OR {column} = %(category)s)"

_ALL_TIME: Final = f"""
    SELECT account_id, realized, 0::int8 AS unrealized, volume, buys, trades, error, weight
    FROM leaderboard_totals WHERE {_IN_CATEGORY.format(column="category")}"""  # noqa: S608

_IN_WINDOW: Final = f"""
    SELECT account_id, realized, 0::int8 AS unrealized, volume, buys, trades, 0::numeric AS error, 0::numeric AS weight
    FROM leaderboard_days WHERE day >= %(start)s AND {_IN_CATEGORY.format(column="category")}
    UNION ALL
    SELECT account_id, 0, -unrealized, 0, 0, 0, 0, 0 FROM leaderboard_openings
    WHERE day = (SELECT max(day) FROM leaderboard_opened_days WHERE day <= %(start)s)
    AND {_IN_CATEGORY.format(column="category")}
    UNION ALL
    SELECT f.account_id, 0, 0, 0, 0, 0,
        {_ERROR.format(paid="m.payouts[array_position(m.outcomes, f.outcome)]")}, f.weight
    FROM leaderboard_forecasts f JOIN leaderboard_markets m USING (market_id)
    WHERE f.day >= %(start)s AND m.payouts IS NOT NULL AND {_IN_CATEGORY.format(column="m.category")}"""  # noqa: S608

_NOW: Final = f"""
    UNION ALL
    SELECT h.account_id, 0, {_UNREALIZED}, 0, 0, 0, 0, 0
    FROM leaderboard_holdings h JOIN leaderboard_markets m USING (market_id)
    WHERE h.shares > 0 AND {_IN_CATEGORY.format(column="m.category")}"""  # noqa: S608

_VERSION: Final = """
    SELECT k.account_id, {sign} * v.realized, {sign} * ({worth} - v.cost_basis), {sign} * v.volume, {sign} * v.buys,
        {sign} * v.trades, 0::numeric AS error, 0::numeric AS weight
    FROM positions k JOIN markets m USING (market_id) CROSS JOIN LATERAL (
        SELECT * FROM position_versions WHERE account_id = k.account_id AND market_id = k.market_id
        AND outcome = k.outcome AND position <= {at} ORDER BY position DESC LIMIT 1) v
    LEFT JOIN LATERAL (
        SELECT prices FROM prices WHERE market_id = k.market_id AND v.shares > 0 AND position <= {at}
        ORDER BY position DESC LIMIT 1) p ON true
    WHERE {in_category}"""

_WORTH: Final = "coalesce(div(v.shares::numeric * p.prices[array_position(m.outcomes, k.outcome)], 1000000)::int8, 0)"

_FORECASTS_THEN: Final = """
    SELECT t.account_id, 0, 0, 0, 0, 0, t.cost * (t.price - paid.fraction)::numeric ^ 2, t.cost
    FROM (SELECT market_id, position, account_id, outcome, cost, price_after AS price FROM trades
        UNION ALL SELECT market_id, position, resting_account_id, resting_outcome, resting_cost, resting_price_after
        FROM trades WHERE resting_account_id IS NOT NULL) t
    JOIN (SELECT m.market_id, m.outcomes, l.payouts FROM markets m CROSS JOIN LATERAL (
            SELECT status, payouts FROM market_lifecycle WHERE market_id = m.market_id AND position <= %(at)s
            ORDER BY position DESC LIMIT 1) l WHERE l.status = 'finalized' AND {in_category}) m USING (market_id)
    CROSS JOIN LATERAL (SELECT m.payouts[array_position(m.outcomes, t.outcome)] AS fraction) paid
    WHERE t.position > %(before)s AND t.position <= %(at)s"""

_RANKED: Final = """
    WITH sums AS (
        SELECT account_id, sum(realized)::int8 AS realized, sum(unrealized)::int8 AS unrealized,
            sum(volume)::int8 AS volume, sum(buys)::int8 AS buys, sum(trades)::int8 AS trades,
            sum(error) AS error, sum(weight) AS weight
        FROM ({parts}) parts(account_id, realized, unrealized, volume, buys, trades, error, weight) GROUP BY account_id),
    lines AS (
        SELECT *, realized + unrealized AS pnl, floor((realized + unrealized)::numeric * 1000000 / nullif(buys, 0))::int8 AS roi,
            div(error, nullif(weight, 0) * 1000000)::int8 AS brier
        FROM sums WHERE trades <> 0 OR realized <> 0 OR unrealized <> 0),
    ranked AS (SELECT *, rank() OVER (ORDER BY {order}) AS rank FROM lines WHERE {sort} IS NOT NULL)
    SELECT r.rank, r.account_id, coalesce(a.name, ''), r.pnl, r.realized, r.unrealized, r.volume, r.buys, r.roi, r.brier,
        r.trades
    FROM ranked r LEFT JOIN accounts a USING (account_id) ORDER BY r.rank, r.account_id LIMIT %(limit)s"""

SORTS: Final = {"pnl": "pnl DESC", "volume": "volume DESC", "roi": "roi DESC", "brier": "brier"}
WINDOWS: Final = ("day", "week", "month", "all")


def leaderboard(
    connection: Connection,
    as_of: AsOf,
    *,
    sort: str = "pnl",
    window: str = "all",
    category: str | None = None,
    limit: int = 100,
) -> list[Standing]:
    """Return the best accounts by `sort` (one of `SORTS`) in the window that the moment of `as_of` lies in.

    Equal values share a rank and the next rank skips; without a value (no purchase for roi, no finalized market for
    brier) there is no line. `read` must hold `NEEDS`, for the past `NEEDS_PAST`.
    """
    start = window_start(window, as_of.time)
    values: dict[str, Any] = {"category": category, "limit": limit, "start": start, "at": as_of.position, "before": 0}
    if as_of.past:
        in_category = _IN_CATEGORY.format(column="m.category")
        parts = _VERSION.format(sign="1", at="%(at)s", worth=_WORTH, in_category=in_category)
        if start is not None:
            values["before"] = timeline.position_before(connection, start)
            parts += " UNION ALL " + _VERSION.format(sign="-1", at="%(before)s", worth=_WORTH, in_category=in_category)
        parts += " UNION ALL " + _FORECASTS_THEN.format(in_category=in_category)
    else:
        parts = (_ALL_TIME if start is None else _IN_WINDOW) + _NOW
    query = _RANKED.format(parts=parts, order=SORTS[sort], sort=sort)
    return [Standing(*row) for row in connection.execute(query, values).fetchall()]
