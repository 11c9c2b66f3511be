"""API keys over HTTP, for admins: create, list, revoke."""

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import key_store
from api.http.answers import KeyPage, NewKeyAnswer, WrittenKeyAnswer
from api.http.context import Context, WithContext, admin_of
from api.http.errors import ApiError, invalid_field
from api.http.fields import Label, Reference, RequestBody
from api.http.openapi import BODY_CODES, KEY_CODES, answers
from api.http.reads import json
from api.http.writes import idempotency_key
from api.key_store import Role

router = APIRouter(prefix="/keys", tags=["keys"], dependencies=[Depends(admin_of)])


class CreateKeyBody(RequestBody):
    """The roles of a key, and the account of a trader's key."""

    roles: list[Role] = Field(min_length=1, max_length=3)
    account: Reference | None = Field(None, description="id or name; a trader's key needs one")
    label: Label | None = Field(None, description="for people")


@router.post(
    "",
    status_code=201,
    responses=answers(NewKeyAnswer, *BODY_CODES, *KEY_CODES, "ACCOUNT_NOT_FOUND", "COMMAND_ID_REUSED", status=201),
)
async def create_key(request: Request, context: WithContext, body: CreateKeyBody) -> Response:
    """Create a key. Only this answer has its secret, in `key`; sent again with its `Idempotency-Key`, `key` is null.

    If that answer was lost, revoke the key and create another one.
    """
    idempotency = idempotency_key(request)
    if body.account is None and "trader" in body.roles:
        raise invalid_field("account", "is required for the role trader")
    account_id = None if body.account is None else await context.references.find("account", body.account)
    if account_id is None and body.account is not None:
        raise ApiError("ACCOUNT_NOT_FOUND", "no such account", {"account": body.account})

    def create() -> tuple[str | None, key_store.Key]:
        with context.pool.connection() as connection:
            return key_store.create(connection, body.roles, account_id, body.label or "", idempotency)

    position = await _end_of_log(context)  # asked first: if the log cannot be reached, no secret is lost
    try:
        secret, key = await run_in_threadpool(create)
    except key_store.IdempotencyKeyReused as error:
        raise ApiError("COMMAND_ID_REUSED", "another key was made with this Idempotency-Key") from error
    return json({"key": secret, **key_store.public(key), "position": position}, 201)


@router.get("", responses=answers(KeyPage, *KEY_CODES))
async def list_keys(context: WithContext) -> Response:
    """All keys, revoked ones included, without their secrets."""

    def load() -> list[key_store.Key]:
        with context.pool.connection() as connection:
            return key_store.every(connection)

    return json({"data": [key_store.public(key) for key in await run_in_threadpool(load)], "next_cursor": None})


@router.delete("/{key_id}", responses=answers(WrittenKeyAnswer, *KEY_CODES, "KEY_NOT_FOUND"))
async def revoke_key(context: WithContext, key_id: str) -> Response:
    """Revoke a key. It stops working within seconds."""

    def revoke() -> key_store.Key | None:
        with context.pool.connection() as connection:
            return key_store.revoke(connection, key_id)

    key = await run_in_threadpool(revoke)
    if key is None:
        raise ApiError("KEY_NOT_FOUND", "no such key", {"key_id": key_id})
    context.keys.forget()
    return json({**key_store.public(key), "position": await _end_of_log(context)})


async def _end_of_log(context: Context) -> int:
    """Return the last position of the log. Keys are not in the log, but every answer to a write has a position."""
    return await context.log_reads.ask(lambda log: log.max_notification_id()) or 0
