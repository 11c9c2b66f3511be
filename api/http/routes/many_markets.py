"""Reads of many markets in one call: histories of prices, candles and books."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from psycopg import Connection
from starlette.responses import Response

from api.http.answers import BooksOfMarket, HistoriesOfMarket
from api.http.openapi import list_of
from api.http.reads import Cursor, Read, answer, query_time, references
from api.http.resources import CANDLES_OF_MARKET
from api.http.routes.market_lists import NAMED_MAX
from api.http.routes.market_series import (
    CANDLES_MAX,
    CANDLES_NEEDS,
    POINTS_MAX,
    Candles,
    CandlesLimit,
    Fidelity,
    Interval,
    PointsLimit,
    SeriesPage,
    Ticks,
)
from api.http.routes.markets import NEEDS, find_all
from api.http.serializers import serialize
from projections import book, candles
from projections.markets import prices
from projections.markets.tables import MarketRow
from projections.reading import AsOf

router = APIRouter(tags=["market data"])

Markets = Annotated[str, Query(min_length=1, description=f"up to {NAMED_MAX} ids or slugs, with commas between them")]

Pages = Callable[[Connection[Any], AsOf, Sequence[MarketRow], int, int], list[SeriesPage]]
"""Returns the parts of markets, one after another as far as a page goes; takes its size, and a key of the first market."""

START: Final = 0
"""The key before the first row of a market."""


@router.get("/prices-history", responses=list_of(HistoriesOfMarket, "MARKET_NOT_FOUND"))
async def list_prices_histories(
    read: Read,
    markets: Markets,
    interval: Interval = "max",
    fidelity: Fidelity = 0,
    start: str | None = None,
    end: str | None = None,
    limit: PointsLimit = POINTS_MAX,
    cursor: Cursor = None,
) -> Response:
    """The price histories of up to 100 markets, in the order of their names, as the read of one market has them.

    A page may end within a market; the next one goes on there.
    """
    wanted = Ticks(interval, fidelity, query_time("start", start), query_time("end", end))
    named = references("markets", markets, NAMED_MAX)
    return await _pages(read, named, "histories", wanted.of_all, limit, cursor, (*NEEDS, prices.histories_of))


@router.get("/candlesticks", responses=list_of(CANDLES_OF_MARKET, "MARKET_NOT_FOUND"))
async def list_candlesticks(
    read: Read,
    markets: Markets,
    period: candles.Period = "1h",
    start: str | None = None,
    end: str | None = None,
    limit: CandlesLimit = CANDLES_MAX,
    cursor: Cursor = None,
) -> Response:
    """The candles of up to 100 markets, in the order of their names, as the read of one market has them.

    A page may end within a market; the next one goes on there.
    """
    wanted = Candles(period, query_time("start", start), query_time("end", end))
    named = references("markets", markets, NAMED_MAX)
    return await _pages(read, named, "candlesticks", wanted.of_all, limit, cursor, (*NEEDS, *CANDLES_NEEDS))


@router.get("/books", responses=list_of(BooksOfMarket, "MARKET_NOT_FOUND"))
async def list_books(read: Read, markets: Markets) -> Response:
    """The books of up to 100 markets, in the order of their names, as the read of one market has them."""
    named = references("markets", markets, NAMED_MAX)

    def query(connection: Connection[Any], as_of: AsOf) -> list[dict[str, Any]]:
        rows = find_all(connection, as_of, named)
        found = zip(rows, book.books(connection, as_of, rows), strict=True)
        return [_of(row, "books", [serialize(each) for each in outcomes]) for row, outcomes in found]

    rows, as_of = await read.fetch((*NEEDS, book.books), query)
    return answer(rows, as_of, next_cursor=None)


async def _pages(
    read: Read, named: Sequence[str], name: str, pages: Pages, limit: int, cursor: str | None, needs: Sequence[Any]
) -> Response:
    """Return a page of rows of markets, one market after another, each until it has no more or the page is full."""
    first, key = read.after(cursor, int, int) or (0, START)

    def query(connection: Connection[Any], as_of: AsOf) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
        rows = find_all(connection, as_of, named)[first:]
        parts = pages(connection, as_of, rows, limit, key)
        found = [_of(row, name, part.rows) for row, part in zip(rows, parts, strict=False)]
        if parts and (more := parts[-1].more) is not None:
            return found, (first + len(parts) - 1, more)
        return found, (first + len(parts), START) if len(parts) < len(rows) else None

    (rows, last), as_of = await read.fetch(needs, query)
    return answer(rows, as_of, next_cursor=read.cursor(last, as_of))


def _of(market: MarketRow, name: str, rows: Any) -> dict[str, Any]:
    return {"market_id": market.market_id, "market": market.slug, name: rows}
