"""What other sites take: RSS of stories and of resolutions, and a market to be embedded in an article."""

from typing import Any, Final
from xml.etree import ElementTree as ET

from fastapi import APIRouter
from psycopg import Connection
from starlette.responses import Response

from api.http.reads import Read
from api.http.routes.markets import find
from api.page.cards import ENDED, add_charts, cards
from api.page.cards import NEEDS as CARD_NEEDS
from api.page.filters import rfc_822
from api.page.rendering import POLICY
from api.page.viewing import show
from projections import stories
from projections.markets import listing, markets
from projections.markets.listing import Filter
from projections.reading import AsOf

router = APIRouter(include_in_schema=False)

ITEMS_MAX: Final = 50
"""The most items of a feed."""

EMBED_POLICY: Final = POLICY.format(ancestors="*")
"""The policy of a page that any site may frame: it shows what everybody may see, and has no button."""


@router.get("/embed/markets/{market}")
async def embed_market(read: Read, market: str) -> Response:
    """A market for the frame of another site: odds and chart, live, without a ticket."""

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        shown = cards(connection, as_of, [find(connection, as_of, market)])
        add_charts(connection, as_of, shown, 400, 150)
        return {"card": shown[0]}

    answer = await show(read, "embed.html", (markets.get_market, *CARD_NEEDS), query)
    answer.headers["content-security-policy"] = EMBED_POLICY
    return answer


@router.get("/rss/stories")
async def feed_stories(read: Read, category: str | None = None) -> Response:
    """The newest stories as RSS."""
    rows, _ = await read.fetch(
        (stories.list_stories,), lambda c, a: stories.list_stories(c, a, category=category, limit=ITEMS_MAX)
    )
    items = [
        (row.title, f"/stories/{row.slug}", row.body, row.published_at, row.story_id)
        for row in rows
    ]  # fmt: skip
    return _feed(read, "Tidings: stories", items)


@router.get("/rss/resolutions")
async def feed_resolutions(read: Read) -> Response:
    """The markets that were resolved or voided last as RSS."""

    def query(connection: Connection[Any], as_of: AsOf) -> list[Any]:
        ended = listing.newest(connection, as_of, Filter(statuses=sorted(ENDED)), limit=1000)
        return cards(connection, as_of, sorted(ended, key=lambda row: -row.time)[:ITEMS_MAX])

    found, _ = await read.fetch((listing.newest, *CARD_NEEDS), query)
    items = [
        (
            f"{card.row.question} {card.state}",
            f"/markets/{card.row.slug}",
            card.row.evidence_text or card.row.void_reason or "",
            card.row.time,
            f"{card.row.market_id} {card.row.position}",
        )
        for card in found
    ]
    return _feed(read, "Tidings: results", items)


def _feed(read: Read, title: str, items: list[tuple[str, str, str, int, str]]) -> Response:
    origin = f"{read.request.url.scheme}://{read.request.url.netloc}"
    root = ET.Element("rss", version="2.0")
    channel = ET.SubElement(root, "channel")
    for name, text in (("title", title), ("link", f"{origin}/"), ("description", title)):
        ET.SubElement(channel, name).text = text
    for headline, path, text, time, guid in items:
        item = ET.SubElement(channel, "item")
        ET.SubElement(item, "title").text = headline
        ET.SubElement(item, "link").text = f"{origin}{path}"
        ET.SubElement(item, "description").text = text
        ET.SubElement(item, "pubDate").text = rfc_822(time)
        ET.SubElement(item, "guid", isPermaLink="false").text = guid
    return Response(ET.tostring(root, "utf-8", xml_declaration=True), media_type="application/rss+xml")
