"""The forms of traders: review and place an order, cancel one, dispute a result."""

from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter
from psycopg import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.http.auth import Principal, require
from api.http.context import context_of, principal_of
from api.http.errors import ApiError
from api.http.reads import Read
from api.http.routes.markets import DisputeMarketBody, dispute_market, find
from api.http.routes.orders import CancelOrdersBody, cancel_order, cancel_orders
from api.page.cards import RANGES, MarketCard, cards
from api.page.filters import segment
from api.page.routes import MARKET_NEEDS, whole_market
from api.page.tickets import (
    FieldError,
    Preview,
    Problem,
    Ticket,
    confirm,
    form_values,
    new_order_id,
    preview,
    problem_of,
    reviewed,
    ticket_of,
)
from api.page.viewing import (
    UNDECIDED,
    Viewer,
    answer_with,
    back_to,
    form_key_after,
    form_of,
    look,
    position_in,
    reader_of_form,
    validated,
    with_form_key,
)
from projections.reading import AsOf

router = APIRouter(include_in_schema=False)

FAILED: Final = 422
"""The status of a page with a form that was not accepted."""


@router.post("/markets/{market}/orders")
async def order(request: Request, market: str) -> Response:
    """Review an order, `step=review`, or place it, `step=confirm`. A refusal is shown on the market's page."""
    form = await form_of(request)
    principal = require(await principal_of(request), "trader")
    read = await reader_of_form(request)
    ticket = ticket_of(form)
    shown: MarketCard | None = None

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        nonlocal shown
        (shown,) = cards(connection, as_of, [find(connection, as_of, market)])
        return whole_market(read, connection, as_of, shown, "all", principal.account_id, None)

    viewer, found, as_of = await look(read, MARKET_NEEDS, query)
    assert shown is not None, "the query has set it"
    quote, problem = None, None
    if form.get("step") == "confirm" and form.get("reviewed") == reviewed(ticket):
        placed, problem = await _confirmed(request, principal, ticket, shown)
        if placed is not None:
            next_ticket = {"side": ticket.side, "outcome": ticket.outcome or ""}  # people go on with what they traded
            told = {"placed": placed["order_id"], "min_position": placed["position"], **next_ticket}
            return RedirectResponse(f"/markets/{shown.row.slug}?{urlencode(told)}#ticket", 303)
        if problem is not None and problem.code not in UNDECIDED:
            ticket = replace(ticket, client_order_id=new_order_id())  # the log has the refusal under the old one
    quote, refused = await _previewed(request, principal, ticket, shown, viewer)
    problem = problem or refused
    more = _market_values(ticket, quote, problem)
    return answer_with(read, "market.html", viewer, as_of, FAILED if problem else 200, **found, **more)


@router.post("/markets/{market}/dispute")
async def dispute(request: Request, market: str) -> Response:
    """Contest the proposed result of a market, with the smallest bond. A refusal is shown on the market's page."""
    form = await form_of(request)
    context, principal = context_of(request), require(await principal_of(request), "trader")
    market_id = await context.references.resolve("market", market)
    try:
        body = validated(DisputeMarketBody, {"reason": form.get("reason", "")})
        answer = await dispute_market(with_form_key(request, form), context, principal, market_id, body)
    except ApiError as error:
        read = await reader_of_form(request)

        def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
            (card,) = cards(connection, as_of, [find(connection, as_of, market)])
            found = whole_market(read, connection, as_of, card, "all", principal.account_id, None)
            return {**found, "reason": form.get("reason", "")}

        viewer, found, as_of = await look(read, MARKET_NEEDS, query)
        more = _market_values(Ticket(form_key_after(error, form)), None, problem_of(error))
        return answer_with(read, "market.html", viewer, as_of, FAILED, **found, **more)
    return RedirectResponse(f"/markets/{market}?min_position={position_in(answer)}", 303)


@router.get("/markets/{market}/orders")
@router.get("/markets/{market}/dispute")
async def show_market_of_form(read: Read, market: str) -> Response:
    """Lead to the market: these addresses stand in the browser above a form that was refused, and are loaded again there."""
    query = read.request.url.query
    return RedirectResponse(f"/markets/{segment(market)}{'?' if query else ''}{query}", 303)


@router.post("/orders/{order_id}/cancel")
async def cancel(request: Request, order_id: str) -> Response:
    """Cancel a resting order, and show the page again that it was canceled from."""
    form = await form_of(request)
    principal = require(await principal_of(request), "trader")
    try:
        answer = await cancel_order(request, context_of(request), principal, order_id)
    except ApiError as error:
        if error.code != "ORDER_NOT_OPEN":
            raise
        return RedirectResponse(back_to(form, "/portfolio", int(error.details.get("position", 0))), 303)
    return RedirectResponse(back_to(form, "/portfolio", position_in(answer)), 303)


@router.post("/orders/cancel-all")
async def cancel_all(request: Request) -> Response:
    """Cancel all resting orders of the account."""
    form = await form_of(request)
    principal = require(await principal_of(request), "trader")
    answer = await cancel_orders(request, context_of(request), principal, CancelOrdersBody())
    return RedirectResponse(back_to(form, "/portfolio", position_in(answer)), 303)


def _market_values(ticket: Ticket, quote: Preview | None, problem: Problem | None) -> dict[str, Any]:
    """Return what the page of a market needs beside the market."""
    return {
        "range": "all",
        "ranges": list(RANGES),
        "order": form_values(ticket),
        "quote": quote,
        "problem": problem,
        "reviewed": reviewed(ticket),
    }


async def _confirmed(
    request: Request, principal: Principal, ticket: Ticket, card: MarketCard
) -> tuple[dict[str, Any] | None, Problem | None]:
    """Return the answer to an order that was placed, or why it was not."""
    try:
        return await confirm(request, principal, ticket, card), None
    except (ApiError, FieldError) as error:
        return None, problem_of(error)


async def _previewed(
    request: Request, principal: Principal, ticket: Ticket, card: MarketCard, viewer: Viewer | None
) -> tuple[Preview | None, Problem | None]:
    """Return what an order would do, or why it would not."""
    try:
        return await preview(request, principal, ticket, card, viewer.available if viewer else None), None
    except (ApiError, FieldError) as error:
        return None, problem_of(error)
