"""The list of markets: filtered, searched and sorted, with sparklines if asked for."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from psycopg import Connection
from starlette.responses import Response

from api.http.errors import invalid_field
from api.http.openapi import list_of
from api.http.reads import Cursor, Limit, Read, SearchText, answer, query_time, references, several
from api.http.resources import LISTED_MARKET
from api.http.routes.markets import NEEDS, markets_json
from api.http.routes.stories import find_story
from domain.market import Status
from domain.money import format_decimal
from projections import stories
from projections.markets import listing
from projections.markets.tables import MarketRow
from projections.reading import AsOf

router = APIRouter(prefix="/markets", tags=["market data"])

STATUSES = [status.value for status in Status]

NAMED_MAX = 100
"""The most markets that one request may name."""

SortName = Annotated[
    listing.Sort | None,
    Query(description="newest (the default), volume (of all time), closing (soonest first), movement (of 24 h), or "
          "relevance (the default with `q`)"),
]  # fmt: skip


@router.get("", responses=list_of(LISTED_MARKET, "STORY_NOT_FOUND"))
async def list_markets(
    read: Read,
    q: SearchText = None,
    status: Annotated[
        str | None,
        Query(description=f"only markets with one of these statuses, with commas between them: {', '.join(STATUSES)}"),
    ] = None,
    story: str | None = None,
    category: str | None = None,
    ids: Annotated[
        str | None, Query(description=f"only these, up to {NAMED_MAX} ids or slugs with commas between them")
    ] = None,
    closes_before: Annotated[str | None, Query(description="only markets that close before this time")] = None,
    sort: SortName = None,
    with_: Annotated[Literal["sparkline"] | None, Query(alias="with", description="what else each market has")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Markets. `odds` are the prices, and once a market is finalized its payouts, beside its `last_prices`.

    `q` finds markets by the words of their questions, outcomes and resolution texts, and of the titles and texts of their
    stories. `open_interest` is the most that a market may have to pay; `trades` counts fills.
    """
    order = sort or ("newest" if q is None else "relevance")
    if order == "relevance" and q is None:
        raise invalid_field("sort", "relevance needs q")
    by_key = order == "newest" and q is None
    after = read.after(cursor, int, str) if by_key else read.after(cursor, int)
    statuses = several("status", status, STATUSES)
    named, close = references("ids", ids, NAMED_MAX), query_time("closes_before", closes_before)

    def query(connection: Connection[Any], as_of: AsOf) -> tuple[list[dict[str, Any]], list[MarketRow]]:
        story_id = None if story is None else find_story(connection, as_of, story).story_id
        wanted = listing.Filter(statuses, story_id, category, named, close, q)
        if by_key:
            rows = listing.newest(connection, as_of, wanted, limit=limit + 1, after=after)
        else:
            offset = after[0] if after else 0
            rows = listing.ranked(connection, as_of, order, wanted, limit=limit + 1, offset=offset)
        shown = markets_json(connection, as_of, rows[:limit])
        if with_ is not None:
            lines = listing.sparklines(connection, as_of, [row.market_id for row in rows[:limit]])
            for row, market in zip(rows, shown, strict=False):
                market["sparkline"] = _sparkline(row, lines[row.market_id])
        return shown, rows

    needs = (*NEEDS, listing.ranked, listing.sparklines, *(() if story is None else (stories.get_story,)))
    (shown, rows), as_of = await read.fetch(needs, query)
    key: tuple[int | str, ...] | None = None
    if len(rows) > limit:
        key = rows[limit - 1].key if by_key else ((after[0] if after else 0) + limit,)
    return answer(shown, as_of, next_cursor=read.cursor(key, as_of))


def _sparkline(row: MarketRow, points: list[list[int] | None]) -> dict[str, list[str | None]]:
    return {
        name: [None if prices is None else format_decimal(prices[index]) for prices in points]
        for index, name in enumerate(row.outcomes)
    }
