"""Webhooks: an operator has what happens sent to a URL. docs/webhooks.md says how deliveries look and how to check them."""

from collections.abc import Callable
from datetime import datetime
from secrets import token_hex
from typing import Any, Final, TypeVar

import httpx
from fastapi import APIRouter
from psycopg import Connection
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.http.answers import NewWebhookAnswer, OneWebhook, PingAnswer, WebhookPage, WrittenWebhookAnswer
from api.http.auth import Principal
from api.http.context import Context, Operator, WithContext
from api.http.errors import ApiError, invalid_field
from api.http.fields import Amount0, EmptyBody, Reference, RequestBody, Url
from api.http.openapi import BODY_CODES, KEY_CODES, answers
from api.http.reads import json
from api.http.writes import idempotency_key
from consumers.webhooks import store
from consumers.webhooks.addresses import is_refused
from consumers.webhooks.deliveries import WebhookFilter, ping
from consumers.webhooks.sender import Sender
from consumers.webhooks.store import LogPosition, Webhook
from domain.money import format_decimal
from projections.machine.known_log import log_identity

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

T = TypeVar("T")

_REUSED: Final = "another webhook was registered with this Idempotency-Key"


class CreateWebhookBody(RequestBody):
    """Where to send, and what: at least one of `lifecycle`, `min_cost` and `fills_of`."""

    url: Url
    lifecycle: bool = Field(False, description="what happens to markets: opened, closed, determined ...")
    min_cost: Amount0 | None = Field(None, description="trades that cost at least so many credits; 0: all trades")
    fills_of: Reference | None = Field(
        None, description="fills of this account, id or name; this needs the role admin or analyst, too"
    )


class EnableWebhookBody(RequestBody):
    """Where a webhook continues."""

    skip: bool = Field(False, description="leave out what it has missed, and continue with what happens next")


@router.post(
    "",
    status_code=201,
    responses=answers(
        NewWebhookAnswer,
        *BODY_CODES,
        *KEY_CODES,
        *("ACCOUNT_NOT_FOUND", "COMMAND_ID_REUSED", "TOO_MANY_WEBHOOKS", "LOG_LOST"),
        status=201,
    ),
)
async def create_webhook(
    request: Request, context: WithContext, principal: Operator, body: CreateWebhookBody
) -> Response:
    """Have what happens from now on sent to a URL.

    Only this answer has the `secret` that signs the deliveries; sent again with its `Idempotency-Key`, it is null. If that
    answer was lost, make a new secret.
    """
    _check_url(body.url, private=context.settings.webhook_private_addresses)
    wanted = await _filter_of(context, principal, body)
    key = idempotency_key(request)
    end = await _end_of_log(context)
    try:
        secret, made = await _ask(context, lambda c: store.register(c, body.url, wanted, end, key))
    except store.RegistrationReused as error:
        raise ApiError("COMMAND_ID_REUSED", _REUSED) from error
    except store.TooManyWebhooks as error:
        message = f"there are {store.WEBHOOKS_MAX} webhooks already: remove one first"
        raise ApiError("TOO_MANY_WEBHOOKS", message, {"most": store.WEBHOOKS_MAX}) from error
    return json({"secret": secret, **_public(made), "position": end.position}, 201)


@router.get("", responses=answers(WebhookPage, *KEY_CODES))
async def list_webhooks(context: WithContext, _: Operator) -> Response:
    """All webhooks, oldest first, without their secrets: what each is told, how far it is, and what its last error was."""
    found = await _ask(context, store.every)
    return json({"data": [_public(each) for each in found], "next_cursor": None})


@router.get("/{webhook_id}", responses=answers(OneWebhook, *KEY_CODES, "WEBHOOK_NOT_FOUND"))
async def get_webhook(context: WithContext, _: Operator, webhook_id: str) -> Response:
    """One webhook, without its secrets: what it is told, how far it is, and what its last error was."""
    return json({"data": _public(_known(await _ask(context, lambda c: store.find(c, webhook_id)), webhook_id))})


@router.delete("/{webhook_id}", responses=answers(WrittenWebhookAnswer, *KEY_CODES, "WEBHOOK_NOT_FOUND", "LOG_LOST"))
async def remove_webhook(context: WithContext, _: Operator, webhook_id: str) -> Response:
    """Send nothing to this webhook any more. A request that is under way may still arrive."""
    end = await _end_of_log(context)
    return _written(await _ask(context, lambda c: store.remove(c, webhook_id)), webhook_id, end)


@router.post(
    "/{webhook_id}/rotate-secret",
    responses=answers(NewWebhookAnswer, *BODY_CODES, *KEY_CODES, "COMMAND_ID_REUSED", "WEBHOOK_NOT_FOUND", "LOG_LOST"),
)
async def rotate_webhook_secret(
    request: Request, context: WithContext, _: Operator, webhook_id: str, _body: EmptyBody | None = None
) -> Response:
    """Make a new secret, which only this answer has. The old one signs deliveries too for one more day.

    Sent again with its `Idempotency-Key`, the request makes none, and `secret` is null.
    """
    key = idempotency_key(request)
    end = await _end_of_log(context)
    found = await _ask(context, lambda c: store.rotate(c, webhook_id, key))
    secret, webhook = found if found is not None else (None, None)
    return _written(webhook, webhook_id, end, secret=secret)


@router.post(
    "/{webhook_id}/enable",
    responses=answers(WrittenWebhookAnswer, *BODY_CODES, *KEY_CODES, "WEBHOOK_NOT_FOUND", "LOG_LOST"),
)
async def enable_webhook(context: WithContext, _: Operator, webhook_id: str, body: EnableWebhookBody) -> Response:
    """Let a webhook that is disabled, or waits after a failure, try again at once: where it was, or with `skip` from now on."""
    end = await _end_of_log(context)
    return _written(await _ask(context, lambda c: store.enable(c, webhook_id, end, skip=body.skip)), webhook_id, end)


@router.post(
    "/{webhook_id}/ping",
    responses=answers(PingAnswer, *BODY_CODES, *KEY_CODES, "WEBHOOK_NOT_FOUND"),
)
async def ping_webhook(context: WithContext, _: Operator, webhook_id: str, _body: EmptyBody | None = None) -> Response:
    """Send a signed test message to a webhook now, whatever its status, and say whether it arrived.

    The webhook stays as it is: neither its place nor its failures change. This waits 10 seconds at most.
    """

    def look(connection: Connection[Any]) -> tuple[Webhook | None, list[str]]:
        return store.find(connection, webhook_id), store.signing_secrets(connection, webhook_id)

    found, secrets = await _ask(context, look)
    url, private = _known(found, webhook_id).url, context.settings.webhook_private_addresses
    sender = await run_in_threadpool(Sender, url, private=private)  # it reads all certificates, which takes a while
    try:
        failure = await sender.send_one(f"{webhook_id}_ping_{token_hex(8)}", ping(), secrets)
    finally:
        await sender.close()
    error = None if failure is None else failure.error
    return json({"webhook_id": webhook_id, "delivered": failure is None, "error": error})


def _check_url(url: str, *, private: bool) -> None:
    """Raise ApiError INVALID_FIELD for a URL that no request can go to, or whose host is not public."""
    try:
        found = httpx.URL(url)
        host = found.host
    except (httpx.InvalidURL, ValueError) as error:
        raise invalid_field("url", f"is not a URL: {error}") from error
    if not host or (found.port is not None and not 0 < found.port <= 65_535):
        raise invalid_field("url", "names no host, or no port from 1 to 65535")
    if found.userinfo or found.fragment:
        raise invalid_field("url", "must have no user, no password and no fragment")
    if not private and is_refused(host):
        raise invalid_field("url", "has a host that is not public; the setting webhook_private_addresses allows it")


async def _filter_of(context: Context, principal: Principal, body: CreateWebhookBody) -> WebhookFilter:
    if not (body.lifecycle or body.min_cost is not None or body.fills_of is not None):
        raise invalid_field("lifecycle", "one of lifecycle, min_cost and fills_of is required")
    if body.fills_of is None:
        return WebhookFilter(body.lifecycle, body.min_cost, None)
    if {"admin", "analyst"}.isdisjoint(principal.roles) and not context.settings.accounts_public:
        raise ApiError("FORBIDDEN", "fills of an account need the role admin or analyst", {"field": "fills_of"})
    account_id = await context.references.find("account", body.fills_of)
    if account_id is None:
        raise ApiError("ACCOUNT_NOT_FOUND", "no such account", {"account": body.fills_of})
    return WebhookFilter(body.lifecycle, body.min_cost, account_id)


async def _ask(context: Context, question: Callable[[Connection[Any]], T]) -> T:
    """Return what the question finds in the database."""

    def ask() -> T:
        with context.pool.connection() as connection:
            return question(connection)

    return await run_in_threadpool(ask)


async def _end_of_log(context: Context) -> LogPosition:
    return await context.log_reads.ask(lambda log: LogPosition(log_identity(log), log.max_notification_id() or 0))


def _known(webhook: Webhook | None, webhook_id: str) -> Webhook:
    """Return what was found. Raises ApiError WEBHOOK_NOT_FOUND for None."""
    if webhook is None:
        raise ApiError("WEBHOOK_NOT_FOUND", "no such webhook", {"webhook_id": webhook_id})
    return webhook


def _written(webhook: Webhook | None, webhook_id: str, end: LogPosition, **more: str | None) -> Response:
    return json({**more, **_public(_known(webhook, webhook_id)), "position": end.position})


def _public(webhook: Webhook) -> dict[str, Any]:
    """Return a webhook in JSON's types, without its secrets."""

    def time(moment: datetime | None) -> str | None:
        return moment.isoformat() if moment else None

    status = "disabled" if webhook.disabled_at else "failing" if webhook.failing_since else "active"
    return {
        "webhook_id": webhook.webhook_id,
        "url": webhook.url,
        "lifecycle": webhook.lifecycle,
        "min_cost": None if webhook.min_cost is None else format_decimal(webhook.min_cost),
        "fills_of": webhook.fills_of,
        "status": status,
        "delivered_position": webhook.position,
        "created_at": webhook.created_at.isoformat(),
        "delivered_at": time(webhook.delivered_at),
        "failing_since": time(webhook.failing_since),
        "next_attempt_at": time(webhook.next_attempt_at),
        "last_error": webhook.last_error,
        "disabled_at": time(webhook.disabled_at),
    }
