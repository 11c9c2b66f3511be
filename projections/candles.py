"""Candles of 1 and 5 minutes, 1 hour and 1 day: aligned to UTC, end-exclusive, one row for all outcomes of a market.

Rows exist only for periods in which something happened; a query fills the gaps, and makes 5 minutes from their minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from domain.market import MarketActivated, MarketDrafted
from domain.money import Credits, Price, Shares, Time
from domain.orders import OrderAmended, OrderPlaced, RestingOrderFilled
from projections.forms import Count, CreditsSum, SharesSum
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Rows, Workspace
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
