"""Candles of 1 minute, 1 hour and 1 day: aligned to UTC, end-exclusive, one row for all outcomes of a market.

Rows exist only for periods in which something happened; a query fills the gaps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from psycopg import Connection

from domain.market import MarketActivated, MarketDrafted
from domain.orders import OrderAmended, OrderPlaced, RestingOrderFilled
from projections import timeline
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Rows, Workspace
from projections.markets.prices import signed
from projections.reading import AsOf, query
from projections.times import DAY, HOUR, MINUTE

Period = Literal["1m", "1h", "1d"]

PERIODS: Final[dict[Period, int]] = {"1m": MINUTE, "1h": HOUR, "1d": DAY}
"""The length of each period in microseconds."""

CANDLES_MAX: Final = 5_000
"""The most candles of one answer."""


@dataclass(slots=True)
class CandleRow:
    """One period of a market from `start`; lists are in the order of its outcomes.

    Prices are None for an outcome without a tick. `previous` are the prices before the period, None before the first tick.
    `volume` is in credits, `quantity` in shares, `trades` counts fills: each under the outcome that the taker traded.
    """

    partition: int
    market_id: str
    period: int
    start: int
    previous: list[int | None]
    open: list[int | None]
    high: list[int | None]
    low: list[int | None]
    close: list[int | None]
    volume: list[int]
    quantity: list[int]
    trades: list[int]


@dataclass(slots=True)
class Current:
    """A market's prices now, the names of its outcomes, and the start of the last minute that has rows (-1: none)."""

    market_id: str
    outcomes: list[str]
    prices: list[int | None]
    time: int


@dataclass(frozen=True, slots=True)
class Candle:
    """One outcome in one period, from `start` to before `end`."""

    start: int
    end: int
    open: int | None
    high: int | None
    low: int | None
    close: int | None
    previous: int | None
    volume: int
    quantity: int
    trades: int


CANDLES = Table("candles", CandleRow, key=["market_id", "period", "start"])
CURRENT = Table("candles_current", Current, key=["market_id"], by="market")

KINDS: Final = frozenset({OrderPlaced, OrderAmended, RestingOrderFilled, MarketActivated, MarketDrafted})


def fold(batch: Batch, workspace: Workspace) -> None:
    """Collect each minute of every market, and add it to the rows of its minute, hour and day."""
    markets = workspace.rows(CURRENT)
    minutes = Minutes(batch.partition, markets, workspace.rows(CANDLES))
    for recorded in batch.of(KINDS):
        match recorded.event:
            case OrderPlaced() | OrderAmended() as event:
                execution = event.execution
                if fills := execution.fills:
                    market = markets.edit(event.market_id)
                    minute = minutes.at(market, recorded.time)
                    _trade(minute, market.outcomes.index(event.outcome), execution.cost, execution.filled, len(fills))
                    _tick(minute, market, execution.prices)
            case RestingOrderFilled() as event:
                market = markets.edit(event.market_id)
                minute = minutes.at(market, recorded.time)
                _trade(minute, market.outcomes.index(event.outcome), event.cost, event.quantity, 1)
                _tick(minute, market, event.prices)
            case MarketActivated() as event:
                market = markets.edit(event.market_id)
                _tick(minutes.at(market, recorded.time), market, event.prices)
            case MarketDrafted() as event:
                outcomes = list(event.outcomes)
                markets.add(Current(event.market_id, outcomes, [None] * len(outcomes), -1))
    minutes.end()


class Minutes:
    """The minute that each market is in while a batch is folded."""

    def __init__(self, partition: int, markets: Rows[Current], candles: Rows[CandleRow]) -> None:
        self._partition = partition
        self._markets = markets
        self._candles = candles
        self._open: dict[str, CandleRow] = {}
        self._touched: dict[tuple[str, int], CandleRow] = {}

    def at(self, market: Current, time: int) -> CandleRow:
        """Return the market's minute at this time, an empty one where the batch has not come to it before."""
        minute = self._open.get(market.market_id)
        if minute is None or time >= minute.start + MINUTE:
            if minute is not None:
                self._add(market, minute)
            minute = self._open[market.market_id] = _empty(self._partition, market, MINUTE, time)
        return minute

    def end(self) -> None:
        """Add the minutes that are open at the end of the batch."""
        for market_id, minute in self._open.items():
            self._add(self._markets.edit(market_id), minute)

    def _add(self, market: Current, minute: CandleRow) -> None:
        """Add a minute to the rows of the minute, hour and day that it lies in."""
        market_id, time = market.market_id, minute.start
        for period in PERIODS.values():
            row = self._touched.get((market_id, period))
            if row is None or time >= row.start + period:
                row = self._touched[market_id, period] = self._row(market, minute, period, time - time % period)
            if row is not minute:
                _merge(row, minute)
        market.time = time

    def _row(self, market: Current, minute: CandleRow, period: int, start: int) -> CandleRow:
        """Return a row to be changed; a missing one begins with this minute, or is this minute."""
        key = (market.market_id, period, start)
        if market.time >= start and self._candles.get(key) is not None:
            return self._candles.edit(key)
        row = minute if period == MINUTE else _empty(self._partition, market, period, start)
        row.previous = minute.previous
        return self._candles.add(row)


def _empty(partition: int, market: Current, period: int, time: int) -> CandleRow:
    """Return the period in which the time lies, as it is before anything has happened in it."""
    count = len(market.outcomes)
    none: list[int | None] = [None] * count
    return CandleRow(
        partition=partition,
        market_id=market.market_id,
        period=period,
        start=time - time % period,
        previous=list(market.prices),
        open=none,
        high=list(none),
        low=list(none),
        close=list(none),
        volume=[0] * count,
        quantity=[0] * count,
        trades=[0] * count,
    )


def _trade(minute: CandleRow, i: int, cost: int, quantity: int, trades: int) -> None:
    """Add what was traded of an outcome, by its index."""
    minute.volume[i] += cost
    minute.quantity[i] += quantity
    minute.trades[i] += trades


def _tick(minute: CandleRow, market: Current, prices: Sequence[int]) -> None:
    """Take in the prices after an event; none, where they did not change."""
    before = market.prices
    for i, price in enumerate(prices):
        if price == before[i]:
            continue
        before[i] = minute.close[i] = price
        high, low = minute.high[i], minute.low[i]
        if high is None or low is None:
            minute.open[i] = minute.high[i] = minute.low[i] = price
        elif price > high:
            minute.high[i] = price
        elif price < low:
            minute.low[i] = price


def _merge(row: CandleRow, minute: CandleRow) -> None:
    """Add a later minute to a row."""
    for i, low in enumerate(minute.low):
        row.volume[i] += minute.volume[i]
        row.quantity[i] += minute.quantity[i]
        row.trades[i] += minute.trades[i]
        high, lowest, highest = minute.high[i], row.low[i], row.high[i]
        if low is None or high is None:
            continue
        if lowest is None or highest is None:
            row.open[i], row.low[i], row.high[i] = minute.open[i], low, high
        else:
            row.low[i], row.high[i] = min(lowest, low), max(highest, high)
        row.close[i] = minute.close[i]


PROJECTION = Projection("candles", 3, (CANDLES, CURRENT), fold, scope="market", weight=3.0)


@query("candles", "markets", "trades", "timeline")
def candles(  # noqa: PLR0917  read in one order everywhere
    connection: Connection, as_of: AsOf, market_id: str, outcome: int, period: Period, start: int, end: int
) -> list[Candle]:
    """Return the candles of an outcome (by its index) that lie in [start, end), oldest first, without gaps.

    `start` is aligned down. The first candle is not before the market's first row, the last one not after the time of
    `as_of`, and the last one holds nothing that came after the position of `as_of`. There are at most `CANDLES_MAX`.
    """
    length = PERIODS[period]
    start -= start % length
    end = min(end, as_of.time + 1, start + CANDLES_MAX * length)
    running = as_of.time - as_of.time % length
    values = {"i": outcome + 1, "market": market_id, "period": length, "start": start}
    rows = connection.execute(_ROWS, {**values, "end": min(end, running) if as_of.past else end}).fetchall()
    if as_of.past and end > running:
        rows += _running(connection, as_of, market_id, outcome, length)
    if not rows:
        return []
    by_start = {row[0]: row for row in rows}
    carried: int | None = None
    if rows[0][0] < start:
        carried = rows[0][4] if rows[0][4] is not None else rows[0][5]
    else:
        start = rows[0][0]
    answer: list[Candle] = []
    for moment in range(start, end, length):
        row = by_start.get(moment)
        if row is None:
            answer.append(Candle(moment, moment + length, None, None, None, None, carried, 0, 0, 0))
            continue
        answer.append(Candle(moment, moment + length, *row[1:]))
        carried = row[4] if row[4] is not None else row[5]
    return answer


_COLUMNS: Final = (
    "start, open[%(i)s], high[%(i)s], low[%(i)s], close[%(i)s], previous[%(i)s], "
    "volume[%(i)s], quantity[%(i)s], trades[%(i)s]"
)

# The last row before `start` has the price that is carried into the first candle.
_ROWS: Final = f"""
    SELECT {_COLUMNS} FROM candles WHERE market_id = %(market)s AND period = %(period)s AND start < %(end)s
    AND start >= coalesce((SELECT max(start) FROM candles WHERE market_id = %(market)s AND period = %(period)s
        AND start <= %(start)s AND start < %(end)s), %(start)s)
    ORDER BY start"""

_PARTS: Final = f"""
    SELECT {_COLUMNS} FROM candles
    WHERE market_id = %(market)s AND period = %(period)s AND start >= %(start)s AND start < %(end)s ORDER BY start"""


def _running(connection: Connection, as_of: AsOf, market_id: str, outcome: int, length: int) -> list[tuple[Any, ...]]:
    """Return the row of the period in which `as_of` lies, as it was then; no row where nothing had happened in it.

    The table may hold what came later. So the row is made of the hours and minutes that were over, and of the last minute's
    ticks and trades.
    """
    values = {"i": outcome + 1, "market": market_id}
    start = since = as_of.time - as_of.time % length
    parts: list[tuple[Any, ...]] = []
    for part in (HOUR, MINUTE):
        if part < length:
            until = as_of.time - as_of.time % part
            parts += connection.execute(_PARTS, {**values, "period": part, "start": since, "end": until}).fetchall()
            since = until
    minute = as_of.time - as_of.time % MINUTE
    values |= {"bit": signed(1 << outcome), "period": MINUTE, "start": minute, "last": as_of.position}
    first = timeline.position_before(connection, minute) + 1
    parts += connection.execute(_MINUTE, {**values, "first": first}).fetchall()
    return [_joined(start, parts)] if parts else []


def _joined(start: int, parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return the row that begins at `start` and has these parts, at least one, in their order."""
    ticked = [part for part in parts if part[1] is not None]
    prices = (
        (ticked[0][1], max(part[2] for part in ticked), min(part[3] for part in ticked), ticked[-1][4])
        if ticked
        else (None, None, None, None)
    )
    return start, *prices, parts[0][5], *(sum(part[column] for part in parts) for column in (6, 7, 8))


# A minute of one outcome, up to a position. Like a row of the table, it is there if anything happened to any outcome.
_MINUTE: Final = """
    WITH ticks AS (
        SELECT position, prices[%(i)s] AS price, changed & %(bit)s <> 0 AS own FROM market_activity
        WHERE market_id = %(market)s AND position BETWEEN %(first)s AND %(last)s AND changed <> 0),
    fills AS (
        SELECT count(*) AS fills, count(*) FILTER (WHERE own) AS trades,
            coalesce(sum(cost) FILTER (WHERE own), 0)::int8 AS volume,
            coalesce(sum(quantity) FILTER (WHERE own), 0)::int8 AS quantity
        FROM (SELECT cost, quantity, outcome = outcomes[%(i)s] AS own
            FROM trades JOIN candles_current USING (market_id)
            WHERE market_id = %(market)s AND position BETWEEN %(first)s AND %(last)s) fill)
    SELECT %(start)s::int8, (array_agg(price ORDER BY position) FILTER (WHERE own))[1], max(price) FILTER (WHERE own),
        min(price) FILTER (WHERE own), (array_agg(price ORDER BY position DESC) FILTER (WHERE own))[1],
        (SELECT coalesce(close[%(i)s], previous[%(i)s]) FROM candles
            WHERE market_id = %(market)s AND period = %(period)s AND start < %(start)s ORDER BY start DESC LIMIT 1),
        (SELECT volume FROM fills), (SELECT quantity FROM fills), (SELECT trades FROM fills)
    FROM ticks HAVING count(*) > 0 OR (SELECT fills FROM fills) > 0"""
