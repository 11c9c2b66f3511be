"""Reads of markets: odds, price histories, candles, trades, the book, holders, events."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from psycopg import Connection
from starlette.responses import Response

from api.http.answers import PriceHistory
from api.http.errors import invalid_field
from api.http.openapi import list_of, one
from api.http.reads import Cursor, Limit, Read, answer, query_time
from api.http.resources import MARKET, MARKET_WITH_WORDINGS
from api.http.routes.markets import NEEDS, find, market_json, outcome_index
from api.http.serializers import serialize
from domain.market import Status
from domain.money import Time, format_decimal
from messages.wire import format_time
from projections import book, candles, lifecycle
from projections.candles import CANDLES_MAX
from projections.markets import markets, prices
from projections.positions import positions
from projections.reading import AsOf
from projections.times import DAY, HOUR
from projections.trades import trades

router = APIRouter(prefix="/markets", tags=["market data"])

Interval = Literal["1h", "6h", "1d", "1w", "max"]

INTERVALS: Final[dict[Interval, Time | None]] = {
    "1h": HOUR,
    "6h": 6 * HOUR,
    "1d": DAY,
    "1w": 7 * DAY,
    "max": None,
}
"""The length of each interval in microseconds."""

TICKS_MAX: Final = 10_000
"""The most ticks of one answer."""


@router.get("", responses=list_of(MARKET, "STORY_NOT_FOUND"))
async def list_markets(
    read: Read,
    status: Annotated[Status | None, Query()] = None,
    story: str | None = None,
    category: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Markets with the odds of each outcome, newest first; `trades` counts fills."""
    story_id = story and await read.context.references.resolve("story", story)
    after = read.after(cursor, int, str)
    rows, as_of = await read.fetch(
        NEEDS,
        lambda c, a: markets.list_markets(
            c, a, status=status and status.value, story_id=story_id, category=category, limit=limit, after=after
        ),
    )
    return read.page(rows, limit, market_json, as_of)


@router.get("/{market}", responses=one(MARKET_WITH_WORDINGS, "MARKET_NOT_FOUND"))
async def get_market(read: Read, market: str) -> Response:
    """A market: odds, volume, open interest, status, and all wordings of its resolution source; `trades` counts fills."""

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        found = find(connection, as_of, market)
        wordings = markets.resolutions(connection, as_of, found.market_id)
        return {**market_json(found), "resolutions": [serialize(wording) for wording in wordings]}

    found, as_of = await read.fetch(NEEDS, query)
    return answer(found, as_of)


@router.get("/{market}/prices-history", responses=one(PriceHistory, "MARKET_NOT_FOUND", "UNKNOWN_OUTCOME"))
async def get_prices_history(
    read: Read,
    market: str,
    outcome: str | None = None,
    interval: Interval = "max",
    fidelity: Annotated[int, Query(ge=0, le=100_000, description="minutes between points; 0: every tick")] = 0,
    start: str | None = None,
    end: str | None = None,
) -> Response:
    """The price of an outcome (without a name: the first) over time, oldest first. Every tick is kept for ever."""
    since, until = query_time("start", start), query_time("end", end)

    def query(connection: Connection[Any], as_of: AsOf) -> list[prices.Tick]:
        found = find(connection, as_of, market)
        length = INTERVALS[interval]
        first = since
        if first is None and length is not None:
            first = (until if until is not None else as_of.time) - length
        return prices.history(
            connection,
            as_of,
            found.market_id,
            outcome_index(found, outcome),
            start=first,
            end=until,
            fidelity=fidelity,
            limit=TICKS_MAX,
        )

    ticks, as_of = await read.fetch((*NEEDS, prices.history), query)
    history = [{"t": format_time(t.time), "p": format_decimal(t.price), "position": t.position} for t in ticks]
    return answer({"history": history}, as_of)


@router.get("/{market}/candlesticks", responses=list_of(candles.Candle, "MARKET_NOT_FOUND", "UNKNOWN_OUTCOME"))
async def get_candlesticks(
    read: Read,
    market: str,
    outcome: str | None = None,
    period: candles.Period = "1h",
    start: str | None = None,
    end: str | None = None,
) -> Response:
    """Candles of an outcome (without a name: the first), UTC-aligned, without gaps, oldest first; at most 5,000.

    `trades` counts fills.
    """
    since, until = query_time("start", start), query_time("end", end)
    length = candles.PERIODS[period]
    if since is not None and until is not None and (until - since) // length > CANDLES_MAX:
        raise invalid_field("start", f"is more than {CANDLES_MAX} candles before the end")

    def query(connection: Connection[Any], as_of: AsOf) -> list[candles.Candle]:
        found = find(connection, as_of, market)
        last = until if until is not None else as_of.time + 1
        first = since if since is not None else max(found.opened_at or 0, last - CANDLES_MAX * length)
        return candles.candles(connection, as_of, found.market_id, outcome_index(found, outcome), period, first, last)

    rows, as_of = await read.fetch((*NEEDS, candles.candles), query)
    return answer([serialize(row) for row in rows], as_of)


@router.get("/{market}/trades", responses=list_of(trades.Trade, "MARKET_NOT_FOUND"))
async def list_market_trades(read: Read, market: str, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Every fill of the market as a trade, newest first."""
    after = read.after(cursor, int, int)

    def query(connection: Connection[Any], as_of: AsOf) -> list[trades.Trade]:
        found = find(connection, as_of, market)
        return trades.market_trades(connection, as_of, found.market_id, limit=limit, after=after)

    rows, as_of = await read.fetch((*NEEDS, trades.market_trades), query)
    return read.page(rows, limit, serialize, as_of)


@router.get("/{market}/book", responses=list_of(book.OutcomeBook, "MARKET_NOT_FOUND"))
async def get_market_book(read: Read, market: str) -> Response:
    """For each outcome, the AMM's price and the resting orders by price level, best first."""

    def query(connection: Connection[Any], as_of: AsOf) -> list[book.OutcomeBook]:
        return book.book(connection, as_of, find(connection, as_of, market))

    rows, as_of = await read.fetch((*NEEDS, book.book), query)
    return answer([serialize(row) for row in rows], as_of)


@router.get("/{market}/holders", responses=list_of(positions.Holder, "MARKET_NOT_FOUND", "UNKNOWN_OUTCOME"))
async def list_market_holders(read: Read, market: str, outcome: str | None = None, limit: Limit = 100) -> Response:
    """The holders of shares, largest first."""

    def query(connection: Connection[Any], as_of: AsOf) -> list[positions.Holder]:
        found = find(connection, as_of, market)
        if outcome is not None:
            outcome_index(found, outcome)
        return positions.holders(connection, as_of, found.market_id, outcome=outcome, limit=limit)

    rows, as_of = await read.fetch((*NEEDS, positions.holders), query)
    return answer([serialize(row) for row in rows], as_of)


@router.get("/{market}/events", responses=list_of(lifecycle.LifecycleEntry, "MARKET_NOT_FOUND"))
async def list_market_events(read: Read, market: str, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The lifecycle of the market: opened, halted, clarified, determined ...; newest first."""
    after = read.after(cursor, int)

    def query(connection: Connection[Any], as_of: AsOf) -> list[lifecycle.LifecycleEntry]:
        found = find(connection, as_of, market)
        return lifecycle.market_events(connection, as_of, found.market_id, limit=limit, after=after)

    rows, as_of = await read.fetch((*NEEDS, lifecycle.market_events), query)
    return read.page(rows, limit, serialize, as_of)
