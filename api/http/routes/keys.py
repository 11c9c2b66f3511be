"""API keys over HTTP: an admin makes, lists and revokes all of them, a trader those of its own account; and who one is."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from psycopg import Connection
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import key_store
from api.http.answers import KeyPage, Me, NewKeyAnswer, WrittenKeyAnswer
from api.http.auth import Principal, require
from api.http.context import Actor, Context, WithContext
from api.http.errors import ApiError, invalid_field
from api.http.fields import KeyName, Moment, Reference, RequestBody
from api.http.openapi import BODY_CODES, KEY_CODES, answers, one
from api.http.reads import Read, answer, json
from api.http.writes import idempotency_key
from api.key_store import KEYS_MAX, ROLES, NewKey, Role
from projections import accounts
from projections.reading import AsOf

router = APIRouter(tags=["keys"])

OF_AN_ACCOUNT = frozenset({"trader", "reader"})
"""The roles of keys that belong to an account."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CreateKeyBody(RequestBody):
    """The roles of a key, its account, and when it expires."""

    roles: list[Role] = Field(min_length=1, max_length=len(ROLES))
    account: Reference | None = Field(
        None,
        description="id or name; a trader's or reader's key needs one, if missing the account of the key that asks",
    )
    name: KeyName | None = Field(None, description="for people")
    expires_at: Moment | None = Field(
        None, description="the key works before this time; if missing, until it is revoked"
    )


@router.post(
    "/keys",
    status_code=201,
    responses=answers(
        NewKeyAnswer, *BODY_CODES, *KEY_CODES, "ACCOUNT_NOT_FOUND", "COMMAND_ID_REUSED", "TOO_MANY_KEYS", status=201
    ),
)
async def create_key(request: Request, context: WithContext, principal: Actor, body: CreateKeyBody) -> Response:
    """Create a key: an admin any, a trader one for its own account, with the role trader or reader.

    Only this answer has its secret, in `key`; sent again with its `Idempotency-Key`, `key` is null. If that answer was
    lost, revoke the key and create another one. A key that a trader makes does not outlive the key that made it.
    """
    idempotency = idempotency_key(request)
    new = NewKey(body.roles, await _account_of(context, principal, body), body.name or "", _expiry(principal, body))
    own = "admin" not in principal.roles
    if own and not OF_AN_ACCOUNT.issuperset(body.roles):
        raise ApiError("FORBIDDEN", "a trader makes keys with the roles trader and reader only")
    if own and idempotency is not None:
        idempotency = f"{principal.account_id}:{idempotency}"

    def create() -> tuple[str | None, key_store.Key]:
        with context.pool.connection() as connection:
            return key_store.create(connection, new, idempotency_key=idempotency, keys_max=KEYS_MAX if own else None)

    position = await _end_of_log(context)  # asked first: if the log cannot be reached, no secret is lost
    try:
        secret, key = await run_in_threadpool(create)
    except key_store.IdempotencyKeyReused as error:
        raise ApiError("COMMAND_ID_REUSED", "another key was made with this Idempotency-Key") from error
    except key_store.TooManyKeys as error:
        message = f"the account already has {KEYS_MAX} valid keys: revoke one first"
        raise ApiError("TOO_MANY_KEYS", message, {"most": KEYS_MAX}) from error
    return json({"key": secret, **key_store.public(key), "position": position}, 201)


async def _account_of(context: Context, principal: Principal, body: CreateKeyBody) -> str | None:
    """Return the id of the account of a new key, or None; raises ApiError."""
    if "admin" not in principal.roles:
        return await context.references.acting_account(principal, body.account)
    if body.account is None:
        if not OF_AN_ACCOUNT.isdisjoint(body.roles):
            raise invalid_field("account", "is required for the roles trader and reader")
        return None
    account_id = await context.references.find("account", body.account)
    if account_id is None:
        raise ApiError("ACCOUNT_NOT_FOUND", "no such account", {"account": body.account})
    return account_id


def _expiry(principal: Principal, body: CreateKeyBody) -> datetime | None:
    """Return when a new key expires; raises ApiError INVALID_FIELD for a time that is over, or beyond the maker's own."""
    latest = None if "admin" in principal.roles else principal.expires_at
    if body.expires_at is None:
        return latest
    try:
        expiry = _EPOCH + timedelta(microseconds=body.expires_at)
    except OverflowError as error:
        raise invalid_field("expires_at", "is too late") from error
    if expiry <= datetime.now(UTC):
        raise invalid_field("expires_at", "must be in the future")
    if latest is not None and expiry > latest:
        raise invalid_field(
            "expires_at", f"must not be after the expiry of the key that makes it, {latest.isoformat()}"
        )
    return expiry


@router.get("/keys", responses=answers(KeyPage, *KEY_CODES, "ACCOUNT_NOT_FOUND"))
async def list_keys(
    context: WithContext,
    principal: Actor,
    account: Annotated[str | None, Query(description="only keys of this account: id or name")] = None,
) -> Response:
    """All keys, or those of an account, revoked and expired ones included, without their secrets; a trader's own."""
    account_id = None
    if account is not None or "admin" not in principal.roles:
        account_id = await context.references.acting_account(principal, account)

    def load() -> list[key_store.Key]:
        with context.pool.connection() as connection:
            return key_store.every(connection, account_id)

    return json({"data": [key_store.public(key) for key in await run_in_threadpool(load)], "next_cursor": None})


@router.delete("/keys/{key_id}", responses=answers(WrittenKeyAnswer, *KEY_CODES, "KEY_NOT_FOUND"))
async def revoke_key(context: WithContext, principal: Actor, key_id: str) -> Response:
    """Revoke a key: an admin any, a trader one of its own account. It stops working within a second, in every process."""
    account_id = None if "admin" in principal.roles else principal.account_id

    def revoke() -> key_store.Key | None:
        with context.pool.connection() as connection:
            return key_store.revoke(connection, key_id, account_id)

    key = await run_in_threadpool(revoke)
    if key is None:
        raise ApiError("KEY_NOT_FOUND", "no such key", {"key_id": key_id})
    context.keys.forget()
    return json({**key_store.public(key), "position": await _end_of_log(context)})


@router.get("/me", responses=one(Me))
async def get_me(read: Read) -> Response:
    """Who one is: the key, its roles and when it expires, and the id and the name of its account."""
    me = require(read.principal, *ROLES)

    def query(connection: Connection[Any], as_of: AsOf) -> str | None:
        found = accounts.get_account(connection, as_of, me.account_id) if me.account_id else None
        return found.name if found else None

    name, as_of = await read.fetch((accounts.get_account,), query)
    found = {
        "key_id": me.key_id,
        "name": me.name,
        "roles": [role for role in ROLES if role in me.roles],
        "account_id": me.account_id,
        "account": name,
        "expires_at": me.expires_at.isoformat() if me.expires_at else None,
    }
    return answer(found, as_of)


async def _end_of_log(context: Context) -> int:
    """Return the last position of the log. Keys are not in the log, but every answer to a write has a position."""
    return await context.log_reads.ask(lambda log: log.max_notification_id()) or 0
