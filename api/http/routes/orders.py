"""Orders: place, batch, quote, cancel, amend. They are answered from the engine's reply alone, without the database.

Placing is the hot path: `api.http.routes.order_entry` serves it, and comes here with all that is not as usual.
"""

import asyncio
from typing import Any, Final, TypeVar

from fastapi import APIRouter
from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.http.auth import Principal
from api.http.context import Anyone, WithContext, context_of
from api.http.errors import ApiError, from_pydantic
from api.http.fields import Amount, Body, ClientOrderId, Guard, Moment, Outcome, Price, Reference
from api.http.reads import json
from api.http.writes import command_id_of, quote_reply, refusal, reply_to, submit
from domain.book import Side
from domain.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    OrderType,
    PlaceOrder,
    SelfTradePrevention,
    TimeInForce,
)
from messages.commands import order_command_id, with_ids
from messages.replies import Reply

router = APIRouter(tags=["orders"])

BATCH_MAX: Final = 100


class Quote(Body):
    """An order without an id: what it would do now."""

    account: Reference | None = Field(None, description="id or name; a trader's key has its own account")
    market_id: Reference = Field(description="id or slug")
    outcome: Outcome
    side: Side
    type: OrderType
    quantity: Amount | None = Field(None, description="shares")
    spend: Amount | None = Field(None, description="credits, for a market buy instead of `quantity`")
    limit_price: Price | None = None
    time_in_force: TimeInForce | None = Field(None, description="limit: GTC if missing; market: IOC")
    expires_at: Moment | None = Field(None, description="for GTD")
    post_only: bool = False
    reduce_only: bool = False
    max_cost: Amount | None = Field(None, description="refuse when more would be paid, fees included")
    min_proceeds: Guard | None = Field(None, description="refuse when less would be received, fees included")
    self_trade_prevention: SelfTradePrevention = "cancel_taker"


class Order(Quote):
    """An order. The same `client_order_id` with the same order is one order, however often it is sent."""

    client_order_id: ClientOrderId
    dry_run: bool = False


class Batch(Body):
    """Up to 100 orders; each has a result of its own."""

    account: Reference | None = Field(None, description="for orders that name none")
    orders: list[dict[str, Any]] = Field(min_length=1, max_length=BATCH_MAX)


class CancelMany(Body):
    """All resting orders of the account, or those in one market."""

    account: Reference | None = None
    market_id: Reference | None = None


class Amend(Body):
    """A new price, a new total quantity (what is filled included), or both."""

    account: Reference | None = None
    price: Price | None = None
    quantity: Amount | None = None


BodyT = TypeVar("BodyT", bound=Body)


def parsed(model: type[BodyT], raw: bytes) -> BodyT:
    """Return the body of a request; raises ApiError MALFORMED_JSON or INVALID_FIELD."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise from_pydantic(error.errors(include_url=False, include_input=False)) from error


async def place(request: Request, principal: Principal, raw: bytes) -> tuple[int, dict[str, Any]]:
    """Place the order of a body: 201 with what it did, or with `dry_run` 200 with what it would do."""
    order = parsed(Order, raw)
    if order.dry_run:
        return 200, await _quoted(request, principal, order, order.client_order_id)
    reply = await _place(request, principal, order)
    if reply.code is not None:
        raise refusal(reply)
    return 201, placed(reply)


async def place_each(request: Request, principal: Principal, raw: bytes) -> list[dict[str, Any]]:
    """Place the orders of a body; return for each what it did, or the error it would have had alone."""
    batch = parsed(Batch, raw)
    return await asyncio.gather(*(_one_of_batch(request, principal, batch, item) for item in batch.orders))


def batch_answer(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer to a batch: its results, and the position at which all of them are done."""
    return {"results": results, "position": max(result.get("position") or 0 for result in results)}


def _documented(model: type[Body]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/orders", status_code=201, openapi_extra=_documented(Order))
async def place_order(request: Request, principal: Anyone) -> Response:
    """Place an order. The answer says what it did at once: status, fills, cost, fee, and its place in the log."""
    status, answer = await place(request, principal, await request.body())
    return json(answer, status)


@router.post("/orders/batch", openapi_extra=_documented(Batch))
async def place_batch(request: Request, principal: Anyone) -> Response:
    """Place up to 100 orders. `results` has for each, in order, the order or the error it would have had alone."""
    return json(batch_answer(await place_each(request, principal, await request.body())))


@router.post("/quotes")
async def quote(request: Request, principal: Anyone, order: Quote) -> Response:
    """Say what an order would do now, prices afterwards included; nothing changes."""
    return json(await _quoted(request, principal, order, "quote"))


@router.delete("/orders/{order_id}")
async def cancel_order(
    request: Request, context: WithContext, principal: Anyone, order_id: str, account: Reference | None = None
) -> Response:
    """Take a resting order out of the book."""
    account_id = await context.references.acting_account(principal, account)
    command_id = command_id_of(request, principal)
    reply = await submit(request, command_id, CancelOrder(account_id, order_id))
    return json(placed(reply))


@router.post("/orders/cancel")
async def cancel_orders(request: Request, context: WithContext, principal: Anyone, body: CancelMany) -> Response:
    """Take all resting orders of the account, or those in one market, out of the book."""
    account_id = await context.references.acting_account(principal, body.account)
    market_id = None if body.market_id is None else await context.references.resolve("market", body.market_id)
    command_id = command_id_of(request, principal)
    reply = await submit(request, command_id, CancelOrders(account_id, market_id))
    return json(placed(reply))


@router.patch("/orders/{order_id}")
async def amend_order(
    request: Request, context: WithContext, principal: Anyone, order_id: str, body: Amend
) -> Response:
    """Give a resting order a new price or quantity; it keeps its place in time only when it just shrinks."""
    account_id = await context.references.acting_account(principal, body.account)
    command_id = command_id_of(request, principal)
    reply = await submit(request, command_id, AmendOrder(account_id, order_id, body.price, body.quantity))
    return json(placed(reply))


async def _one_of_batch(request: Request, principal: Principal, batch: Batch, item: dict[str, Any]) -> dict[str, Any]:
    try:
        try:
            order = Order.model_validate(item)
        except ValidationError as error:
            raise from_pydantic(error.errors(include_url=False, include_input=False)) from error
        if order.account is None and batch.account is not None:
            order = order.model_copy(update={"account": batch.account})
        if order.dry_run:
            return await _quoted(request, principal, order, order.client_order_id)
        reply = await _place(request, principal, order)
        if reply.code is not None:
            raise refusal(reply)
        return placed(reply)
    except ApiError as error:
        return error.body()


async def _place(request: Request, principal: Principal, order: Order) -> Reply:
    account_id = await context_of(request).references.acting_account(principal, order.account)
    command = await _command(request, order, account_id, order.client_order_id)
    return await reply_to(request, order_command_id(account_id, order.client_order_id), command)


async def _quoted(request: Request, principal: Principal, order: Quote, client_order_id: str) -> dict[str, Any]:
    account_id = await context_of(request).references.acting_account(principal, order.account)
    command = await _command(request, order, account_id, client_order_id)
    reply = await quote_reply(request, command)
    if reply.code is not None:
        raise refusal(reply)
    result = {name: value for name, value in reply.result.items() if name not in {"order_id", "client_order_id"}}
    return {**result, "position": reply.position}


async def _command(request: Request, order: Quote, account_id: str, client_order_id: str) -> PlaceOrder:
    command = PlaceOrder(
        account_id=account_id,
        market_id=await context_of(request).references.resolve("market", order.market_id),
        order_id="",
        client_order_id=client_order_id,
        outcome=order.outcome,
        side=order.side,
        type=order.type,
        quantity=order.quantity,
        spend=order.spend,
        limit_price=order.limit_price,
        time_in_force=order.time_in_force,
        expires_at=order.expires_at,
        post_only=order.post_only,
        reduce_only=order.reduce_only,
        max_cost=order.max_cost,
        min_proceeds=order.min_proceeds,
        self_trade_prevention=order.self_trade_prevention,
    )
    ordered = with_ids(order_command_id(account_id, client_order_id), command)
    assert isinstance(ordered, PlaceOrder)
    return ordered


def placed(reply: Reply) -> dict[str, Any]:
    """Return the answer to an order that was accepted."""
    return {**reply.result, "position": reply.position}
