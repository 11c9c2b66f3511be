"""API keys over HTTP, for admins: create, list, revoke."""

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api import key_store
from api.http.answers import KeyAnswer, KeyPage, NewKeyAnswer
from api.http.context import WithContext, admin_of
from api.http.errors import ApiError, invalid_field
from api.http.fields import AccountName, Reference, RequestBody
from api.http.openapi import BODY_CODES, KEY_CODES, answers
from api.http.reads import json
from api.http.references import is_id
from api.key_store import Role

router = APIRouter(prefix="/keys", tags=["keys"], dependencies=[Depends(admin_of)])


class CreateKeyBody(RequestBody):
    """The roles of a key, and the account of a trader's key."""

    roles: list[Role] = Field(min_length=1, max_length=3)
    account: Reference | None = Field(None, description="id or name; a trader's key needs one")
    label: AccountName | None = Field(None, description="for people")


@router.post(
    "", status_code=201, responses=answers(NewKeyAnswer, *BODY_CODES, *KEY_CODES, "ACCOUNT_NOT_FOUND", status=201)
)
async def create_key(context: WithContext, body: CreateKeyBody) -> Response:
    """Create a key. Only this answer has its secret, in `key`."""
    account_id = body.account and await context.references.resolve("account", body.account)
    if account_id is None and "trader" in body.roles:
        raise invalid_field("account", "is required for the role trader")
    if account_id is not None and not is_id(account_id):
        raise ApiError("ACCOUNT_NOT_FOUND", "no such account", {"account": account_id})

    def create() -> tuple[str, key_store.Key]:
        with context.pool.connection() as connection:
            return key_store.create(connection, body.roles, account_id, body.label or "")

    secret, key = await run_in_threadpool(create)
    return json({"key": secret, **key_store.public(key)}, 201)


@router.get("", responses=answers(KeyPage, *KEY_CODES))
async def list_keys(context: WithContext) -> Response:
    """All keys, revoked ones included, without their secrets."""

    def load() -> list[key_store.Key]:
        with context.pool.connection() as connection:
            return key_store.every(connection)

    return json({"data": [key_store.public(key) for key in await run_in_threadpool(load)], "next_cursor": None})


@router.delete("/{key_id}", responses=answers(KeyAnswer, *KEY_CODES, "KEY_NOT_FOUND"))
async def revoke_key(context: WithContext, key_id: str) -> Response:
    """Revoke a key. It stops working within seconds."""

    def revoke() -> key_store.Key | None:
        with context.pool.connection() as connection:
            return key_store.revoke(connection, key_id)

    key = await run_in_threadpool(revoke)
    if key is None:
        raise ApiError("KEY_NOT_FOUND", "no such key", {"key_id": key_id})
    context.keys.forget()
    return json(key_store.public(key))
