"""The fast path: `POST /v1/orders` and `/v1/orders/batch` without FastAPI, which only documents them.

    fast order     decoded by msgspec, its fields checked by the same rules; its references need no query
    any other      takes the general path of `api.http.routes.orders`, which checks it and words its errors

So there is one set of rules and errors; only the path of an order that keeps to them is faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request

from api.http.auth import require
from api.http.errors import ANSWERED, response_to
from api.http.routes import orders
from api.http.writes import await_reply, no_reply, refusal, time_in
from api.key_store import ROLES
from consumers.gateway import GatewayError
from domain.account import OpenAccount
from domain.book import Side  # noqa: TC001  # msgspec reads the annotations
from domain.market import AddLiquidity
from domain.orders import OrderType, PlaceOrder, SelfTradePrevention, TimeInForce
from messages.commands import order_command_id
from messages.fields import InvalidCommand, record

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from api.http.auth import Principal
    from api.http.context import Context
    from api.http.references import References
    from api.http.request_log import RequestLog
    from domain.money import Time
    from messages.replies import Reply


class FastOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of `api.http.routes.orders.PlaceOrderBody` in JSON's types, without those that an order rarely has."""

    client_order_id: str
    market_id: str
    outcome: str
    side: Side
    type: OrderType
    account: str | None = None
    quantity: str | None = None
    spend: str | None = None
    limit_price: str | None = None
    time_in_force: TimeInForce | None = None
    post_only: bool = False
    reduce_only: bool = False
    max_cost: str | None = None
    min_proceeds: str | None = None
    self_trade_prevention: SelfTradePrevention = "cancel_taker"


class FastBatch(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of `api.http.routes.orders.PlaceBatchBody`."""

    orders: list[FastOrder]
    account: str | None = None


_decode_order: Final = msgspec.json.Decoder(FastOrder).decode
_decode_batch: Final = msgspec.json.Decoder(FastBatch).decode
_encode: Final = msgspec.json.Encoder().encode

_rules: Final = record(PlaceOrder).rules
_client_order_id, _outcome = _rules["client_order_id"].check, _rules["outcome"].check
_price, _guard = _rules["limit_price"].parse, _rules["min_proceeds"].parse
_amount: Final = record(AddLiquidity).rules["amount"].parse
_reference: Final = record(OpenAccount).rules["name"].check


def fast_order(
    order: FastOrder, account: str | None, principal: Principal, references: References
) -> PlaceOrder | None:
    """Return the command of an order that surely keeps to the rules, or None: the general path then checks it.

    `account` is the account of an order that names none; None is the principal's own.
    """
    reference = account if order.account is None else order.account
    account_id = principal.account_id if reference is None else references.known("account", reference)
    market_id = references.known("market", order.market_id)
    if account_id is None or market_id is None or not principal.may_act_for(account_id):
        return None
    try:
        _client_order_id(order.client_order_id, "")
        _outcome(order.outcome, "")
        return PlaceOrder(
            account_id,
            market_id,
            "",
            order.client_order_id,
            order.outcome,
            order.side,
            order.type,
            None if order.quantity is None else _amount(order.quantity, ""),
            None if order.spend is None else _amount(order.spend, ""),
            None if order.limit_price is None else _price(order.limit_price, ""),
            order.time_in_force,
            None,
            order.post_only,
            order.reduce_only,
            None if order.max_cost is None else _amount(order.max_cost, ""),
            None if order.min_proceeds is None else _guard(order.min_proceeds, ""),
            order.self_trade_prevention,
        )
    except InvalidCommand:
        return None


def fast_orders(raw: bytes, principal: Principal, references: References) -> list[PlaceOrder] | None:
    """Return the commands of a batch if all of its orders are fast orders, else None."""
    try:
        batch = _decode_batch(raw)
        if batch.account is not None:
            _reference(batch.account, "")
    except (ValueError, RecursionError):  # InvalidCommand and msgspec's errors are ValueErrors too
        return None
    found = [fast_order(order, batch.account, principal, references) for order in batch.orders]
    commands = [command for command in found if command is not None]
    return commands if 0 < len(commands) == len(found) <= orders.BATCH_MAX else None


class OrderEntry:
    """Serves both paths as an ASGI app; `api.http.app` wraps it in the same `RequestFrame` as all the others."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.paths: Final = {"/v1/orders": self._place, "/v1/orders/batch": self._place_batch}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request_log: RequestLog = scope["tidings.request_log"]
        scope["endpoint"] = self
        try:
            status, body = await self.paths[scope["path"]](scope, receive, request_log)
        except ANSWERED as error:
            await response_to(error, request_log)(scope, receive, send)
            return
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _place(self, scope: Scope, receive: Receive, request_log: RequestLog) -> tuple[int, bytes]:
        principal, at = await self._sender(scope)
        raw = await _body(receive)
        try:
            command = fast_order(_decode_order(raw), None, principal, self._context.references)
        except (ValueError, RecursionError):
            command = None
        if command is None:
            status, answer = await orders.place(Request(scope), principal, raw)
            return status, _encode(answer)
        request_log.command_id = command_id = order_command_id(command.account_id, command.client_order_id)
        reply = await await_reply(request_log, self._context.gateway.submit(command_id, command, at))
        if reply.code is not None:
            raise refusal(reply)
        return 201, _encode(orders.order_answer(reply))

    async def _place_batch(self, scope: Scope, receive: Receive, request_log: RequestLog) -> tuple[int, bytes]:
        principal, at = await self._sender(scope)
        raw = await _body(receive)
        commands = fast_orders(raw, principal, self._context.references)
        if commands is None:
            results = await orders.place_each(Request(scope), principal, raw)
        else:
            ids = [order_command_id(command.account_id, command.client_order_id) for command in commands]
            replies = await self._context.gateway.submit_all(list(zip(ids, commands, strict=True)), at)
            results = [_result(request_log, *pair) for pair in zip(ids, replies, strict=True)]
        answer = orders.batch_answer(results)
        request_log.position = answer["position"] or None
        return 200, _encode(answer)

    async def _sender(self, scope: Scope) -> tuple[Principal, Time | None]:
        """Return who asks, and the time that they set for their command."""
        key = time = None
        for name, value in scope["headers"]:
            if name == b"authorization" and key is None:
                key = value.decode("latin-1")
            elif name == b"tidings-time" and time is None:
                time = value.decode("latin-1")
        principal = require(await self._context.keys.principal(key), *ROLES)
        return principal, time_in(self._context, time)


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message["type"] == "http.request" and message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return body


def _result(request_log: RequestLog, command_id: str, reply: Reply | InvalidCommand | GatewayError) -> dict[str, Any]:
    if isinstance(reply, InvalidCommand | GatewayError):
        return no_reply(reply, request_log, command_id).body()
    return orders.order_answer(reply) if reply.code is None else refusal(reply).body()
