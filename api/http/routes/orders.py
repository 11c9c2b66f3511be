"""Orders: place, batch, quote, cancel, amend. The engine's reply is the answer, but for amendments and unknown orders.

`api.http.routes.order_entry`, the fast path, serves the requests that place orders, and passes on here what it cannot serve.
"""

import asyncio
import secrets
from typing import Any, Final

from fastapi import APIRouter
from psycopg import Connection
from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.http.answers import BatchAnswer, CancelAnswer, CanceledOrderAnswer, OrderAnswer, QuoteAnswer
from api.http.auth import Principal
from api.http.bodies import json_text
from api.http.context import Actor, WithContext, context_of
from api.http.errors import ApiError, from_pydantic
from api.http.fields import Amount, BodyT, ClientOrderId, Price, Reference, RequestBody, with_fields_of
from api.http.openapi import COMMAND_CODES, answer, answers, decided, written
from api.http.reads import json
from api.http.references import is_id_text
from api.http.refusals import REFUSALS
from api.http.request_log import RequestLog, request_log_of
from api.http.resources import AMENDED_ORDER
from api.http.schemas import component
from api.http.serializers import serialize
from api.http.writes import (
    command_id_of,
    fetch_after,
    no_reply,
    quote_reply,
    refusal,
    reply_to,
    resource,
    sender_time,
    submit,
)
from consumers.gateway import GatewayError
from domain.orders import AmendOrder, CancelOrder, CancelOrders, PlaceOrder
from messages.commands import Command, InvalidCommand, QuoteOrder, order_command_id, with_ids
from messages.order import ORDER_FIELDS
from messages.replies import Reply
from projections import orders
from projections.reading import AsOf

router = APIRouter(tags=["orders"])

NEEDS: Final = (orders.get_order,)

BATCH_MAX: Final = 100
"""The most orders in one batch."""

_OWN_FIELDS: Final = ("account_id", "market_id", "client_order_id")
"""The fields that a body has in another form than the command; it shares the others."""

_SHARED_FIELDS: Final = tuple(name for name in ORDER_FIELDS if name not in _OWN_FIELDS)


@with_fields_of(
    PlaceOrder,
    but=_OWN_FIELDS,
    about={
        "quantity": "shares",
        "spend": "credits, for a market buy instead of `quantity`",
        "time_in_force": "if missing, GTC for a limit order and IOC for a market order",
        "expires_at": "only with GTD",
        "max_cost": "refuse the order if it would pay more, fees included",
        "min_proceeds": "refuse the order if it would receive less, fees included",
    },
)
class QuoteBody(RequestBody):
    """An order without an id."""

    account: Reference | None = Field(None, description="id or name; if missing, the account of the trader's key")
    market_id: Reference = Field(description="id or slug")


class PlaceOrderBody(QuoteBody):
    """An order. Sent again with the same `client_order_id` and the same fields, it is the same order."""

    client_order_id: ClientOrderId
    dry_run: bool = False


class PlaceBatchBody(RequestBody):
    """Up to 100 orders, each with a result of its own."""

    account: Reference | None = Field(None, description="the account of orders that name none")
    orders: list[dict[str, Any]] = Field(min_length=1, max_length=BATCH_MAX)


class CancelOrdersBody(RequestBody):
    """All resting orders of the account, or those in one market."""

    account: Reference | None = None
    market_id: Reference | None = None


class AmendOrderBody(RequestBody):
    """A new price, a new total quantity (the filled quantity included), or both."""

    account: Reference | None = None
    price: Price | None = None
    quantity: Amount | None = None


def parse_body(model: type[BodyT], raw: bytes) -> BodyT:
    """Return the parsed body of a request; raises ApiError MALFORMED_JSON or INVALID_FIELD."""
    text = json_text(raw)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise from_pydantic(error.errors(include_url=False, include_input=False)) from error


async def place(request: Request, principal: Principal, raw: bytes) -> tuple[int, dict[str, Any]]:
    """Place the order in a body; return 201 and what it did, or with `dry_run` 200 and what it would do."""
    order = parse_body(PlaceOrderBody, raw)
    if order.dry_run:
        return 200, await _quoted(request, principal, order, order.client_order_id)
    reply = await _place(request, principal, order)
    if reply.code is not None:
        raise refusal(reply)
    return 201, order_answer(reply)


async def place_each(request: Request, principal: Principal, raw: bytes) -> list[dict[str, Any]]:
    """Place the orders in a body; return for each what it did, or the error that it would have alone.

    All references are looked up first. Then the commands go to the engine together, in the order of the batch.
    """
    batch = parse_body(PlaceBatchBody, raw)
    context_of(request).admission.charge_batch(request.scope, len(batch.orders))
    found = await asyncio.gather(*(_command_or_error(request, principal, batch, item) for item in batch.orders))
    commands = [each for each in found if not isinstance(each, ApiError)]
    replies = iter(await context_of(request).gateway.submit_all(commands, sender_time(request)))
    request_log = request_log_of(request)
    return [
        batch_error(each) if isinstance(each, ApiError) else batch_result(request_log, *each, next(replies))
        for each in found
    ]


def batch_result(
    request_log: RequestLog, command_id: str, command: Command, reply: Reply | InvalidCommand | GatewayError
) -> dict[str, Any]:
    """Return one result of a batch: what the order did or would do, or its error."""
    if isinstance(reply, InvalidCommand | GatewayError):
        return batch_error(no_reply(reply, request_log, command_id))
    if reply.code is not None:
        if not isinstance(command, QuoteOrder):
            request_log.refusals += 1
        return batch_error(refusal(reply))
    return quote_answer(reply) if isinstance(command, QuoteOrder) else order_answer(reply)


def batch_error(error: ApiError) -> dict[str, Any]:
    """Return the result of an order that was refused: `position` is that of its rejection, null if it is not in the log."""
    return {**error.body(), "position": error.details.get("position")}


def batch_answer(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer to a batch: its results, and the position by which all of them are done."""
    return {"results": results, "position": max(result.get("position") or 0 for result in results)}


def _documented(model: type[RequestBody], **items: Any) -> dict[str, Any]:
    """Return the documentation of a body that FastAPI does not read; `items` are the schemas of the items of its lists."""
    body = model.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, schema in items.items():
        body["properties"][name]["items"] = schema
    schema = component(model.__name__, body)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


ORDER: Final = {"$ref": "#/components/schemas/PlaceOrderBody"}

UNKNOWN_ORDER_CODES: Final = ("ORDER_NOT_FOUND", "NOT_ORDER_OWNER", "NOT_YET_PROJECTED")
"""The codes with which `_submit_to_order` refuses, besides those of the rules."""


@router.post(
    "/orders",
    status_code=201,
    openapi_extra=_documented(PlaceOrderBody),
    responses=decided(OrderAnswer, PlaceOrder, status=201) | answer(QuoteAnswer, 200),
)
async def place_order(request: Request, principal: Actor) -> Response:
    """Place an order. The answer says what it did at once: status, fills, cost, fee, and its position in the log."""
    status, answer = await place(request, principal, await request.body())
    return json(answer, status)


@router.post(
    "/orders/batch",
    openapi_extra=_documented(PlaceBatchBody, orders=ORDER),
    responses=answers(BatchAnswer, *COMMAND_CODES),
)
async def place_batch(request: Request, principal: Actor) -> Response:
    """Place up to 100 orders. `results` has, in the same order, what each did, or the error that it would have alone."""
    return json(batch_answer(await place_each(request, principal, await request.body())))


@router.post("/quotes", responses=answers(QuoteAnswer, *COMMAND_CODES, *REFUSALS[PlaceOrder]))
async def quote_order(request: Request, principal: Actor, order: QuoteBody) -> Response:
    """The result that an order would have now, and the prices afterwards. Nothing changes."""
    return json(await _quoted(request, principal, order, "quote"))


@router.delete("/orders/{order_id}", responses=decided(CanceledOrderAnswer, CancelOrder, *UNKNOWN_ORDER_CODES))
async def cancel_order(
    request: Request, context: WithContext, principal: Actor, order_id: str, account: Reference | None = None
) -> Response:
    """Cancel a resting order."""
    account_id = await context.references.acting_account(principal, account)
    reply = await _submit_to_order(request, principal, CancelOrder(account_id, order_id))
    (order,) = reply.result["canceled"]
    return json({**order, "position": reply.position})


@router.post("/orders/cancel", responses=decided(CancelAnswer, CancelOrders))
async def cancel_orders(request: Request, context: WithContext, principal: Actor, body: CancelOrdersBody) -> Response:
    """Cancel all resting orders of the account, or those in one market; `canceled` lists them."""
    account_id = await context.references.acting_account(principal, body.account)
    market_id = None if body.market_id is None else await context.references.resolve("market", body.market_id)
    command_id = command_id_of(request, principal, CancelOrders)
    reply = await submit(request, command_id, CancelOrders(account_id, market_id))
    return json(order_answer(reply))


@router.patch("/orders/{order_id}", responses=written(AMENDED_ORDER, AmendOrder, *UNKNOWN_ORDER_CODES))
async def amend_order(
    request: Request, context: WithContext, principal: Actor, order_id: str, body: AmendOrderBody
) -> Response:
    """Give a resting order a new price or quantity. It keeps its time priority only if just the quantity shrinks.

    The answer is the order as it is afterwards; `fills` are those of the amendment.
    """
    account_id = await context.references.acting_account(principal, body.account)
    reply = await _submit_to_order(request, principal, AmendOrder(account_id, order_id, body.price, body.quantity))
    did = {name: reply.result.get(name, []) for name in ("fills", "prices")}

    def query(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
        order = orders.get_order(connection, as_of, order_id)
        assert order is not None, "an amended order was placed"
        return {**order_json(order), **did}

    return await resource(request, reply, NEEDS, query)


async def _submit_to_order(request: Request, principal: Principal, command: CancelOrder | AmendOrder) -> Reply:
    """Return the reply to a command to a resting order.

    The engine knows resting orders only. So where there is none, the read model says whether there ever was one.

    Raises:
        ApiError: as `submit`; ORDER_NOT_FOUND for an unknown order, and to a trader for an order of another account, whose
            existence is private; NOT_ORDER_OWNER to an admin for an order of another account than the one named.
    """
    order_id = command.order_id
    unknown = ApiError("ORDER_NOT_FOUND", "no such order", {"order": order_id})
    if not is_id_text(order_id):
        raise unknown
    try:
        return await submit(request, command_id_of(request, principal, type(command)), command)
    except ApiError as error:
        is_others = error.code == "NOT_ORDER_OWNER" and not principal.sees_all
        if error.code != "ORDER_NOT_OPEN" and not is_others:
            raise
        position: int = error.details["position"]
        order = await fetch_after(request, position, NEEDS, lambda c, a: orders.get_order(c, a, order_id))
        if order is None or order.position > position or not principal.may_see(order.account_id):
            unknown.details["position"] = position
            raise unknown from error
        if order.account_id != command.account_id:
            details = {"order": order_id, "position": position}
            raise ApiError("NOT_ORDER_OWNER", "the order belongs to another account", details) from error
        raise


def order_json(row: orders.Order) -> dict[str, Any]:
    """Return an order in JSON's types, with the names of its quantities that the answers to writes have."""
    order = serialize(row)
    filled, remaining = order.pop("filled"), order.pop("remaining")
    return {**order, "filled_quantity": filled, "remaining_quantity": remaining}


async def _command_or_error(
    request: Request, principal: Principal, batch: PlaceBatchBody, item: dict[str, Any]
) -> tuple[str, Command] | ApiError:
    """Return the command of one order of a batch and the command's id, or the error that the order would have alone."""
    try:
        try:
            order = PlaceOrderBody.model_validate(item)
        except ValidationError as error:
            raise from_pydantic(error.errors(include_url=False, include_input=False)) from error
        if order.account is None and batch.account is not None:
            order = order.model_copy(update={"account": batch.account})
        account_id = await context_of(request).references.acting_account(principal, order.account)
        command = await _command(request, order, account_id, order.client_order_id)
    except ApiError as error:
        return error
    if order.dry_run:
        return f"quote:{secrets.token_hex(16)}", QuoteOrder(command)
    return order_command_id(account_id, order.client_order_id), command


async def _place(request: Request, principal: Principal, order: PlaceOrderBody) -> Reply:
    account_id = await context_of(request).references.acting_account(principal, order.account)
    command = await _command(request, order, account_id, order.client_order_id)
    return await reply_to(request, order_command_id(account_id, order.client_order_id), command)


async def _quoted(request: Request, principal: Principal, order: QuoteBody, client_order_id: str) -> dict[str, Any]:
    account_id = await context_of(request).references.acting_account(principal, order.account)
    command = await _command(request, order, account_id, client_order_id)
    reply = await quote_reply(request, command)
    if reply.code is not None:
        raise refusal(reply)
    return quote_answer(reply)


async def _command(request: Request, order: QuoteBody, account_id: str, client_order_id: str) -> PlaceOrder:
    command = PlaceOrder(
        account_id=account_id,
        market_id=await context_of(request).references.resolve("market", order.market_id),
        order_id="",
        client_order_id=client_order_id,
        **{name: getattr(order, name) for name in _SHARED_FIELDS},
    )
    ordered = with_ids(order_command_id(account_id, client_order_id), command)
    assert isinstance(ordered, PlaceOrder)
    return ordered


def order_answer(reply: Reply) -> dict[str, Any]:
    """Return the answer to an accepted order."""
    return {**reply.result, "position": reply.position}


def quote_answer(reply: Reply) -> dict[str, Any]:
    """Return the answer to a quote: that of an order, without its ids."""
    result = {name: value for name, value in reply.result.items() if name not in {"order_id", "client_order_id"}}
    return {**result, "position": reply.position}
