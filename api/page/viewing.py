"""How a page is made: who looks, one snapshot of the read models for all that it shows, and the template."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import time_ns
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from psycopg import Connection
from pydantic import ValidationError
from starlette.requests import Request

from api.http.context import principal_of
from api.http.cursors import POSITION_MAX
from api.http.errors import ApiError, from_pydantic
from api.http.reads import Reader
from api.page.frame import is_same_origin
from api.page.languages import current
from api.page.languages import translate as _
from domain.money import MICRO
from projections import accounts
from projections.reading import AsOf, Need

if TYPE_CHECKING:
    from starlette.responses import Response

    from api.http.auth import Principal
    from api.http.fields import BodyT
    from api.page.rendering import Pages
    from domain.money import Credits

Query = Callable[[Connection[Any], AsOf], dict[str, Any]]
"""Returns what a template needs, from one snapshot."""

WITHOUT_PAST: Final = ("/desk", "/sign-in", "/join")
"""The beginnings of the paths of pages that are about now alone."""

WAIT_MS: Final = 3_000
"""The longest wait of a page for the read models, after a form that changed something."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page: a key, and the name and the available credits of its account, if it has one."""

    principal: Principal
    account: str | None = None
    available: Credits | None = None

    @property
    def name(self) -> str:
        """What the page calls the viewer: the account, or what the key is for."""
        if self.account:
            return self.account
        roles = self.principal.roles
        return _("Administrator") if "admin" in roles else _("Operator") if "operator" in roles else _("Analyst")

    @property
    def can_trade(self) -> bool:
        """Whether it may order for an account of its own."""
        return "trader" in self.principal.roles and self.account is not None

    @property
    def runs_desk(self) -> bool:
        """Whether it may use the desk."""
        return not self.principal.roles.isdisjoint({"operator", "admin"})


async def show(read: Reader, template: str, needs: Sequence[Need], query: Query, **values: Any) -> Response:
    """Return the page made from a query's values, all in one snapshot; raises ApiError as `Reader.fetch` does."""
    viewer, found, as_of = await look(read, needs, query)
    return answer_with(read, template, viewer, as_of, **found, **values)


async def look(read: Reader, needs: Sequence[Need], query: Query) -> tuple[Viewer | None, dict[str, Any], AsOf]:
    """Return who looks, the query's values, and what they stand for: now, where a page has no past."""
    if not has_past(read):
        read.at = read.time = None
    principal = read.principal
    account_id = None if principal is None else principal.account_id
    more = () if account_id is None else (accounts.get_account,)

    def both(connection: Connection[Any], as_of: AsOf) -> tuple[Viewer | None, dict[str, Any]]:
        viewer = None if principal is None else Viewer(principal)
        if principal is not None and account_id is not None:
            viewer = _viewer(connection, as_of, principal, account_id, is_past=is_past(read))
        token = current.set(language(read.request))
        try:
            return viewer, query(connection, as_of)
        finally:
            current.reset(token)

    (viewer, found), as_of = await read.fetch((*needs, *more), both)
    return viewer, found, as_of


def _viewer(
    connection: Connection[Any], as_of: AsOf, principal: Principal, account_id: str, *, is_past: bool
) -> Viewer:
    """Return who looks, by the name of now. A page of the past has no credits beside it: they are no part of that time."""
    if is_past:
        names = accounts.names(connection, replace(as_of, position=POSITION_MAX), [account_id])
        return Viewer(principal, names.get(account_id))
    own = accounts.get_account(connection, as_of, account_id)
    return Viewer(principal, own.name if own else None, own.available if own else None)


def is_past(read: Reader) -> bool:
    """Return whether a page of the past is asked for, by position or by time."""
    return read.at is not None or read.time is not None


def has_past(read: Reader) -> bool:
    """Return whether a page can be shown as it was."""
    return not read.request.url.path.startswith(WITHOUT_PAST)


def frame_of(read: Reader, viewer: Viewer | None, as_of: AsOf) -> dict[str, Any]:
    """Return what the frame of every page shows."""
    path = read.request.scope["raw_path"].decode("ascii")
    named = read.time
    # Of a time that was, although nothing may have happened for long before; one to come has no state yet.
    shown_time = as_of.time if named is None or named > time_ns() // 1_000 else named
    return {
        "viewer": viewer,
        "as_of": as_of,
        "is_past": is_past(read),
        "path": path,
        "has_past": read.request.method == "GET" and has_past(read),
        "shown_time": shown_time,
        "minute": datetime.fromtimestamp(shown_time // MICRO, UTC).strftime("%Y-%m-%dT%H:%M"),
        "origin": f"{read.request.url.scheme}://{read.request.url.netloc}",
        "url": _links(read, as_of),
    }


def _links(read: Reader, as_of: AsOf) -> Callable[..., str]:
    """Return what makes a link to a page: of the past, when this page is of the past."""
    past = {"as_of_position": as_of.position} if is_past(read) else {}

    def link(path: str, **parameters: Any) -> str:
        given = {name: value for name, value in {**parameters, **past}.items() if value is not None}
        return path + (f"?{urlencode(given)}" if given else "")

    return link


def pages_of(request: Request) -> Pages:
    """Return the templates of the request's app."""
    pages: Pages = request.app.state.pages
    return pages


def language(request: Request) -> str:
    """Return the language of the page that a request asks for."""
    found: str = request.scope["tidings.language"]
    return found


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form that a page of this server sent.

    Raises:
        ApiError: FORBIDDEN, when the browser does not say that it comes from a page of this server; INVALID_FIELD for a
            form that cannot be read.
    """
    return {name: values[-1] for name, values in (await form_lists(request)).items()}


async def form_lists(request: Request) -> dict[str, list[str]]:
    """Return the fields of a form, each with all its values; raises ApiError as `form_of` does."""
    current.set(language(request))  # for the words of refusals; the task ends with the request
    if not is_same_origin(request.scope):
        raise ApiError("FORBIDDEN", "the form was not sent from a page of this exchange")
    found: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=2_000):
            found.setdefault(name, []).append(value.replace("\r\n", "\n").strip())
    except ValueError as error:
        raise ApiError("INVALID_FIELD", "the form cannot be read", {"field": "form"}) from error
    if any("\0" in value for values in found.values() for value in values):
        raise ApiError("INVALID_FIELD", "a field of the form has a NUL", {"field": "form"})
    return found


async def reader_of_form(request: Request) -> Reader:
    """Return the reader for the page that answers a form."""
    return Reader(request, await principal_of(request), None, WAIT_MS, None, None)


def after(read: Reader, position: int) -> Reader:
    """Return the reader, to wait for this position."""
    read.min_position = min(position, POSITION_MAX)
    return read


def answer_with(
    read: Reader, template: str, viewer: Viewer | None, as_of: AsOf, http_status: int = 200, **values: Any
) -> Response:
    """Return the page of a template; that of somebody who has signed in is stored nowhere."""
    frame = frame_of(read, viewer, as_of)
    answer = pages_of(read.request).answer(template, language(read.request), http_status, **frame, **values)
    if viewer is not None or read.request.method != "GET":
        answer.headers["cache-control"] = "no-store"
    return answer


def local_path(path: str, default: str = "/") -> str:
    """Return a path on this server, or the default for anything that could lead elsewhere."""
    is_local = path.startswith("/") and not path.startswith("//") and path.isprintable() and "\\" not in path
    return path if is_local else default


def back_to(form: dict[str, str], default: str, position: int) -> str:
    """Return where a form leads back to, on this server, once the read models have this position."""
    path = local_path(form.get("back", default), default)
    return f"{path}{'&' if '?' in path else '?'}min_position={position}"


UNDECIDED: Final = frozenset({"REPLY_TIMEOUT", "BUSY", "RATE_LIMITED", "UNAVAILABLE", "READ_TIMEOUT"})
"""The codes after which the same form may be sent again: it was not decided, or nobody knows."""


def new_form_key() -> str:
    """Return the idempotency key of a form: sent twice, the form is one command."""
    return f"form-{secrets.token_urlsafe(16)}"


def form_key_after(error: ApiError, form: dict[str, str]) -> str:
    """Return the key of a form that is shown again after an error.

    It stays where the command may have been decided, or may be yet: sent again, it is still one command. After a refusal it
    is a new one, because the log has the refusal under the old one.
    """
    return form.get("form_key") or new_form_key() if error.code in UNDECIDED else new_form_key()


def with_form_key(request: Request, form: dict[str, str]) -> Request:
    """Return the request as one with the form's idempotency key, for the functions of the API's routes."""
    key = form.get("form_key", "")
    if not (key.isascii() and key.isprintable() and 0 < len(key) <= 100):
        raise ApiError("INVALID_FIELD", "the form has no usable key", {"field": "form_key"})
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"idempotency-key"]
    return Request({**request.scope, "headers": [*headers, (b"idempotency-key", key.encode())]}, request.receive)


def validated(model: type[BodyT], given: dict[str, Any]) -> BodyT:
    """Return the body of an operation of the API, made from a form; raises ApiError INVALID_FIELD."""
    try:
        return model.model_validate_json(json.dumps(given))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise from_pydantic([{**each, "loc": ("body", *each["loc"])} for each in found]) from error


def position_in(answer: Response) -> int:
    """Return the position in the JSON of an answer to a write."""
    position: int = json.loads(bytes(answer.body))["position"]
    return position
