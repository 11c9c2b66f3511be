"""Stories: publish one with its markets, list stories, read one."""

from typing import Any, Final

from fastapi import APIRouter
from psycopg import Connection
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api.http.context import Operator
from api.http.errors import ApiError
from api.http.fields import CategoryName, Moment, RequestBody, Slug, StoryText, Title, Url
from api.http.openapi import list_of, page_of, written
from api.http.reads import Cursor, Limit, Read, SearchText, answer
from api.http.resources import STORY_WITH_MARKETS
from api.http.routes.markets import NEEDS as MARKET_NEEDS
from api.http.routes.markets import OpenMarketBody, markets_json, open_market_command
from api.http.serializers import serialize
from api.http.writes import command_id_of, resource, submit
from domain.story import STORY_MARKETS_MAX, PublishStory
from messages.commands import new_id
from projections import stories
from projections.markets import markets
from projections.reading import AsOf

router = APIRouter(prefix="/stories", tags=["stories"])

NEEDS: Final = (stories.get_story, *MARKET_NEEDS)


class PublishStoryBody(RequestBody):
    """A news report and its first markets: all of it is published, or nothing."""

    title: Title
    body: StoryText
    category: CategoryName
    published_at: Moment
    source_url: Url | None = None
    slug: Slug | None = Field(None, description="if missing, derived from the title: a free one")
    markets: list[OpenMarketBody] = Field(default=[], max_length=STORY_MARKETS_MAX)


@router.post("", status_code=201, responses=written(STORY_WITH_MARKETS, PublishStory, status=201))
async def publish_story(request: Request, principal: Operator, story: PublishStoryBody) -> Response:
    """Publish a story with its markets."""
    command_id = command_id_of(request, principal, PublishStory)
    story_id = new_id("st", command_id)
    command = PublishStory(
        story_id=story_id,
        slug=story.slug,
        title=story.title,
        body=story.body,
        category=story.category,
        published_at=story.published_at,
        source_url=story.source_url,
        markets=tuple(
            open_market_command(market, new_id("mk", command_id, number), story_id)
            for number, market in enumerate(story.markets)
        ),
    )
    reply = await submit(request, command_id, command)
    return await resource(request, reply, NEEDS, lambda c, a: _get(c, a, story_id), 201)


@router.get("", responses=list_of(stories.StoryRow))
async def list_stories(
    read: Read, q: SearchText = None, category: str | None = None, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Stories, newest first, without their markets. `q` finds them by the words of their titles and texts."""
    after = read.after(cursor, int, str)
    rows, as_of = await read.fetch(
        (stories.list_stories,),
        lambda c, a: stories.list_stories(c, a, category=category, text=q, limit=limit + 1, after=after),
    )
    return read.page(rows, limit, serialize, as_of)


@router.get("/{story}", responses=page_of(STORY_WITH_MARKETS, "STORY_NOT_FOUND"))
async def get_story(read: Read, story: str, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """A story with its markets and their odds, in the order of their opening; `limit` and `cursor` are about the markets."""
    after = read.after(cursor, int, str)

    def query(connection: Connection[Any], as_of: AsOf) -> tuple[dict[str, Any], tuple[int, str] | None]:
        found = find_story(connection, as_of, story)
        rows = markets.story_markets(connection, as_of, found.story_id, limit=limit + 1, after=after)
        key = rows[limit - 1].key if len(rows) > limit else None
        return {**serialize(found), "markets": markets_json(connection, as_of, rows[:limit])}, key

    (found, key), as_of = await read.fetch(NEEDS, query)
    return answer(found, as_of, next_cursor=read.cursor(key, as_of))


def find_story(connection: Connection[Any], as_of: AsOf, reference: str) -> stories.StoryRow:
    """Return a story by id or slug; raises ApiError STORY_NOT_FOUND."""
    found = stories.get_story(connection, as_of, reference)
    if found is None:
        raise ApiError("STORY_NOT_FOUND", "no such story", {"story": reference})
    return found


def _get(connection: Connection[Any], as_of: AsOf, reference: str) -> dict[str, Any]:
    """Return a story with all its markets."""
    story = find_story(connection, as_of, reference)
    rows = markets.story_markets(connection, as_of, story.story_id)
    return {**serialize(story), "markets": markets_json(connection, as_of, rows)}
