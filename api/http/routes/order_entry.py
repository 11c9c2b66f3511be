"""The fast path: `POST /v1/orders` and `/v1/orders/batch` without FastAPI, which only documents them.

    fast path       msgspec decodes the body, no reference needs a query, and `messages.order` reads the order
    general path    `api.http.routes.orders` judges any other order, and says what is wrong with it

Both paths have the same limits and errors: the fast path refuses nothing, it leaves an order to the general path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import Request

from api.http.auth import ACTORS, require
from api.http.bodies import check_media_type, read_body
from api.http.errors import ANSWERED, response_to
from api.http.routes import orders
from api.http.writes import await_reply, refusal, time_in
from messages.commands import order_command_id
from messages.fields import REFERENCE
from messages.json_text import check_keys, without_bom
from messages.order import fast_order, wire_form

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from api.http.admission import Caller
    from api.http.auth import Principal
    from api.http.context import Context
    from api.http.references import References
    from api.http.request_log import RequestLog
    from domain.money import Time
    from domain.orders import PlaceOrder


OrderBody: Final = wire_form("OrderBody", account_id=("account", str | None, None))
"""The fields of `api.http.routes.orders.PlaceOrderBody` as they stand in JSON, without `dry_run`."""

BatchBody: Final = msgspec.defstruct(
    "BatchBody",
    [("orders", list[OrderBody]), ("account", str | None, None)],  # type: ignore[valid-type]
    forbid_unknown_fields=True,
    omit_defaults=True,
)
"""The fields of `api.http.routes.orders.PlaceBatchBody`."""

_decode_order: Final = msgspec.json.Decoder(OrderBody).decode
_decode_batch: Final = msgspec.json.Decoder(BatchBody).decode
_encode: Final = msgspec.json.Encoder().encode
_check_reference: Final = REFERENCE.check


def fast_command(body: Any, account: str | None, principal: Principal, references: References) -> PlaceOrder | None:
    """Return the command of an `OrderBody` that surely keeps to the limits, or None: the general path then judges it.

    An order that names no account is for `account`; None means the principal's own.
    """
    reference = account if body.account is None else body.account
    account_id = principal.account_id if reference is None else references.known("account", reference)
    market_id = references.known("market", body.market_id)
    if account_id is None or market_id is None or not principal.may_act_for(account_id):
        return None
    found = fast_order(body, account_id, market_id, "")
    return None if found is None else found[0]


def fast_commands(raw: bytes, principal: Principal, references: References) -> list[PlaceOrder] | None:
    """Return the commands of a batch, or None unless the fast path takes all its orders."""
    try:
        text = without_bom(raw)
        batch: Any = _decode_batch(text)
        check_keys(text, _encode(batch))
        if batch.account is not None:
            _check_reference(batch.account, "")
    except (ValueError, RecursionError):  # InvalidCommand and msgspec's errors are ValueErrors too
        return None
    found = [fast_command(order, batch.account, principal, references) for order in batch.orders]
    commands = [command for command in found if command is not None]
    return commands if 0 < len(commands) == len(found) <= orders.BATCH_MAX else None


class OrderEntry:
    """Serves both routes as an ASGI app; `api.http.app` puts it into the same `RequestFrame` as all the others."""

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
        principal, at = self._caller(scope)
        raw = await read_body(receive)
        try:
            text = without_bom(raw)
            body = _decode_order(text)
            check_keys(text, _encode(body))
            command = fast_command(body, None, principal, self._context.references)
        except (ValueError, RecursionError):
            command = None
        if command is None:
            status, answer = await orders.place(Request(scope), principal, raw)
            return status, _encode(answer)
        request_log.command_id = command_id = order_command_id(command.account_id, command.client_order_id)
        reply = await await_reply(request_log, self._context.gateway.submit(command_id, command, at))
        if reply.code is not None:
            request_log.refusals += 1
            raise refusal(reply)
        return 201, _encode(orders.order_answer(reply))

    async def _place_batch(self, scope: Scope, receive: Receive, request_log: RequestLog) -> tuple[int, bytes]:
        principal, at = self._caller(scope)
        raw = await read_body(receive)
        commands = fast_commands(raw, principal, self._context.references)
        if commands is None:
            results = await orders.place_each(Request(scope), principal, raw)
        else:
            self._context.admission.charge_batch(scope, len(commands))
            pairs = [(order_command_id(each.account_id, each.client_order_id), each) for each in commands]
            replies = await self._context.gateway.submit_all(pairs, at)
            results = [
                orders.batch_result(request_log, *pair, reply) for pair, reply in zip(pairs, replies, strict=True)
            ]
        answer = orders.batch_answer(results)
        request_log.position = answer["position"] or None
        return 200, _encode(answer)

    def _caller(self, scope: Scope) -> tuple[Principal, Time | None]:
        """Return the principal of a request, and the time that it gives its command; refuse a body that is not JSON."""
        caller: Caller = scope["tidings.caller"]
        time = content_type = content_encoding = None
        for name, value in scope["headers"]:
            if name == b"tidings-time" and time is None:
                time = value.decode("latin-1")
            elif name == b"content-type":
                content_type = value
            elif name == b"content-encoding":
                content_encoding = value
        principal = require(caller.principal(), *ACTORS)
        check_media_type(content_type, content_encoding)
        return principal, time_in(self._context, time)
