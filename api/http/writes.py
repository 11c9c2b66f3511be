"""How every write is made: a command id, the engine's one outcome for it, and the resource as it is afterwards."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.concurrency import run_in_threadpool

from api.http.context import Context, context_of
from api.http.errors import CODES, ApiError, invalid_field
from api.http.reads import json
from api.http.request_log import facts_of
from consumers.gateway import Busy, EngineStopped, GatewayError, ReplyTimeout
from messages.fields import InvalidCommand
from messages.wire import parse_time
from projections.reading import AsOf, Need, needs_of, read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from psycopg import Connection
    from starlette.requests import Request
    from starlette.responses import Response

    from api.http.auth import Principal
    from api.http.request_log import Facts
    from domain.money import Time
    from domain.orders import PlaceOrder
    from messages.commands import Command
    from messages.replies import Reply

T = TypeVar("T")

SHOW_SECONDS: Final = 5.0
"""How long a write waits for the read model, to answer with the resource as it is now."""

IDEMPOTENCY_KEY_MAX: Final = 128


def command_id_of(request: Request, principal: Principal) -> str:
    """Return the id of the request's command: `{principal}:{Idempotency-Key}`; without the header a new one is made.

    Raises:
        ApiError: INVALID_FIELD, when the header is longer than 128 characters or not printable ASCII.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return f"{principal.name}:{secrets.token_hex(16)}"
    if not (0 < len(key) <= IDEMPOTENCY_KEY_MAX and key.isascii() and key.isprintable()):
        raise invalid_field("Idempotency-Key", f"must be 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters")
    return f"{principal.name}:{key}"


async def submit(request: Request, command_id: str, command: Command) -> Reply:
    """Return the command's outcome, which is an acceptance.

    Raises:
        ApiError: the code it was refused with (`details.position` says where the refusal stands in the log), BUSY when
            it was not taken, REPLY_TIMEOUT when there is no outcome yet.
    """
    reply = await outcome(request, command_id, command)
    if reply.code is not None:
        raise refusal(reply)
    return reply


async def outcome(request: Request, command_id: str, command: Command) -> Reply:
    """Return the command's outcome, a refusal included; raises ApiError BUSY or REPLY_TIMEOUT."""
    facts_of(request).command_id = command_id
    return await asked(facts_of(request), context_of(request).gateway.submit(command_id, command, sender_time(request)))


async def quoted(request: Request, order: PlaceOrder) -> Reply:
    """Return what the order would do now, a refusal included; raises ApiError as `outcome` does."""
    return await asked(facts_of(request), context_of(request).gateway.quote(order, sender_time(request)))


async def asked(facts: Facts, reply: Awaitable[Reply]) -> Reply:
    """Return what the gateway brings; raises ApiError for what it raises."""
    try:
        found = await reply
    except (InvalidCommand, GatewayError) as error:
        raise no_outcome(error, facts, facts.command_id) from error
    facts.position = found.position
    return found


def no_outcome(error: InvalidCommand | GatewayError, facts: Facts, command_id: str | None) -> ApiError:
    """Return the error for a command that has no outcome."""
    match error:
        case InvalidCommand():
            return invalid_field(error.field, str(error).removeprefix(error.field).strip())
        case ReplyTimeout() | EngineStopped():
            return ApiError(
                "REPLY_TIMEOUT",
                "no outcome in time; send the same again, with the same id",
                {"command_id": command_id},
                retry_after_seconds=1,
            )
        case Busy():
            return ApiError(
                "BUSY", "the engine has enough to do; nothing was done", retry_after_seconds=error.retry_after_seconds
            )
        case _:
            return ApiError("INTERNAL", "a mistake of ours", {"request_id": facts.request_id})


def refusal(reply: Reply) -> ApiError:
    """Return the error for a refused command."""
    assert reply.code is not None, "it was refused"
    code = str(reply.code)
    details = dict(reply.details)
    if reply.position:
        details["position"] = reply.position
    return ApiError(code if code in CODES else "INTERNAL", reply.message, details)


def sender_time(request: Request) -> Time | None:
    """Return the time the sender gives its command, in the header `Tidings-Time`; only where senders may do so."""
    return time_in(context_of(request), request.headers.get("tidings-time"))


def time_in(context: Context, text: str | None) -> Time | None:
    """Return the time in a header `Tidings-Time`; raises ApiError INVALID_FIELD."""
    if text is None:
        return None
    if not context.sender_sets_time:
        raise invalid_field("Tidings-Time", "this server gives commands their time itself")
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
    """Return the answer to an accepted write: what the query finds once the read model has come to it, and `position`.

    The write is done whatever happens here: when the read model does not come in time, the answer is 202 with what the
    engine said.
    """
    context = context_of(request)
    if not await context.progress.wait_async(needs_of(needs), reply.position, SHOW_SECONDS):
        return json({**reply.result, "position": reply.position}, 202)
    return json({**await run_in_threadpool(_fetch, context, needs, query), "position": reply.position}, status)


def _fetch(context: Context, needs: Sequence[Need], query: Callable[[Connection[Any], AsOf], T]) -> T:
    with context.pool.connection() as connection, read(connection, *needs) as as_of:
        return query(connection, as_of)
