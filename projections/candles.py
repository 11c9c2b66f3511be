"""Candles of 1 minute, 1 hour and 1 day: UTC-aligned, end-exclusive, one row for all outcomes of a market.

Rows exist only where something happened; a query fills the gaps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from psycopg import Connection

from domain.market import MarketActivated, MarketDrafted
from domain.orders import RestingOrderFilled
from projections.machine.batch import EXECUTED, Batch
from projections.machine.projection import Projection
from projections.machine.rows import Rows, Workspace
from projections.machine.table import Table
from projections.reading import AsOf

MINUTE: Final = 60_000_000
"""Microseconds of a minute."""

Period = Literal["1m", "1h", "1d"]

PERIODS: Final[dict[Period, int]] = {"1m": MINUTE, "1h": 3_600_000_000, "1d": 86_400_000_000}
"""The length of each period in microseconds."""

CANDLES_MAX: Final = 5_000
"""The most candles of one answer."""


@dataclass(slots=True)
class CandleRow:
    """One period of a market from `start`; lists are in the order of outcomes.

    Prices are None for an outcome without a tick; `previous` are the prices before the period, None before the first.
    `volume` is in credits, `quantity` in shares, `trades` counts fills, each under the outcome that the taker traded.
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
    """A market's prices now, its outcomes by name, and the start of its last minute (-1: none)."""

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
CURRENT = Table("candles_current", Current, key=["market_id"])

KINDS = EXECUTED | {MarketDrafted, MarketActivated, RestingOrderFilled}


def fold(batch: Batch, workspace: Workspace) -> None:
    """Follow every market by the minute, and add each of its minutes to its hour and its day."""
    minutes = Minutes(batch, workspace)
    markets = minutes.markets
    event: Any
    for recorded in batch.of(KINDS):
        event = recorded.event
        market_id = event.market_id
        kind = type(event)
        if kind in EXECUTED:
            execution = event.execution
            if not execution.fills:
                continue
            prices, quantity, cost, trades = execution.prices, execution.filled, execution.cost, len(execution.fills)
        elif kind is RestingOrderFilled:
            prices, quantity, cost, trades = event.prices, event.quantity, event.cost, 1
        elif kind is MarketActivated:
            prices, quantity, cost, trades = event.prices, 0, 0, 0
        else:
            outcomes = list(event.outcomes)
            markets.put(market_id, Current(market_id, outcomes, [None] * len(outcomes), -1))
            continue
        market = markets.cache[market_id]
        minute = minutes.at(market, recorded.time)
        if trades:
            i = market.outcomes.index(event.outcome)
            minute.volume[i] += cost
            minute.quantity[i] += quantity
            minute.trades[i] += trades
        if prices:
            _tick(minute, market.prices, prices)
    minutes.end()


class Minutes:
    """The minute that each market is in while a batch is folded, as far as this batch goes."""

    def __init__(self, batch: Batch, workspace: Workspace) -> None:
        self.markets: Rows[Current] = workspace.load(CURRENT, lambda: batch.markets)
        self._rows = workspace.rows(CANDLES)
        self._connection = workspace.connection
        self._partition = batch.partition
        self._open: dict[str, CandleRow] = {}
        self._touched: dict[tuple[str, int], CandleRow] = {}

    def at(self, market: Current, time: int) -> CandleRow:
        """Return the market's minute of this time, with nothing in it where the batch has just come to it."""
        minute = self._open.get(market.market_id)
        if minute is None or time >= minute.start + MINUTE:
            if minute is not None:
                self._add(market, minute)
            minute = self._open[market.market_id] = _empty(self._partition, market, MINUTE, time)
        return minute

    def end(self) -> None:
        """Add what is open."""
        for market_id, minute in self._open.items():
            self._add(self.markets.cache[market_id], minute)

    def _add(self, market: Current, minute: CandleRow) -> None:
        """Add a minute, which is over, to the rows of the minute, hour and day that it lies in."""
        market_id, time = market.market_id, minute.start
        for period in PERIODS.values():
            row = self._touched.get((market_id, period))
            if row is None or time >= row.start + period:
                row = self._touched[market_id, period] = self._row(market, minute, period, time - time % period)
            if row is not minute:
                _merge(row, minute)
        market.time = time
        self.markets.change(market_id)

    def _row(self, market: Current, minute: CandleRow, period: int, start: int) -> CandleRow:
        """Return a row, marked as changed; one that is not there begins with this minute, or is this minute."""
        key = (market.market_id, period, start)
        row = self._rows.fetch(self._connection, key) if market.time >= start else None
        if row is None:
            row = minute if period == MINUTE else _empty(self._partition, market, period, start)
            row.previous = minute.previous
            self._rows.put(key, row)
        else:
            self._rows.change(key)
        return row


def _empty(partition: int, market: Current, period: int, time: int) -> CandleRow:
    """Return the period in which the time lies, before anything has happened in it."""
    count = len(market.outcomes)
    none: list[int | None] = [None] * count
    return CandleRow(
        partition, market.market_id, period, time - time % period, list(market.prices), none, list(none), list(none),
        list(none), [0] * count, [0] * count, [0] * count,
    )  # fmt: skip


def _tick(minute: CandleRow, before: list[int | None], prices: Sequence[int]) -> None:
    """Take in the prices after an event."""
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
    """Add what came later to a row."""
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


def candles(  # noqa: PLR0917  read in one order everywhere
    connection: Connection, as_of: AsOf, market_id: str, outcome: int, period: Period, start: int, end: int
) -> list[Candle]:
    """Return the candles of an outcome (by its index) that lie in [start, end), oldest first, none left out.

    `start` is aligned down. None after the moment of `as_of` and none before the market's first; at most `CANDLES_MAX`.
    """
    length = PERIODS[period]
    start -= start % length
    end = min(end, as_of.time + 1, start + CANDLES_MAX * length)
    i = outcome + 1
    rows = connection.execute(
        "SELECT start, open[%(i)s], high[%(i)s], low[%(i)s], close[%(i)s], previous[%(i)s], volume[%(i)s], quantity[%(i)s], "
        "trades[%(i)s] FROM candles WHERE market_id = %(market)s AND period = %(period)s "
        "AND start >= coalesce((SELECT max(start) FROM candles WHERE market_id = %(market)s AND period = %(period)s "
        "AND start <= %(start)s), %(start)s) AND start < %(end)s ORDER BY start",
        {"i": i, "market": market_id, "period": length, "start": start, "end": end},
    ).fetchall()
    by_start = {row[0]: row for row in rows}
    if not rows:
        return []
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
