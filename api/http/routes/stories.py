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
from api.http.openapi import list_of, one, written
from api.http.reads import Cursor, Limit, Read, answer
from api.http.resources import STORY_WITH_MARKETS
from api.http.routes.markets import OpenMarketBody, market_json, open_market_command
from api.http.serializers import serialize
from api.http.writes import command_id_of, resource, submit
from domain.story import STORY_MARKETS_MAX, PublishStory
from messages.commands import new_id
from projections import stories
from projections.markets import markets
from projections.reading import AsOf

router = APIRouter(prefix="/stories", tags=["stories"])

NEEDS: Final = (stories.get_story, "markets")


class PublishStoryBody(RequestBody):
    """A news report and its first markets: all of it is published, or nothing."""

    title: Title
    body: StoryText
    category: CategoryName
    published_at: Moment
    source_url: Url | None = None
    slug: Slug | None = Field(None, description="derived from the title if missing")
    markets: list[OpenMarketBody] = Field(default=[], max_length=STORY_MARKETS_MAX)


@router.post("", status_code=201, responses=written(STORY_WITH_MARKETS, PublishStory, status=201))
async def publish_story(request: Request, principal: Operator, story: PublishStoryBody) -> Response:
    """Publish a story with its markets."""
    command_id = command_id_of(request, principal)
    story_id = new_id("st", command_id)
    command = PublishStory(
        story_id=story_id,
        slug=story.slug or slug_of(story.title),
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
async def list_stories(read: Read, category: str | None = None, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Stories, newest first, without their markets."""
    after = read.after(cursor, int, str)
    rows, as_of = await read.fetch(
        (stories.list_stories,), lambda c, a: stories.list_stories(c, a, category=category, limit=limit, after=after)
    )
    return read.page(rows, limit, serialize, as_of)


@router.get("/{story}", responses=one(STORY_WITH_MARKETS, "STORY_NOT_FOUND"))
async def get_story(read: Read, story: str) -> Response:
    """A story with its markets and their odds."""
    found, as_of = await read.fetch(NEEDS, lambda c, a: _get(c, a, story))
    return answer(found, as_of)


def slug_of(title: str) -> str:
    """Return a slug derived from a title: its ASCII letters and digits in lower case, at most 100 characters."""
    words = "".join(char if char.isascii() and char.isalnum() else " " for char in title.lower()).split()
    return "-".join(words)[:100].rstrip("-") or "story"


def _get(connection: Connection[Any], as_of: AsOf, reference: str) -> dict[str, Any]:
    story = stories.get_story(connection, as_of, reference)
    if story is None:
        raise ApiError("STORY_NOT_FOUND", "no such story", {"story": reference})
    found = markets.list_markets(connection, as_of, story_id=story.story_id, limit=1000)
    return {**serialize(story), "markets": [market_json(market) for market in sorted(found, key=lambda row: row.key)]}
