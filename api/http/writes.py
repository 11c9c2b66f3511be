"""The steps of every write: give its command an id, await the engine's reply, return the resource as it is afterwards."""

from __future__ import annotations

import secrets
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.concurrency import run_in_threadpool

from api.http.context import Context, context_of
from api.http.errors import CODES, ApiError, internal_error, invalid_field, not_yet_projected
from api.http.reads import json
from api.http.request_log import request_log_of
from consumers.gateway import Busy, EngineStopped, GatewayError, ReplyTimeout
from messages.fields import InvalidCommand
from messages.wire import parse_time
from projections.reading import AsOf, Need, NotYetProjected, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from psycopg import Connection
    from starlette.requests import Request
    from starlette.responses import Response

    from api.http.auth import Principal
    from api.http.request_log import RequestLog
    from domain.money import Time
    from domain.orders import PlaceOrder
    from messages.commands import Command
    from messages.replies import Reply

T = TypeVar("T")

RESOURCE_SECONDS: Final = 5.0
"""The longest wait of an accepted write for the read models, to return the resource as it is afterwards."""

IDEMPOTENCY_KEY_MAX: Final = 128
"""The most characters of an `Idempotency-Key`."""


def command_id_of(request: Request, principal: Principal, kind: type[Command]) -> str:
    """Return the id of the request's command: `{kind}:{Idempotency-Key}`, a trader's `{account}:{kind}:{Idempotency-Key}`.

    So the key is scoped to the exchange, or to a trader's account, and to the kind of command; which API key sends it
    does not matter. Without the header the id is a random one.

    Raises:
        ApiError: INVALID_FIELD, when the header is longer than 128 characters or not printable ASCII.
    """
    key = idempotency_key(request) or secrets.token_hex(16)
    account_id = principal.scope
    return f"{kind.__name__}:{key}" if account_id is None else f"{account_id}:{kind.__name__}:{key}"


def idempotency_key(request: Request) -> str | None:
    """Return the header `Idempotency-Key`, None without it; raises ApiError INVALID_FIELD for an unusable one."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= IDEMPOTENCY_KEY_MAX and key.isascii() and key.isprintable()):
        raise invalid_field("Idempotency-Key", f"must be 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters")
    return key


def unsigned_id(request: Request) -> str:
    """Return the `Idempotency-Key` of a request without a key; without the header a random one, as `submit` names it."""
    key = idempotency_key(request)
    if key is None:
        key = request.scope["tidings.unsigned_id"] = secrets.token_hex(16)
    return key


async def submit(request: Request, command_id: str, command: Command) -> Reply:
    """Return the reply to a command that was accepted; `command_id` comes from `command_id_of`.

    Raises:
        ApiError: the code of a refusal (`details.position` is its position in the log), BUSY when the command was not
            sent, REPLY_TIMEOUT when it was sent and no reply came in time: then `details.idempotency_key` is the key
            with which it can be sent again, also if it had none.
    """
    try:
        reply = await reply_to(request, command_id, command)
    except ApiError as error:
        if error.code == "REPLY_TIMEOUT":
            made = request.scope.get("tidings.unsigned_id") or command_id.rpartition(":")[2]
            error.details["idempotency_key"] = idempotency_key(request) or made
        raise
    if reply.code is not None:
        raise refusal(reply)
    return reply


async def reply_to(request: Request, command_id: str, command: Command) -> Reply:
    """Return the reply to a command, a refusal included; raises ApiError BUSY or REPLY_TIMEOUT."""
    request_log = request_log_of(request)
    request_log.command_id = command_id
    reply = await await_reply(
        request_log, context_of(request).gateway.submit(command_id, command, sender_time(request))
    )
    if reply.code is not None:
        request_log.refusals += 1
    waits = context_of(request).waits
    waits.told = max(waits.told, reply.position or 0)
    return reply


async def quote_reply(request: Request, order: PlaceOrder) -> Reply:
    """Return what the order would do now, a refusal included; raises ApiError as `reply_to` does."""
    return await await_reply(request_log_of(request), context_of(request).gateway.quote(order, sender_time(request)))


async def await_reply(request_log: RequestLog, reply: Awaitable[Reply]) -> Reply:
    """Return the gateway's reply and note its position; raises ApiError for the gateway's errors."""
    try:
        found = await reply
    except (InvalidCommand, GatewayError) as error:
        raise no_reply(error, request_log, request_log.command_id) from error
    request_log.position = found.position
    return found


def no_reply(error: InvalidCommand | GatewayError, request_log: RequestLog, command_id: str | None) -> ApiError:
    """Return the error for a command that has no reply."""
    match error:
        case InvalidCommand():
            return invalid_field(error.field, str(error).removeprefix(error.field).strip())
        case ReplyTimeout() | EngineStopped():
            return ApiError(
                "REPLY_TIMEOUT",
                "no reply in time; send the same request again, with the same id",
                {"command_id": command_id},
                retry_after_seconds=1,
            )
        case Busy():
            return ApiError(
                "BUSY", "the engine is busy; nothing was done", retry_after_seconds=error.retry_after_seconds
            )
        case _:
            return internal_error(request_log)


def refusal(reply: Reply) -> ApiError:
    """Return the error for a refused command."""
    assert reply.code is not None, "the command was refused"
    code = str(reply.code)
    details = dict(reply.details)
    if reply.position:
        details["position"] = reply.position
    return ApiError(code if code in CODES else "INTERNAL", reply.message, details)


def sender_time(request: Request) -> Time | None:
    """Return the time in the header `Tidings-Time`, None without it; raises ApiError INVALID_FIELD where it is not allowed."""
    return time_in(context_of(request), request.headers.get("tidings-time"))


def time_in(context: Context, text: str | None) -> Time | None:
    """Return the time in the text of a header `Tidings-Time`; raises ApiError INVALID_FIELD where it is not allowed."""
    if text is None:
        return None
    if context.settings.clock != "command":
        raise invalid_field("Tidings-Time", "is not allowed: this server sets the time of commands itself")
    try:
        return parse_time(text)
    except ValueError as error:
        raise invalid_field("Tidings-Time", str(error)) from error


async def resource(
    request: Request,
    reply: Reply,
    needs: Sequence[Need],
    query: Callable[[Connection[Any], AsOf], dict[str, Any]],
    status: int = 200,
) -> Response:
    """Return the answer to an accepted write: the query's result once the read models include the write, and `position`.

    The write is done whatever happens here: when the read models are late, the answer is 202 with the engine's result.
    """
    context = context_of(request)
    late = json({**reply.result, "position": reply.position}, 202)
    if not await is_shown(request, reply.position, needs):
        return late
    try:
        found = await run_in_threadpool(_fetch, context, reply.position, needs, query)
    except NotYetProjected:  # not any more: PostgreSQL has crashed
        return late
    return json({**found, "position": reply.position}, status)


async def fetch_after(
    request: Request, position: int, needs: Sequence[Need], query: Callable[[Connection[Any], AsOf], T]
) -> T:
    """Return the query's result once the read models include this position.

    Raises:
        ApiError: NOT_YET_PROJECTED, when they are late.
    """
    if not await is_shown(request, position, needs):
        raise not_yet_projected(position)
    try:
        return await run_in_threadpool(_fetch, context_of(request), position, needs, query)
    except NotYetProjected as error:
        raise not_yet_projected(position) from error


async def is_shown(request: Request, position: int, needs: Sequence[Need]) -> bool:
    """Wait for the read models; return whether they include the position in time."""
    deadline = monotonic() + RESOURCE_SECONDS
    try:
        return await context_of(request).waits.reached(request, "writes", needs, position, deadline)
    except ApiError:  # too many wait: this one does not
        return False


def _fetch(context: Context, position: int, needs: Sequence[Need], query: Callable[[Connection[Any], AsOf], T]) -> T:
    with context.pool.connection() as connection, read(connection, *needs, least=position) as as_of:
        return query(connection, as_of)
