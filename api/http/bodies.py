"""Request bodies: JSON in UTF-8, with or without byte order mark, in which no object names a key twice.

JsonBodies          middleware for the routes of FastAPI: refuses any other body when a route reads it
OrderEntry          the fast path calls the same functions itself
"""

from __future__ import annotations

from email.message import Message as Headers
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

from api.http.auth import require
from api.http.errors import ApiError, BodyRefused
from api.key_store import ROLES
from messages.json_text import RepeatedKey, check_json, without_bom

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from api.http.admission import Caller


def json_text(body: bytes) -> bytes:
    """Return the JSON text in a body, without byte order mark; raises ApiError MALFORMED_JSON."""
    text = without_bom(body)
    try:
        check_json(text)
    except RepeatedKey as error:
        raise ApiError("MALFORMED_JSON", f"the body is ambiguous: {error}", {"key": error.key}) from error
    except (ValueError, RecursionError) as error:
        raise ApiError("MALFORMED_JSON", "the body is not JSON", {"problem": str(error)}) from error
    return text


def check_media_type(content_type: bytes | None, content_encoding: bytes | None) -> None:
    """Raise ApiError UNSUPPORTED_MEDIA_TYPE unless these headers allow plain JSON. A body without them is taken for it."""
    if content_type is not None and not _is_json(content_type):
        raise ApiError("UNSUPPORTED_MEDIA_TYPE", "the body must be sent as application/json")
    if content_encoding is not None and content_encoding.strip().lower() != b"identity":
        raise ApiError("UNSUPPORTED_MEDIA_TYPE", "the body must be sent without a Content-Encoding")


@lru_cache(maxsize=128)  # nearly all requests have the same
def _is_json(content_type: bytes) -> bool:
    headers = Headers()
    headers["content-type"] = content_type.decode("latin-1")
    subtype = headers.get_content_subtype()
    return headers.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


async def read_body(receive: Receive) -> bytes:
    """Return the whole body of a request. Raises ClientDisconnect."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message["type"] == "http.request" and message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return body


def _check_caller(scope: Scope) -> None:
    """Refuse to read the body of a caller without a valid key, if its route needs one.

    FastAPI reads a body before it runs the dependencies that ask for the caller, so that anybody could send anything.
    """
    caller: Caller = scope["tidings.caller"]
    if _needs_key(scope["route"]):
        require(caller.principal(), *ROLES)


def _needs_key(route: Any) -> bool:
    """Return whether a route serves nobody without a key: it then declares FORBIDDEN, for the key's roles."""
    return "FORBIDDEN" in getattr(route, "responses", {}).get(403, {}).get("x-codes", ())


class JsonBodies:
    """ASGI middleware that lets a route read no body but JSON. What no route reads is not judged."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_ours = scope["type"] == "http" and scope["path"].startswith(
            "/v1/"
        )  # pages send forms, which they read themselves
        await self.app(scope, _JsonBody(scope, receive) if is_ours else receive, send)


class _JsonBody:
    """A `receive` that brings the whole body of a caller who may send one as one message, or raises BodyRefused."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self._is_read = False

    async def __call__(self) -> Message:
        if self._is_read:
            return await self._receive()
        self._is_read = True
        try:
            _check_caller(self._scope)
        except ApiError as error:
            raise BodyRefused(error) from error
        body = await read_body(self._receive)
        if body:
            headers = dict(self._scope["headers"])
            try:
                check_media_type(headers.get(b"content-type"), headers.get(b"content-encoding"))
                body = json_text(body)
            except ApiError as error:
                raise BodyRefused(error) from error
        return {"type": "http.request", "body": body, "more_body": False}
