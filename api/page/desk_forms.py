"""The forms of the desk: each is reviewed, with what it will do to whom, then confirmed. Each is a command of the API.

The form's key is the command's idempotency key: a form that is sent twice is one command.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import time_ns
from typing import Any, Final

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.http.auth import Principal, require
from api.http.context import context_of, principal_of
from api.http.errors import ApiError, invalid_field
from api.http.routes import accounts, invitations, keys, markets, stories
from api.http.routes.markets import MarketWrite, OpenMarketBody
from api.page import effects
from api.page.desk import at_the_desk, desk_look, show_market_desk, show_market_form, show_people_desk, show_story_form
from api.page.desk_words import fault_of
from api.page.viewing import form_key_after, form_lists, form_of, position_in, reader_of_form, validated, with_form_key
from domain.market_decisions import open_market
from domain.money import MICRO, format_decimal, parse_decimal
from domain.rejections import Rejection

router = APIRouter(include_in_schema=False)

MARKETS_MAX: Final = 8
"""The most markets of a story's form; more can be opened afterwards."""


@router.post("/desk/stories/new")
async def new_story(request: Request) -> Response:
    """Add a market to the form, show the story as it will look, or publish it."""
    lists = await form_lists(request)
    principal = require(await principal_of(request), "operator")
    read = await reader_of_form(request)
    story = {name: values[-1] for name, values in lists.items() if not name.startswith("market_")}
    drafts = _drafts(lists)
    step = story.get("step", "review")
    if step == "more":
        return await show_story_form(read, story, [*drafts, {}][:MARKETS_MAX], None, None)
    try:
        body = validated(stories.PublishStoryBody, _story_json(story, drafts))
        for number, market in enumerate(body.markets):
            _check(market, number)
        if step != "publish" or not body.markets:
            return await show_story_form(read, story, drafts or [{}], _preview(body), None)
        answer = await stories.publish_story(with_form_key(request, story), principal, body)
    except ApiError as error:
        story |= {"form_key": form_key_after(error, story)}
        return await show_story_form(read, story, drafts or [{}], None, fault_of(error), http_status=422)
    return _to_made(answer, "/stories", "story_id")


@router.post("/desk/stories/{story}")
async def add_market(request: Request, story: str) -> Response:
    """Show one more market of a story as it will look, or open it."""
    form = await form_of(request)
    principal = require(await principal_of(request), "operator")
    read = await reader_of_form(request)
    draft = {name.removeprefix("market_"): value for name, value in form.items()}
    try:
        body = validated(OpenMarketBody, _market_json(draft))
        _check(body)
        if draft.get("step") != "publish":
            return await show_market_form(read, story, draft, _draft_card(body), None)
        answer = await markets.open_market(with_form_key(request, form), context_of(request), principal, story, body)
    except ApiError as error:
        if error.status == 404:
            raise
        draft |= {"form_key": form_key_after(error, form)}
        return await show_market_form(read, story, draft, None, fault_of(error, "0"), http_status=422)
    return _to_made(answer, "/markets", "market_id")


def _to_made(answer: Response, folder: str, id_name: str) -> Response:
    """Lead to the page of what an answer has made."""
    made: dict[str, Any] = msgspec.json.decode(bytes(answer.body))
    return RedirectResponse(f"{folder}/{made.get('slug') or made[id_name]}?min_position={made['position']}", 303)


@router.post("/desk/markets/{market}")
async def act_on_market(request: Request, market: str) -> Response:
    """Review what a command to a market will do, or send it."""
    form = await form_of(request)
    principal = await at_the_desk(request)
    read = await reader_of_form(request)
    action = form.get("action", "")
    try:
        if action not in _ACTIONS:
            raise invalid_field("action", f"must be one of {', '.join(_ACTIONS)}")
        if form.get("step") != "confirm":
            if action in {"determine", "correct"}:
                _paid(form)  # whatever is wrong with it is said now, not after the review
            found = await desk_look(read, market, _effects_of(action, form))
            return await show_market_desk(read, market, review=found["effects"] or True, form=form)
        write = await _write(request, principal, market, form)
        answer = await _ACTIONS[action](write, form)
    except ApiError as error:
        if error.status == 404:
            raise
        again = form | {"form_key": form_key_after(error, form)}
        return await show_market_desk(read, market, 422, fault=fault_of(error, action), form=again)
    return RedirectResponse(f"/desk/markets/{market}?done={action}&min_position={position_in(answer)}", 303)


@router.post("/desk/people")
async def act_on_people(request: Request) -> Response:
    """Make or revoke an invitation, open an account, pay in, make or revoke a key."""
    form = await form_of(request)
    principal = require(await principal_of(request), "admin")
    read = await reader_of_form(request)
    try:
        made = await _people(with_form_key(request, form), principal, form)
    except ApiError as error:
        again = form | {"form_key": form_key_after(error, form)}
        return await show_people_desk(read, 422, fault=fault_of(error, form.get("action", "")), form=again)
    read.min_position = made.get("position")
    return await show_people_desk(read, made=made | {"action": form["action"]})


async def _people(request: Request, principal: Principal, form: dict[str, str]) -> dict[str, Any]:
    context = context_of(request)
    answer: Response
    match form.get("action"):
        case "invite":
            days = _whole(form, "days", 1, 3650)
            expires = (
                (datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)).isoformat().replace("+00:00", "Z")
            )
            given = {
                "uses": _whole(form, "uses", 1, 1_000_000),
                "expires_at": expires,
                "credits": form.get("credits") or "0",
            }
            body = validated(invitations.CreateInvitationBody, given)
            answer = await invitations.create_invitation(request, context, principal, body)
        case "uninvite":
            answer = await invitations.revoke_invitation(request, context, principal, form.get("invitation_id", ""))
        case "open":
            named = validated(accounts.OpenAccountBody, {"name": form.get("name", "")})
            answer = await accounts.open_account(request, principal, named)
        case "deposit":
            account_id = await context.references.resolve("account", form.get("account", ""))
            cash = validated(accounts.CashBody, {"amount": form.get("amount", "")})
            answer = await accounts.deposit(request, principal, account_id, cash)
        case "key":
            account = form.get("account") or None
            key = validated(keys.CreateKeyBody, {"roles": [form.get("role", "")], "account": account})
            answer = await keys.create_key(request, context, principal, key)
        case "unkey":
            answer = await keys.revoke_key(context, principal, form.get("key_id", ""))
        case _:
            raise invalid_field("action", "is unknown")
    made: dict[str, Any] = msgspec.json.decode(bytes(answer.body))
    return made


async def _write(request: Request, principal: Principal, market: str, form: dict[str, str]) -> MarketWrite:
    market_id = await context_of(request).references.resolve("market", market)
    return MarketWrite(with_form_key(request, form), require(principal, "operator"), market_id)


def _effects_of(action: str, form: dict[str, str]) -> Callable[..., effects.Effects | None]:
    """Return what finds the effects of a command on accounts; it finds None where the command moves no money."""

    def found(connection: Any, as_of: Any, row: Any) -> effects.Effects | None:
        match action:
            case "determine" | "correct":
                payouts = {name: _fraction(value) for name, value in _payouts(form).items()}
                return effects.of_payouts(connection, as_of, row, payouts)
            case "finalize" | "uphold":
                payouts = dict(zip(row.outcomes, row.payouts or (), strict=False))
                return effects.of_payouts(connection, as_of, row, payouts)
            case "void":
                return effects.of_void(connection, as_of, row)
            case _:
                return None

    return found


def _payouts(form: dict[str, str]) -> dict[str, str]:
    """Return the fractions in a form: all for one outcome, or what each one's field says, in percent."""
    if form.get("winner"):
        return {form["winner"]: "1"}
    given = {
        name.removeprefix("payout_"): value for name, value in form.items() if name.startswith("payout_") and value
    }
    if not given:
        raise invalid_field("winner", "choose the outcome that came true, or type what each outcome pays")
    return {name: format_decimal(_fraction_of_percent("payouts", value)) for name, value in given.items()}


def _fraction_of_percent(field: str, text: str) -> int:
    try:
        return parse_decimal(text.replace(",", ".")) // 100
    except ValueError as error:
        raise invalid_field(field, str(error)) from error


def _fraction(text: str) -> int:
    return MICRO if text == "1" else parse_decimal(text)


def _paid(form: dict[str, str]) -> markets.PayoutsBody:
    evidence: dict[str, Any] = {"text": form.get("evidence", "")}
    if form.get("evidence_url"):
        evidence["url"] = form["evidence_url"]
    return validated(markets.PayoutsBody, {"payouts": _payouts(form), "evidence": evidence})


_ACTIONS: Final[dict[str, Callable[[MarketWrite, dict[str, str]], Any]]] = {
    "activate": lambda write, _: markets.activate_market(write),
    "halt": lambda write, _: markets.halt_market(write),
    "resume": lambda write, _: markets.resume_market(write),
    "close": lambda write, _: markets.close_market(write),
    "clarify": lambda write, form: markets.clarify_market(
        write, validated(markets.ClarifyMarketBody, {"resolution_source": form.get("resolution_source", "")})
    ),
    "add-liquidity": lambda write, form: markets.add_liquidity(
        write, validated(markets.AddLiquidityBody, {"amount": form.get("amount", "")})
    ),
    "determine": lambda write, form: markets.determine_market(write, _paid(form)),
    "uphold": lambda write, _: markets.uphold_market(write),
    "finalize": lambda write, _: markets.finalize_market(write),
    "correct": lambda write, form: markets.correct_market(write, _paid(form)),
    "void": lambda write, form: markets.void_market(
        write, validated(markets.VoidMarketBody, {"reason": form["reason"]} if form.get("reason") else {})
    ),
}


def _drafts(lists: dict[str, list[str]]) -> list[dict[str, str]]:
    """Return the markets of a story's form, without those in which nothing was typed."""
    names = ("question", "outcomes", "subsidy", "close_time", "resolution_source", "fee", "prices", "hours")
    count = max((len(lists.get(f"market_{name}", [])) for name in names), default=0)
    drafts = [
        {name: values[number] for name in names if number < len(values := lists.get(f"market_{name}", []))}
        for number in range(min(count, MARKETS_MAX))
    ]
    return [
        draft for draft in drafts if any(draft.get(name) for name in ("question", "close_time", "resolution_source"))
    ]


def _story_json(story: dict[str, str], drafts: list[dict[str, str]]) -> dict[str, Any]:
    given: dict[str, Any] = {name: story.get(name, "") for name in ("title", "body", "category")}
    given["published_at"] = _time(story.get("published_at", ""))
    if story.get("source_url"):
        given["source_url"] = story["source_url"]
    return given | {"markets": [_market_json(draft, number) for number, draft in enumerate(drafts)]}


def _market_json(draft: dict[str, str], number: int = 0) -> dict[str, Any]:
    where = f"markets.{number}."
    outcomes = [line.strip() for line in draft.get("outcomes", "").splitlines() if line.strip()]
    market: dict[str, Any] = {
        "question": draft.get("question", ""),
        "outcomes": outcomes,
        "subsidy": draft.get("subsidy", ""),
        "close_time": _time(draft.get("close_time", "")),
        "resolution_source": draft.get("resolution_source", ""),
    }
    if draft.get("fee"):
        market["fee_rate"] = format_decimal(_fraction_of_percent(f"{where}fee_rate", draft["fee"]))
    if draft.get("hours"):
        market["dispute_seconds"] = 3600 * _whole(draft, "hours", 0, 8760, where)
    prices = [line.strip() for line in draft.get("prices", "").splitlines() if line.strip()]
    if prices:
        market["initial_prices"] = [
            format_decimal(_fraction_of_percent(f"{where}initial_prices", price)) for price in prices
        ]
    return market


def _time(text: str) -> str:
    """Return the text of a field `datetime-local`, which is UTC here, in RFC 3339."""
    return f"{text}:00Z" if len(text) == len("2026-11-30T10:00") else text


def _preview(body: stories.PublishStoryBody) -> dict[str, Any]:
    """Return a story as it will look, and what the house can lose with it."""
    return {"story": body, "markets": [_draft_card(market) for market in body.markets], "loss": _loss(body.markets)}


def _check(market: OpenMarketBody, number: int = 0) -> None:
    """Raise ApiError where the engine would refuse to open a market; `number` is its place in the form."""
    found = open_market(markets.open_market_command(market, "mk", "st"), "preview", time_ns() // 1_000)
    if isinstance(found, Rejection):
        name = found.details.get("field", "close_time")  # a refusal without a field is about the time
        raise ApiError("INVALID_FIELD", found.message, {"field": f"markets.{number}.{name}"})


def _draft_card(market: OpenMarketBody) -> dict[str, Any]:
    count = len(market.outcomes)
    prices = market.initial_prices or tuple(MICRO // count for _ in range(count))
    return {"market": market, "odds": list(zip(market.outcomes, prices, strict=False))}


def _loss(opened: list[OpenMarketBody]) -> int:
    return sum(market.subsidy for market in opened)


def _whole(form: dict[str, str], name: str, least: int, most: int, where: str = "") -> int:
    text = form.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise invalid_field(f"{where}{name}", f"must be a whole number from {least} to {most}")
    return int(text)
