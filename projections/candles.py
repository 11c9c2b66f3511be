"""Candles of 1 and 5 minutes, 1 hour and 1 day: aligned to UTC, end-exclusive, one row for all outcomes of a market.

Rows exist only for periods in which something happened; a query fills the gaps, and makes 5 minutes from their minutes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Literal

from psycopg import Connection
from psycopg.rows import dict_row

from domain.market import MarketActivated, MarketDrafted
from domain.money import Credits, Price, Shares, Time
from domain.orders import OrderAmended, OrderPlaced, RestingOrderFilled
from projections import timeline
from projections.forms import Count, CreditsSum, SharesSum
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Rows, Workspace
from projections.markets.prices import signed
from projections.reading import AsOf, query, whole_numbers
from projections.times import DAY, HOUR, MINUTE

Period = Literal["1m", "5m", "1h", "1d"]

PERIODS: Final[dict[Period, int]] = {"1m": MINUTE, "5m": 5 * MINUTE, "1h": HOUR, "1d": DAY}
"""The length of each period in microseconds."""

STORED: Final[dict[Period, int]] = {"1m": MINUTE, "1h": HOUR, "1d": DAY}
"""The periods that have rows. The candles of the others are made from minutes."""


@dataclass(slots=True)
class CandleRow:
    """One period of a market from `start`; lists are in the order of its outcomes.

    Prices are None for an outcome whose price did not change in the period. `previous` are the prices before the period,
    None before the first price. `volume` is in credits, `quantity` in shares, `trades` counts fills, not executions. Each
    fill counts under the outcome of the taker, or of the resting order that the AMM filled.
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
    volume: list[CreditsSum]
    quantity: list[SharesSum]
    trades: list[int]


@dataclass(slots=True)
class LatestPrices:
    """A market's prices now, the names of its outcomes, and the start of the last minute that has rows (-1: none)."""

    market_id: str
    outcomes: list[str]
    prices: list[int | None]
    last_minute: int


@dataclass(frozen=True, slots=True)
class Candle:
    """One outcome in one period, from `start` to before `end`; `trades` counts fills."""

    start: Time
    end: Time
    open: Price | None = None
    high: Price | None = None
    low: Price | None = None
    close: Price | None = None
    previous: Price | None = None
    volume: Credits = 0
    quantity: Shares = 0
    trades: Count = 0


CANDLES = Table("candles", CandleRow, key=["market_id", "period", "start"])
LATEST = Table("candles_latest_prices", LatestPrices, key=["market_id"], by="market")

KINDS: Final = frozenset({OrderPlaced, OrderAmended, RestingOrderFilled, MarketActivated, MarketDrafted})


def fold(batch: Batch, workspace: Workspace) -> None:
    """Collect each minute of every market, and add it to the rows of its minute, hour and day."""
    markets = workspace.rows(LATEST)
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
                markets.add(
                    LatestPrices(
                        market_id=event.market_id,
                        outcomes=outcomes,
                        prices=[None] * len(outcomes),
                        last_minute=-1,
                    )
                )
    minutes.end()


class Minutes:
    """The minute that each market is in while a batch is folded."""

    def __init__(self, partition: int, markets: Rows[LatestPrices], candles: Rows[CandleRow]) -> None:
        self._partition = partition
        self._markets = markets
        self._candles = candles
        self._current: dict[str, CandleRow] = {}
        self._touched: dict[tuple[str, int], CandleRow] = {}

    def at(self, market: LatestPrices, time: int) -> CandleRow:
        """Return the market's minute at this time, or a new empty one."""
        minute = self._current.get(market.market_id)
        if minute is None or time >= minute.start + MINUTE:
            if minute is not None:
                self._add(market, minute)
            minute = self._current[market.market_id] = _empty(self._partition, market, MINUTE, time)
        return minute

    def end(self) -> None:
        """Add the current minutes, at the end of the batch."""
        for market_id, minute in self._current.items():
            self._add(self._markets.edit(market_id), minute)

    def _add(self, market: LatestPrices, minute: CandleRow) -> None:
        """Add a minute to the rows of the minute, hour and day that it lies in."""
        market_id, time = market.market_id, minute.start
        for period in STORED.values():
            row = self._touched.get((market_id, period))
            if row is None or time >= row.start + period:
                row = self._touched[market_id, period] = self._row(market, minute, period, time - time % period)
            if row is not minute:
                _merge(row, minute)
        market.last_minute = time

    def _row(self, market: LatestPrices, minute: CandleRow, period: int, start: int) -> CandleRow:
        """Return the stored row to change.

        If there is none, store the minute itself as the minute row, or an empty hour or day.
        """
        key = (market.market_id, period, start)
        if market.last_minute >= start and self._candles.get(key) is not None:
            return self._candles.edit(key)
        row = minute if period == MINUTE else _empty(self._partition, market, period, start)
        row.previous = minute.previous
        return self._candles.add(row)


def _empty(partition: int, market: LatestPrices, period: int, time: int) -> CandleRow:
    """Return the period that contains the time, before anything has happened in it."""
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
    """Add the fills of an outcome, which is given by its index; `trades` is their number."""
    minute.volume[i] += cost
    minute.quantity[i] += quantity
    minute.trades[i] += trades


def _tick(minute: CandleRow, market: LatestPrices, prices: Sequence[int]) -> None:
    """Record the prices after an event. `prices` is empty if none changed."""
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


PROJECTION = Projection("candles", 5, (CANDLES, LATEST), fold, scope="market", weight=3.0)


@query("candles")
def first_start(connection: Connection, _: AsOf, market_id: str, period: Period) -> int | None:
    """Return the start of the market's first candle, None before its first price."""
    row = connection.execute(
        "SELECT min(start) FROM candles WHERE market_id = %s AND period = %s", [market_id, STORED.get(period, MINUTE)]
    ).fetchone()
    return row[0] - row[0] % PERIODS[period] if row and row[0] is not None else None


@query("candles", "markets", "trades", "timeline")
def candles(  # noqa: PLR0917  read in one order everywhere
    connection: Connection, as_of: AsOf, market_id: str, outcome: int, period: Period, start: int, end: int
) -> list[Candle]:
    """Return the candles of an outcome (by its index) that lie in [start, end), oldest first, without gaps.

    `start` is aligned down. The first candle is not before the market's first row, the last one not after the time of
    `as_of`. The last one has nothing from after the position of `as_of`.
    """
    length = PERIODS[period]
    start -= start % length
    end = min(end, as_of.time + 1)
    if start >= end:
        return []
    running = as_of.time - as_of.time % length
    cursor = whole_numbers(connection, dict_row)
    values = {"i": outcome + 1, "market": market_id, "period": STORED.get(period, MINUTE), "start": start}
    whole = end + -end % length  # a period that begins before the end has all of its minutes
    rows = cursor.execute(_ROWS, {**values, "end": min(whole, running) if as_of.past else whole}).fetchall()
    if period not in STORED:
        parts = groupby(rows, key=lambda row: row["start"] - row["start"] % length)
        rows = [_joined(begin, [*minutes]) for begin, minutes in parts]
    if as_of.past and end > running:
        rows += _running(connection, as_of, market_id, outcome, length)
    if not rows:
        return []
    by_start = {row["start"]: row for row in rows}
    carried: int | None = None
    if rows[0]["start"] < start:
        carried = _price_after(rows[0])
    else:
        start = rows[0]["start"]
    answer: list[Candle] = []
    for moment in range(start, end, length):
        row = by_start.get(moment)
        if row is None:
            answer.append(Candle(start=moment, end=moment + length, previous=carried))
            continue
        answer.append(Candle(end=moment + length, **row))
        carried = _price_after(row)
    return answer


def _price_after(row: Mapping[str, Any]) -> int | None:
    """Return the price of the outcome at the end of a stored period."""
    close: int | None = row["close"]
    previous: int | None = row["previous"]
    return previous if close is None else close


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


def _running(connection: Connection, as_of: AsOf, market_id: str, outcome: int, length: int) -> list[dict[str, Any]]:
    """Return the row of the period in which `as_of` lies, as it was then; no row where nothing had happened in it.

    The table may hold later trades. So the row is made of the hours and minutes that had ended, and of the last minute's
    ticks and trades.
    """
    values = {"i": outcome + 1, "market": market_id}
    start = since = as_of.time - as_of.time % length
    parts: list[dict[str, Any]] = []
    cursor = whole_numbers(connection, dict_row)
    for part in (HOUR, MINUTE):
        if part < length:
            until = as_of.time - as_of.time % part
            parts += cursor.execute(_PARTS, {**values, "period": part, "start": since, "end": until}).fetchall()
            since = until
    minute = as_of.time - as_of.time % MINUTE
    values |= {"bit": signed(1 << outcome), "period": MINUTE, "start": minute, "last": as_of.position}
    first = timeline.position_before(connection, minute) + 1
    parts += cursor.execute(_MINUTE, {**values, "first": first}).fetchall()
    return [_joined(start, parts)] if parts else []


def _joined(start: int, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the row that begins at `start` and has these parts, at least one, in their order."""
    ticked = [part for part in parts if part["open"] is not None]
    return {
        "start": start,
        "open": ticked[0]["open"] if ticked else None,
        "high": max((part["high"] for part in ticked), default=None),
        "low": min((part["low"] for part in ticked), default=None),
        "close": ticked[-1]["close"] if ticked else None,
        "previous": parts[0]["previous"],
        **{name: sum(part[name] for part in parts) for name in ("volume", "quantity", "trades")},
    }


# A minute of one outcome, up to a position. Like a row of the table, it is there if anything happened to any outcome.
_MINUTE: Final = """
    WITH ticks AS (
        SELECT position, prices[%(i)s] AS price, changed & %(bit)s <> 0 AS own FROM market_activity
        WHERE market_id = %(market)s AND position BETWEEN %(first)s AND %(last)s AND changed <> 0),
    fills AS (
        SELECT count(*) AS fills, count(*) FILTER (WHERE own) AS trades,
            coalesce(sum(cost) FILTER (WHERE own), 0) AS volume,
            coalesce(sum(quantity) FILTER (WHERE own), 0) AS quantity
        FROM (SELECT cost, quantity, outcome = outcomes[%(i)s] AS own
            FROM trades JOIN candles_latest_prices USING (market_id)
            WHERE market_id = %(market)s AND position BETWEEN %(first)s AND %(last)s) fill)
    SELECT %(start)s::int8 AS start, (array_agg(price ORDER BY position) FILTER (WHERE own))[1] AS open,
        max(price) FILTER (WHERE own) AS high, min(price) FILTER (WHERE own) AS low,
        (array_agg(price ORDER BY position DESC) FILTER (WHERE own))[1] AS close,
        (SELECT coalesce(close[%(i)s], previous[%(i)s]) FROM candles
            WHERE market_id = %(market)s AND period = %(period)s AND start < %(start)s ORDER BY start DESC LIMIT 1) AS previous,
        (SELECT volume FROM fills) AS volume, (SELECT quantity FROM fills) AS quantity, (SELECT trades FROM fills) AS trades
    FROM ticks HAVING count(*) > 0 OR (SELECT fills FROM fills) > 0"""
