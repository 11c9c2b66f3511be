"""The pages that everybody may see: stories, a story, a market."""

from time import time_ns
from typing import Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter
from psycopg import Connection
from starlette.responses import RedirectResponse, Response

from api.http.labels import NEEDS as LABEL_NEEDS
from api.http.reads import Read, Reader, query_time
from api.http.routes.markets import find
from api.http.routes.stories import find_story
from api.page.cards import DAY, ENDED, RANGES, MarketCard, add_chart, add_charts, add_sparks, cards
from api.page.cards import NEEDS as CARD_NEEDS
from api.page.event_words import event_words
from api.page.languages import translate as _
from api.page.tickets import Ticket, form_values, new_order_id
from api.page.viewing import local_path, show
from domain.market import Status
from domain.orders import OPEN_ORDERS_MAX
from projections import book, lifecycle, orders, stories
from projections.markets import listing, markets
from projections.markets.listing import Filter
from projections.positions import payments, positions
from projections.reading import AsOf
from projections.stories import StoryRow
from projections.trades import trades

router = APIRouter(include_in_schema=False)

STORIES_SHOWN: Final = 24
"""The stories on the front page."""

ROWS_SHOWN: Final = 20
"""The rows of a table before "all"."""

Range = Literal["1d", "1w", "1m", "all"]

STORY_NEEDS: Final = (stories.get_story, stories.list_stories, markets.story_markets, *CARD_NEEDS)
FRONT_NEEDS: Final = (stories.list_stories, listing.newest, listing.ranked, *CARD_NEEDS)
MARKET_NEEDS: Final = (
    markets.get_market,
    markets.resolutions,
    stories.by_id,
    trades.market_trades,
    book.book,
    lifecycle.market_events,
    positions.holders,
    positions.account_positions,
    payments.settled_in,
    orders.account_orders,
    *LABEL_NEEDS,
    *CARD_NEEDS,
)

HOLDERS_SHOWN: Final = 10
"""The largest holders on the page of a market."""

SOON: Final = 31 * DAY
"""What closes in this time is closing soon."""


@router.get("/")
async def show_front(read: Read, category: str | None = None, status: str | None = None) -> Response:
    """The stories, newest first, each with its markets; what moves, what closes soon, what was resolved."""

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        told = stories.list_stories(connection, as_of, category=category, limit=STORIES_SHOWN)
        wanted = Filter(statuses=[status] if status else (), stories=[each.story_id for each in told] or ["none"])
        shown = cards(connection, as_of, listing.newest(connection, as_of, wanted, limit=200))
        by_story = {
            each.story_id: [card for card in shown if card.row.story_id == each.story_id][::-1] for each in told
        }
        if status:
            told = [each for each in told if by_story[each.story_id]]
        leads = [card for each in told for card in by_story[each.story_id][:3]]
        add_sparks(connection, as_of, leads)
        newest = by_story[told[0].story_id] if told else []
        first = max(newest, key=lambda card: (card.is_open, card.row.volume), default=None)
        if first is not None:
            add_charts(connection, as_of, [first], 640, 270)
        return {
            "stories": told,
            "by_story": by_story,
            "first": first,
            "lists": _lists(connection, as_of),
            "statuses": _statuses(),
        }

    return await show(read, "stories.html", FRONT_NEEDS, query, category=category, status=status)


@router.get("/stories/{story}")
async def show_story(read: Read, story: str) -> Response:
    """A story with its markets."""

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        found = find_story(connection, as_of, story)
        shown = cards(connection, as_of, markets.story_markets(connection, as_of, found.story_id))
        add_charts(connection, as_of, shown[:ROWS_SHOWN], 400, 150)
        return {"story": found, "cards": shown, "paragraphs": paragraphs(found)}

    return await show(read, "story.html", STORY_NEEDS, query)


@router.get("/markets/{market}")
async def show_market(
    read: Read,
    market: str,
    range: Range = "all",  # noqa: A002  stands in the URL
    placed: str | None = None,
    side: Literal["buy", "sell"] = "buy",
    outcome: str | None = None,
) -> Response:
    """A market: odds, chart, ticket, how it resolves, and all that happened in it."""
    account_id = read.principal.account_id if read.principal else None

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        (card,) = cards(connection, as_of, [find(connection, as_of, market)])
        return whole_market(read, connection, as_of, card, range, account_id, placed)

    order = form_values(Ticket(new_order_id(), side, outcome))
    return await show(
        read,
        "market.html",
        MARKET_NEEDS,
        query,
        range=range,
        ranges=list(RANGES),
        order=order,
        quote=None,
        problem=None,
    )


@router.get("/then")
async def show_then(time: str = "", path: str = "/") -> Response:
    """Lead to a page as it was at a time of the form, in UTC; to the page of now without one, or with one to come."""
    there, moment = local_path(path), time + {16: ":00Z", 19: "Z"}.get(len(time), "")  # as `datetime-local` writes it
    then = query_time("as_of", moment or None)
    if then is None or then > time_ns() // 1_000:
        return RedirectResponse(there, 303)
    return RedirectResponse(f"{there}?{urlencode({'as_of': moment})}", 303)


def whole_market(
    read: Reader,
    connection: Connection[Any],
    as_of: AsOf,
    card: MarketCard,
    range_: str,
    account_id: str | None,
    placed: str | None,
) -> dict[str, Any]:
    """Return all that the page of a market shows."""
    row = card.row
    add_chart(connection, as_of, card, range_, 640, 340)
    life = lifecycle.market_events(connection, as_of, row.market_id, limit=100)
    if card.chart is not None:
        card.chart.add_marks([(each.time, event_words(each.type)) for each in life])
    told = trades.market_trades(connection, as_of, row.market_id, limit=ROWS_SHOWN)
    held = positions.holders(connection, as_of, row.market_id, limit=HOLDERS_SHOWN)
    names = read.context.labels.of(connection, as_of, [*told, *held])
    found = stories.by_id(connection, as_of, [row.story_id])
    own: dict[str, Any] = {"positions": [], "orders": [], "settled": [], "placed": None}
    if account_id is not None:
        mine = row.market_id
        own["positions"] = positions.account_positions(connection, as_of, account_id, market_id=mine)
        own["settled"] = payments.settled_in(connection, as_of, account_id, mine)
        wanted = orders.Wanted(row.market_id, is_open=True)
        own["orders"] = orders.account_orders(connection, as_of, account_id, wanted=wanted, limit=OPEN_ORDERS_MAX)
        if placed is not None:
            order = orders.get_order(connection, as_of, placed)
            own["placed"] = order if order is not None and order.account_id == account_id else None
    return {
        "card": card,
        "story": found[0] if found else None,
        "wordings": markets.resolutions(connection, as_of, row.market_id)[::-1],
        "trades": [(each, name_of(names, each.account_id)) for each in told],
        "holders": [(each, name_of(names, each.account_id)) for each in held],
        "books": sorted(book.book(connection, as_of, row), key=lambda each: _place(card, each.outcome)),
        "life": [(each, event_words(each.type)) for each in life],
        "reason": "",
        **own,
    }


def name_of(labels: Any, account_id: str | None) -> str:
    """Return the name of an account."""
    label: str = labels.add({"account_id": account_id})["account"] or ""
    return label


def paragraphs(story: StoryRow) -> list[str]:
    """Return the text of a story by its paragraphs: blank lines separate them."""
    return [part.strip() for part in story.body.replace("\r", "").split("\n\n") if part.strip()]


def _place(card: MarketCard, outcome: str) -> int:
    return next(number for number, each in enumerate(card.outcomes) if each.name == outcome)


def _lists(connection: Connection[Any], as_of: AsOf) -> list[tuple[str, str, list[MarketCard]]]:
    """Return the short lists of the front page: what each shows beside the odds, its title, its markets. None is empty."""
    active = Filter(statuses=[Status.ACTIVE.value])
    moving = [
        card
        for card in cards(connection, as_of, listing.ranked(connection, as_of, "movement", active, limit=3))
        if any(each.has_moved for each in card.outcomes)
    ]
    ranked = cards(connection, as_of, listing.ranked(connection, as_of, "closing", active, limit=3))
    closing = [card for card in ranked if card.row.close_time < card.now + SOON]
    ended = listing.newest(connection, as_of, Filter(statuses=sorted(ENDED)), limit=50)
    lately = cards(connection, as_of, sorted(ended, key=lambda row: -row.time)[:3])
    lists = [
        ("change", _("Moving now"), moving),
        ("state", _("Closing soon"), closing),
        ("state", _("Resolved lately"), lately),
    ]
    return [each for each in lists if each[2]]


def _statuses() -> dict[str, str]:
    return {"active": _("open"), "closed": _("closed"), "disputed": _("disputed"), "finalized": _("resolved")}
