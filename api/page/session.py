"""Signing in and out: with a key, with the code of a link, or with an invitation, which opens an account.

The browser gets a token of a session (`api.session_store`), never the key.
"""

from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api import key_store, session_store
from api.http.context import Context, context_of
from api.http.errors import ApiError
from api.http.reads import Reader
from api.http.routes.invitations import AcceptInvitationBody, accept_invitation
from api.page.frame import COOKIE, cookie_in
from api.page.viewing import (
    answer_with,
    form_key_after,
    form_of,
    local_path,
    look,
    new_form_key,
    reader_of_form,
    validated,
    with_form_key,
)
from projections import accounts

router = APIRouter(include_in_schema=False)

NEEDS = (accounts.get_account,)
"""What the frame of a page needs."""


@router.get("/sign-in")
async def show_sign_in(request: Request, code: str | None = None, next: str = "/") -> Response:  # noqa: A002  stands in a URL
    """The form for a key. With the `code` of a link, a button that signs in: only the button uses the code up."""
    read = await reader_of_form(request)  # also where reads need a key
    return await _form(read, "sign_in.html", code=code, next=next, problem=None)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session with a key, or with a code."""
    form = await form_of(request)
    context = context_of(request)
    code, secret = form.get("code", ""), form.get("key", "")
    key_id: str | None = None
    if code:
        key_id = await run_in_threadpool(_use_code, context, code)
        problem = "code"
    elif secret:
        key_id = await _key_of(context, secret)
        problem = "key"
    else:
        problem = "empty"
    if key_id is None:
        context.admission.count_failed_key(request.scope)
        read = await reader_of_form(request)
        return await _form(read, "sign_in.html", 422, code=None, next=form.get("next", "/"), problem=problem)
    return await _begin(request, key_id, RedirectResponse(local_path(form.get("next", "/")), 303))


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session of this browser."""
    await form_of(request)
    context = context_of(request)
    token = cookie_in(request.headers.get("cookie", ""), COOKIE)
    if token is not None:
        await run_in_threadpool(_end, context, token)
        context.keys.forget()
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE, path="/", secure=_is_secure(request), httponly=True, samesite="strict")
    return answer


@router.get("/join")
async def show_join(request: Request) -> Response:
    """The form of an invitation. Its code stands behind `#` in the link, so that no server sees it before the form is sent."""
    read = await reader_of_form(request)
    return await _form(read, "join.html", problem=None, name="", code="", form_key=new_form_key())


@router.post("/join")
async def join(request: Request) -> Response:
    """Open an account with an invitation, sign in, and show the account's key: this once.

    Sent again after the key was used, the form shows no key and signs nobody in.
    """
    form = await form_of(request)
    context = context_of(request)
    code = form.get("code", "").rpartition("#")[2]  # whoever pastes the whole link is understood
    read = await reader_of_form(request)
    try:
        body = validated(AcceptInvitationBody, {"code": code, "name": form.get("name", "")})
        answer = await accept_invitation(with_form_key(request, form), context, body)
    except ApiError as error:
        return await _join_again(read, form, code, error)
    found: dict[str, Any] = msgspec.json.decode(bytes(answer.body))
    if found["key"] is None:
        return await _form(read, "joined.html", 409, account=found["name"], key=None)
    key_id = await _key_of(context, found["key"])
    read.min_position = found["position"]
    shown = await _form(read, "joined.html", account=found["name"], key=found["key"])
    return shown if key_id is None else await _begin(request, key_id, shown)


async def _join_again(read: Reader, form: dict[str, str], code: str, error: ApiError) -> Response:
    again = {"name": form.get("name", ""), "code": code, "form_key": form_key_after(error, form)}
    return await _form(read, "join.html", 422, problem=error, **again)


async def _form(read: Reader, template: str, status: int = 200, **values: Any) -> Response:
    viewer, _, as_of = await look(read, NEEDS, lambda _c, _a: {})
    answer = answer_with(read, template, viewer, as_of, status, **values)
    answer.headers["cache-control"] = "no-store"
    return answer


async def _key_of(context: Context, secret: str) -> str | None:
    """Return the id of the key with this secret, None when it is not valid."""

    def find() -> str | None:
        with context.pool.connection() as connection:
            found = key_store.find(connection, secret)
            return found.key_id if found else None

    return await run_in_threadpool(find)


async def _begin(request: Request, key_id: str, answer: Response) -> Response:
    """Begin a session and put its token into the answer."""
    context = context_of(request)

    def begin() -> str:
        with context.pool.connection() as connection:
            return session_store.begin(connection, key_id)

    token = await run_in_threadpool(begin)
    answer.set_cookie(
        COOKIE, token, max_age=session_store.SESSION_SECONDS, path="/", httponly=True, samesite="strict",
        secure=_is_secure(request),
    )  # fmt: skip
    answer.headers["cache-control"] = "no-store"
    return answer


def _use_code(context: Context, code: str) -> str | None:
    with context.pool.connection() as connection:
        return session_store.use_code(connection, code)


def _end(context: Context, token: str) -> None:
    with context.pool.connection() as connection:
        session_store.end(connection, token)


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
