"""Reads of markets: odds, price histories, candles, trades, the book, holders, events."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from psycopg import Connection
from starlette.responses import Response

from api.http.answers import PriceHistories, PriceHistory
from api.http.openapi import list_of, one, page_of
from api.http.reads import Cursor, Limit, Read, Reader, answer, query_time
from api.http.resources import CANDLE, HOLDER, MARKET_WITH_WORDINGS, TRADE
from api.http.routes.events import Types, type_names
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
from api.http.routes.markets import NEEDS, find, outcome_indexes, whole_market
from api.http.serializers import serialize
from projections import book, candles, lifecycle
from projections.markets import prices
from projections.positions import positions
from projections.reading import AsOf
from projections.trades import trades

router = APIRouter(prefix="/markets", tags=["market data"])
tape = APIRouter(tags=["market data"])

Outcome = Annotated[str | None, Query(description="only this outcome; all without it")]


@router.get("/{market}", responses=one(MARKET_WITH_WORDINGS, "MARKET_NOT_FOUND"))
async def get_market(read: Read, market: str) -> Response:
    """A market: odds, volume, open interest, status, and all wordings of its resolution source.

    `odds` are the prices, and once the market is finalized its payouts, beside its `last_prices`. `open_interest` is the most
    that it may have to pay: the shares of the outcome of which accounts hold most. `trades` counts fills.
    """
    found, as_of = await read.fetch(NEEDS, lambda c, a: whole_market(c, a, market))
    return answer(found, as_of)


@router.get(
    "/{market}/prices-history", responses=page_of(PriceHistory | PriceHistories, "MARKET_NOT_FOUND", "UNKNOWN_OUTCOME")
)
async def get_prices_history(
    read: Read,
    market: str,
    outcome: Outcome = None,
    interval: Interval = "max",
    fidelity: Fidelity = 0,
    start: str | None = None,
    end: str | None = None,
    limit: PointsLimit = POINTS_MAX,
    cursor: Cursor = None,
) -> Response:
    """Prices over time, oldest first; every tick is kept for ever.

    With `outcome`, `data` is `{"outcome": ..., "history": [...]}`; without it, `{"histories": [...]}` has one of these for
    each outcome. A point `{"t": ..., "p": ..., "position": ...}` is the price from that position on.
    """
    wanted = Ticks(interval, fidelity, query_time("start", start), query_time("end", end))
    after = read.after(cursor, int)

    def query(connection: Connection[Any], as_of: AsOf) -> SeriesPage:
        found = find(connection, as_of, market)
        return wanted.of(connection, as_of, found, outcome, limit, after[0] if after else 0)

    (histories, last), as_of = await read.fetch((*NEEDS, prices.histories), query)
    key = None if last is None else [last]
    data = {"histories": histories} if outcome is None else histories[0]
    return answer(data, as_of, next_cursor=read.cursor(key, as_of))


@router.get("/{market}/candlesticks", responses=list_of(CANDLE, "MARKET_NOT_FOUND", "UNKNOWN_OUTCOME"))
async def get_candlesticks(
    read: Read,
    market: str,
    outcome: Outcome = None,
    period: candles.Period = "1h",
    start: str | None = None,
    end: str | None = None,
    limit: CandlesLimit = CANDLES_MAX,
    cursor: Cursor = None,
) -> Response:
    """Candles, UTC-aligned, without gaps, oldest first; each names its outcome, and those of one period are together.

    They begin with the market's first price, whatever `start` is, and end with the last event. A period without a tick has
    no prices but `previous`. `trades` counts fills.
    """
    wanted = Candles(period, query_time("start", start), query_time("end", end))
    after = read.after(cursor, int)

    def query(connection: Connection[Any], as_of: AsOf) -> SeriesPage:
        return wanted.of(
            connection, as_of, find(connection, as_of, market), outcome, limit, after[0] if after else None
        )

    (rows, more_from), as_of = await read.fetch((*NEEDS, *CANDLES_NEEDS), query)
    key = None if more_from is None else [more_from]
    return answer(rows, as_of, next_cursor=read.cursor(key, as_of))


@router.get("/{market}/trades", responses=list_of(TRADE, "MARKET_NOT_FOUND"))
async def list_market_trades(read: Read, market: str, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Every fill of the market as a trade, newest first.

    `account_id`, `order_id` and their `resting_*` counterparts are null, except for the party itself, analysts and admins.
    """
    after = read.after(cursor, int, int)

    def query(connection: Connection[Any], as_of: AsOf) -> list[trades.Trade]:
        found = find(connection, as_of, market)
        return trades.market_trades(connection, as_of, found.market_id, limit=limit + 1, after=after)

    rows, labels, as_of = await read.fetch_labelled((*NEEDS, trades.market_trades), query)
    return read.page(rows, limit, lambda row: labels.add(trade_json(read, row)), as_of)


@tape.get("/trades", responses=list_of(TRADE))
async def list_trades(read: Read, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The tape: every fill in any market as a trade, newest first. What is private is null, as in the trades of a market."""
    after = read.after(cursor, int, int)
    rows, labels, as_of = await read.fetch_labelled(
        (trades.tape,), lambda c, a: trades.tape(c, a, limit=limit + 1, after=after)
    )
    return read.page(rows, limit, lambda row: labels.add(trade_json(read, row)), as_of)


@router.get("/{market}/book", responses=list_of(book.OutcomeBook, "MARKET_NOT_FOUND"))
async def get_market_book(read: Read, market: str) -> Response:
    """For each outcome, the AMM's price and the resting orders by price level, best first."""

    def query(connection: Connection[Any], as_of: AsOf) -> list[book.OutcomeBook]:
        return book.book(connection, as_of, find(connection, as_of, market))

    rows, as_of = await read.fetch((*NEEDS, book.book), query)
    return answer([serialize(row) for row in rows], as_of, next_cursor=None)


@router.get("/{market}/holders", responses=list_of(HOLDER, "MARKET_NOT_FOUND", "UNKNOWN_OUTCOME"))
async def list_market_holders(
    read: Read, market: str, outcome: Outcome = None, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """The holders of shares, largest first."""
    after = read.after(cursor, int, str, str)

    def query(connection: Connection[Any], as_of: AsOf) -> list[positions.Holder]:
        found = find(connection, as_of, market)
        name = None if outcome is None else found.outcomes[outcome_indexes(found, outcome)[0]]
        return positions.holders(connection, as_of, found.market_id, outcome=name, limit=limit + 1, after=after)

    rows, labels, as_of = await read.fetch_labelled((*NEEDS, positions.holders), query)
    return read.page(rows, limit, lambda row: labels.add(serialize(row)), as_of)


@router.get("/{market}/events", responses=list_of(lifecycle.LifecycleEntry, "MARKET_NOT_FOUND"))
async def list_market_events(
    read: Read,
    market: str,
    type: Types = None,  # noqa: A002  the name of the parameter
    start: str | None = None,
    end: str | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The lifecycle of the market: opened, halted, clarified, determined ...; newest first.

    The `account_id` of a dispute is null, except for that account, analysts and admins.
    """
    after = read.after(cursor, int)
    types, since, until = type_names(type), query_time("start", start), query_time("end", end)

    def query(connection: Connection[Any], as_of: AsOf) -> list[lifecycle.LifecycleEntry]:
        found = find(connection, as_of, market)
        return lifecycle.market_events(
            connection, as_of, found.market_id, types=types, start=since, end=until, limit=limit + 1, after=after
        )

    rows, as_of = await read.fetch((*NEEDS, lifecycle.market_events), query)
    return read.page(rows, limit, lambda row: _lifecycle_json(read, row), as_of)


def trade_json(read: Reader, row: trades.Trade) -> dict[str, Any]:
    """Return a trade in JSON's types, without the accounts and orders of parties that this reader may not see."""
    trade = serialize(row)
    for party in ("", "resting_"):
        account_id = trade[f"{party}account_id"]
        if account_id is not None and not read.sees(account_id):
            trade[f"{party}account_id"] = trade[f"{party}order_id"] = None
    return trade


def _lifecycle_json(read: Reader, row: lifecycle.LifecycleEntry) -> dict[str, Any]:
    entry = serialize(row)
    account_id = entry["data"].get("account_id")
    if account_id is not None and not read.sees(account_id):
        entry["data"] = {**entry["data"], "account_id": None}
    return entry
