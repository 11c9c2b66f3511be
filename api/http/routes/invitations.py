"""Invitations: an admin makes one; whoever has its code opens an account with it, and gets the account's key, once.

The code stands in no path and no query, so that no log of requests has it; in a link it is the fragment.
"""

from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from psycopg import Connection
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import key_store
from api.http.answers import AcceptedInvitation, NewInvitation, RevokedInvitation
from api.http.context import Admin, Context, WithContext
from api.http.errors import ApiError
from api.http.fields import AccountName, Amount0, InvitationUses, Moment, RequestBody
from api.http.openapi import BODY_CODES, answer, answers, decided, list_of
from api.http.reads import Cursor, Limit, Read, json
from api.http.refusals import REFUSALS
from api.http.serializers import serialize
from api.http.writes import command_id_of, is_shown, submit, unsigned_id
from domain.invitations import AcceptInvitation, CreateInvitation, RevokeInvitation
from domain.money import format_decimal
from messages.wire import format_time
from projections import accounts, invitations
from projections.reading import UnknownProjection, read

router = APIRouter(prefix="/invitations", tags=["invitations"])

NEEDS: Final = (invitations.get_invitation, accounts.get_account)
LINK: Final = "/join#"
"""The beginning of an invitation's link, after the address of the exchange."""


class CreateInvitationBody(RequestBody):
    """How many people it lets in, with how many credits each, and until when."""

    uses: InvitationUses
    expires_at: Moment
    credits: Amount0 = Field(0, description="credits of each new account")


class AcceptInvitationBody(RequestBody):
    """The code of an invitation, and the name of the new account."""

    code: str = Field(min_length=1, max_length=100, description="the part of the link after `#`")
    name: AccountName


@router.post("", status_code=201, responses=decided(NewInvitation, CreateInvitation, status=201))
async def create_invitation(
    request: Request, context: WithContext, principal: Admin, body: CreateInvitationBody
) -> Response:
    """Make an invitation. `link` is for those whom it lets in; it ends with the `code`, which no other answer has.

    Sent again with its `Idempotency-Key`, the request gets the same code.
    """
    command_id = command_id_of(request, principal, CreateInvitation)
    code = f"tdi_{await _derived(context, f'invitation {command_id}')}"
    command = CreateInvitation("", key_store.secret_hash(code), body.uses, body.expires_at, body.credits)
    reply = await submit(request, command_id, command)
    await is_shown(request, reply.position, NEEDS)
    made = {
        "invitation_id": reply.result["invitation_id"],
        "code": code,
        "link": f"{LINK}{code}",
        "uses": body.uses,
        "expires_at": format_time(body.expires_at),
        "credits": format_decimal(body.credits),
        "position": reply.position,
    }
    return json(made, 201)


@router.get("", responses=list_of(invitations.ListedInvitation, "FORBIDDEN"))
async def list_invitations(read: Read, _: Admin, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """All invitations, newest first, without their codes."""
    after = read.after(cursor, int, str)
    rows, as_of = await read.fetch(
        (invitations.list_invitations,), lambda c, a: invitations.list_invitations(c, a, limit=limit + 1, after=after)
    )
    return read.page(rows, limit, serialize, as_of)


InvitationId = Annotated[str, Path(description="the id of an invitation")]


@router.delete("/{invitation_id}", responses=decided(RevokedInvitation, RevokeInvitation))
async def revoke_invitation(
    request: Request, _: WithContext, principal: Admin, invitation_id: InvitationId
) -> Response:
    """Let nobody else in. The accounts that it has opened stay; to take their keys, revoke these."""
    command_id = command_id_of(request, principal, RevokeInvitation)
    reply = await submit(request, command_id, RevokeInvitation(invitation_id))
    await is_shown(request, reply.position, NEEDS)
    return json({"invitation_id": invitation_id, "position": reply.position})


@router.post(
    "/accept",
    status_code=201,
    responses=answers(
        AcceptedInvitation,
        *BODY_CODES,
        *("UNAVAILABLE", "BUSY", "REPLY_TIMEOUT", "COMMAND_ID_REUSED"),
        *REFUSALS[AcceptInvitation],
        status=201,
    )
    | answer(AcceptedInvitation, 202),
)
async def accept_invitation(request: Request, context: WithContext, body: AcceptInvitationBody) -> Response:
    """Open an account with the code of an invitation, and get the key of the account. This needs no key.

    Account, credits and key come into being together. Sent again with its `Idempotency-Key`, the request gets the same
    answer; `key` is null once the key has been used. Choose a random `Idempotency-Key`: until then, whoever has it and the
    code gets the key too. 202 means that all is done, and that the key works in a moment.
    """
    hashed = key_store.secret_hash(body.code)
    if not await run_in_threadpool(_is_known, context, hashed):
        raise ApiError("INVITATION_NOT_FOUND", "there is no such invitation")
    # No log has the Idempotency-Key itself: whoever has it may ask for the key.
    command_id = f"AcceptInvitation:{sha256(f'{body.code} {unsigned_id(request)}'.encode()).hexdigest()[:40]}"
    secret = f"tdg_{await _derived(context, f'key {command_id}')}"
    key_id = f"key_{sha256(command_id.encode()).hexdigest()[:16]}"
    command = AcceptInvitation(hashed, "", body.name, key_id, key_store.secret_hash(secret))
    reply = await submit(request, command_id, command)
    shown = await is_shown(request, reply.position, NEEDS)

    def is_used() -> bool:
        with context.pool.connection() as connection:
            return key_store.is_used(connection, key_id)

    accepted = {**reply.result, "name": body.name, "key": None if await run_in_threadpool(is_used) else secret}
    return json({**accepted, "position": reply.position}, 201 if shown else 202)


async def _derived(context: Context, purpose: str) -> str:
    def derive() -> str:
        with context.pool.connection() as connection:
            return key_store.derived_secret(connection, purpose)

    return await run_in_threadpool(derive)


def _is_known(context: Context, hashed: str) -> bool:
    """Return whether there is such an invitation: only then a stranger's request becomes a command."""

    def found(connection: Connection[Any]) -> bool:
        with read(connection, invitations.get_invitation) as as_of:
            return invitations.get_invitation(connection, as_of, hashed) is not None

    try:
        with context.pool.connection() as connection:
            return found(connection)
    except UnknownProjection as error:
        raise ApiError("UNAVAILABLE", "the read models do not exist yet", retry_after_seconds=1) from error
