"""The desk of operators and admins: what waits for them, and the state of the parts."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter
from psycopg import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api import key_store
from api.http.auth import Principal, require
from api.http.context import context_of, principal_of
from api.http.reads import Read, Reader
from api.http.routes.health import status_of
from api.http.routes.markets import find
from api.http.routes.stories import find_story
from api.page.cards import NEEDS as CARD_NEEDS
from api.page.cards import cards
from api.page.desk_words import Fault
from api.page.effects import NEEDS as EFFECT_NEEDS
from api.page.viewing import look, new_form_key, show
from domain.market import (
    ActivateMarket,
    AddLiquidity,
    ClarifyMarket,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    FinalizeMarket,
    HaltMarket,
    ResumeMarket,
    Status,
    UpholdMarket,
    VoidMarket,
)
from domain.market_decisions import LEGAL
from projections import accounts, invitations, stories
from projections.markets import listing, markets
from projections.markets.listing import Filter
from projections.reading import AsOf

router = APIRouter(include_in_schema=False)

WAITING: Final = (Status.DISPUTED, Status.CLOSED, Status.DETERMINED, Status.HALTED, Status.DRAFT)
"""The statuses that wait for an operator; the template says for what."""

COMMANDS: Final = {
    "activate": ActivateMarket,
    "uphold": UpholdMarket,
    "determine": DetermineMarket,
    "finalize": FinalizeMarket,
    "correct": CorrectMarket,
    "resume": ResumeMarket,
    "halt": HaltMarket,
    "close": CloseMarket,
    "clarify": ClarifyMarket,
    "add-liquidity": AddLiquidity,
    "void": VoidMarket,
}
"""The commands of an operator to a market, by the names of the desk's actions, in the order in which they are offered."""

ROWS_SHOWN: Final = 50
MARKET_NEEDS: Final = (markets.get_market, *CARD_NEEDS, *EFFECT_NEEDS)


async def at_the_desk(request: Request) -> Principal:
    """Return who is at the desk; raises ApiError UNAUTHENTICATED or FORBIDDEN."""
    return require(await principal_of(request), "operator", "admin")


@router.get("/desk")
async def show_desk(read: Read) -> Response:
    """What waits for somebody, all stories, and the state of the parts."""
    if read.principal is None:
        return RedirectResponse("/sign-in?next=/desk", 303)
    await at_the_desk(read.request)
    state = await status_of(read.context)
    registry = read.context.metrics.registry
    streams = {
        each: registry.get_sample_value("tidings_stream_connections", {"transport": each}) for each in ("sse", "ws")
    }

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        wanted = Filter(statuses=[each.value for each in WAITING])
        waiting = cards(connection, as_of, listing.newest(connection, as_of, wanted, limit=ROWS_SHOWN))
        active = listing.newest(connection, as_of, Filter(statuses=[Status.ACTIVE.value]), limit=ROWS_SHOWN)
        told = stories.list_stories(connection, as_of, limit=ROWS_SHOWN)
        return {"waiting": waiting, "active": cards(connection, as_of, active), "stories": told}

    return await show(
        read, "desk.html", (stories.list_stories, listing.newest, *CARD_NEEDS), query, state=state, streams=streams,
        parked=sum(each["parked"] for each in state["projections"]),
        behind=max((each["lag_seconds"] or 0 for each in state["projections"]), default=0),
    )  # fmt: skip


@router.get("/desk/stories/new")
async def show_new_story(read: Read) -> Response:
    """The form of a story with its first market."""
    await at_the_desk(read.request)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M")
    return await show_story_form(read, {"published_at": now}, [{}], None, None)


@router.get("/desk/stories/{story}")
async def show_new_market(read: Read, story: str) -> Response:
    """The form of one more market of a story."""
    await at_the_desk(read.request)
    return await show_market_form(read, story, {}, None, None)


async def show_market_form(
    read: Reader, story: str, draft: dict[str, str], preview: Any, fault: Fault | None, http_status: int = 200
) -> Response:
    """Return the form of one more market, with what was typed, and what it will look like."""
    form_key = draft.get("form_key") or new_form_key()
    return await show(
        read, "desk_open.html", (stories.get_story,), lambda c, a: {"story": find_story(c, a, story)},
        http_status=http_status, draft=defaultdict(str, draft), preview=preview, fault=fault, form_key=form_key,
    )  # fmt: skip


async def show_story_form(
    read: Reader,
    story: dict[str, str],
    drafts: list[dict[str, str]],
    preview: Any,
    fault: Fault | None,
    http_status: int = 200,
) -> Response:
    """Return the form of a story, with what was typed, and what it will look like."""
    form_key = story.get("form_key") or new_form_key()
    return await show(
        read, "desk_story.html", (accounts.get_account,), lambda _c, _a: {}, http_status=http_status,
        story=defaultdict(str, story), drafts=[defaultdict(str, draft) for draft in drafts], preview=preview,
        fault=fault, form_key=form_key,
    )  # fmt: skip


@router.get("/desk/markets/{market}")
async def show_desk_market(read: Read, market: str, done: str | None = None) -> Response:
    """What may be done with a market now."""
    await at_the_desk(read.request)
    return await show_market_desk(read, market, done=done)


async def show_market_desk(read: Reader, market: str, http_status: int = 200, **more: Any) -> Response:
    """Return the desk of a market; `more` has a review, a fault, or what was done."""
    given = {"review": None, "fault": None, "done": None, **more, "form": defaultdict(str, more.get("form", {}))}

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        (card,) = cards(connection, as_of, [find(connection, as_of, market)])
        actions = actions_of(Status(card.row.status))
        if card.row.status == Status.DETERMINED and card.now < (card.row.dispute_until or 0):
            actions.remove("finalize")  # the rules pay out when the window has ended
        return {"card": card, "actions": actions}

    form_key = given["form"]["form_key"] or new_form_key()
    return await show(
        read, "desk_market.html", MARKET_NEEDS, query, http_status=http_status, form_key=form_key, **given
    )


def actions_of(status: Status) -> list[str]:
    """Return the names of the commands that a market of this status takes from an operator."""
    return [name for name, command in COMMANDS.items() if status in LEGAL[command]]


@router.get("/desk/people")
async def show_people(read: Read) -> Response:
    """Invitations, accounts and keys."""
    require(read.principal, "admin")
    return await show_people_desk(read)


async def show_people_desk(read: Reader, http_status: int = 200, **more: Any) -> Response:
    """Return the desk of invitations, accounts and keys; `more` has what was made just now, or a fault and its form."""
    form = defaultdict(str, more.get("form", {}))
    given = {
        "made": defaultdict(str, more["made"]) if "made" in more else None,
        "fault": more.get("fault"),
        "form": form,
    }
    context = context_of(read.request)

    def keys() -> list[key_store.Key]:
        with context.pool.connection() as connection:
            return key_store.every(connection)

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        return {
            "invitations": invitations.list_invitations(connection, as_of, limit=ROWS_SHOWN),
            "accounts": accounts.list_accounts(connection, as_of, limit=ROWS_SHOWN),
        }

    needs = (invitations.list_invitations, accounts.list_accounts)
    made_keys = [key_store.public(key) for key in reversed(await run_in_threadpool(keys))][:ROWS_SHOWN]
    return await show(
        read,
        "desk_people.html",
        needs,
        query,
        http_status=http_status,
        form_key=form["form_key"] or new_form_key(),
        keys=made_keys,
        **given,
    )


async def desk_look(read: Reader, market: str, effects: Any) -> dict[str, Any]:
    """Return the market, and the effects that a function finds of it, in one snapshot."""

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        row = find(connection, as_of, market)
        return {"row": row, "effects": effects(connection, as_of, row)}

    _viewer, found, _as_of = await look(read, MARKET_NEEDS, query)
    return found
