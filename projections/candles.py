"""Candles of 1 minute, 1 hour and 1 day: UTC-aligned, end-exclusive, one row for all outcomes of a market.

Rows exist only where something happened; a query fills the gaps.
"""

from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection

from domain.market import MarketActivated, MarketDrafted
from domain.orders import RestingOrderFilled
from projections.batch import EXECUTED, Batch
from projections.projection import Projection
from projections.reading import AsOf
from projections.table import Table
from projections.workspace import Rows, Workspace

PERIODS: Final = {"1m": 60_000_000, "1h": 3_600_000_000, "1d": 86_400_000_000}
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
    """A market's prices now, its outcomes by name, and the time of its last row."""

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
    """Bring the three candles of every event's moment up to date."""
    candles = workspace.rows(CANDLES)
    markets = workspace.load(CURRENT, batch.markets)
    connection = workspace.connection
    open_candles: dict[str, tuple[int, list[CandleRow]]] = {}
    event: Any
    for recorded in batch.of(KINDS):
        event = recorded.event
        market_id = event.market_id
        kind = type(event)
        if kind is MarketDrafted:
            outcomes = list(event.outcomes)
            markets.put(market_id, Current(market_id, outcomes, [None] * len(outcomes), -1))
            continue
        if kind in EXECUTED:
            execution = event.execution
            if not execution.fills:
                continue
            prices, quantity, cost, trades = execution.prices, execution.filled, execution.cost, len(execution.fills)
        elif kind is MarketActivated:
            prices, quantity, cost, trades = event.prices, 0, 0, 0
        else:
            prices, quantity, cost, trades = event.prices, event.quantity, event.cost, 1
        market = markets.get(market_id)
        assert market is not None, "a market is drafted first"
        time = recorded.time
        until, rows = open_candles.get(market_id, (0, []))
        if time >= until:
            rows = [_candle(candles, connection, batch.partition, market, period, time) for period in PERIODS.values()]
            open_candles[market_id] = (time - time % 60_000_000 + 60_000_000, rows)
        if trades:
            i = market.outcomes.index(event.outcome)
            for row in rows:
                row.volume[i] += cost
                row.quantity[i] += quantity
                row.trades[i] += trades
        if prices:
            _tick(rows, market, prices)
        market.time = time
        markets.change(market_id)


def _candle(  # noqa: PLR0917  a helper of one caller
    candles: Rows[CandleRow], connection: Connection, partition: int, market: Current, period: int, time: int
) -> CandleRow:
    """Return the row of the period in which the time lies, marked as changed; a new one unless the market has it."""
    start = time - time % period
    key = (market.market_id, period, start)
    row = candles.fetch(connection, key) if market.time >= start else None
    if row is not None:
        candles.change(key)
        return row
    count = len(market.outcomes)
    none: list[int | None] = [None] * count
    row = CandleRow(
        partition, market.market_id, period, start, list(market.prices), none, list(none), list(none), list(none),
        [0] * count, [0] * count, [0] * count,
    )  # fmt: skip
    candles.put(key, row)
    return row


def _tick(rows: list[CandleRow], market: Current, prices: tuple[int, ...]) -> None:
    before = market.prices
    for i, price in enumerate(prices):
        if price == before[i]:
            continue
        before[i] = price
        for row in rows:
            high, low = row.high[i], row.low[i]
            if high is None or low is None:
                row.open[i] = row.high[i] = row.low[i] = price
            elif price > high:
                row.high[i] = price
            elif price < low:
                row.low[i] = price
            row.close[i] = price


PROJECTION = Projection("candles", 1, (CANDLES, CURRENT), fold, scope="market")


def candles(  # noqa: PLR0917  read in one order everywhere
    connection: Connection, as_of: AsOf, market_id: str, outcome: int, period: str, start: int, end: int
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
