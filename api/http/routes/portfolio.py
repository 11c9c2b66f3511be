"""The portfolio of an account: all that its page shows, in one answer."""

from typing import Any, Final

from fastapi import APIRouter
from psycopg import Connection
from starlette.responses import Response

from api.http.labels import NEEDS as LABEL_NEEDS
from api.http.openapi import page_of
from api.http.reads import Cursor, Limit, Read, answer
from api.http.resources import PORTFOLIO
from api.http.routes.accounts import NEEDS, profile
from api.http.routes.orders import order_json
from api.http.serializers import serialize
from domain.orders import OPEN_ORDERS_MAX
from projections import orders, stories
from projections.markets import markets
from projections.positions import positions
from projections.reading import AsOf

router = APIRouter(prefix="/accounts", tags=["accounts"])

OPEN: Final = orders.Wanted(is_open=True)


@router.get("/{account}/portfolio", responses=page_of(PORTFOLIO, "FORBIDDEN", "ACCOUNT_NOT_FOUND"))
async def get_portfolio(read: Read, account: str, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Balances and profit of an account, its open positions with their markets and stories, and all its open orders.

    `limit` and `cursor` are about the positions.
    """
    after = read.after(cursor, str, str)
    named = await read.private(account)

    def query(connection: Connection[Any], as_of: AsOf) -> tuple[dict[str, Any], list[positions.Position]]:
        found = profile(connection, as_of, named, read.context)
        account_id = found["account_id"]
        held = positions.account_positions(connection, as_of, account_id, limit=limit + 1, after=after)
        resting = orders.account_orders(connection, as_of, account_id, wanted=OPEN, limit=OPEN_ORDERS_MAX)
        shown = held[:limit]
        labels = read.context.labels.of(connection, as_of, [*shown, *resting])
        about = _markets(connection, as_of, {row.market_id for row in shown})
        found["positions"] = [labels.add(serialize(row)) | about[row.market_id] for row in shown]
        found["orders"] = [labels.add(order_json(row)) for row in resting]
        return found, held

    needs = (*NEEDS, *LABEL_NEEDS, positions.account_positions, orders.account_orders, stories.by_id, markets.by_id)
    (found, held), as_of = await read.fetch(needs, query)
    key = held[limit - 1].key if len(held) > limit else None
    return answer(found, as_of, next_cursor=read.cursor(key, as_of))


def _markets(connection: Connection[Any], as_of: AsOf, market_ids: set[str]) -> dict[str, dict[str, Any]]:
    """Return what a position shows of its market and the market's story, by the id of the market."""
    rows = markets.by_id(connection, as_of, sorted(market_ids))
    told = {row.story_id: row for row in stories.by_id(connection, as_of, sorted({row.story_id for row in rows}))}
    found = {}
    for row in rows:
        story = told.get(row.story_id)
        found[row.market_id] = {
            "question": row.question,
            "status": row.status,
            "outcomes": row.outcomes,
            "story_id": row.story_id,
            "story": story.slug if story else "",
            "title": story.title if story else "",
        }
    return found
