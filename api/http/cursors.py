"""Opaque cursors: where the next page of a list begins. A cursor belongs to one query, its path and parameters."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from api.http.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

_FREE: Final = frozenset({"cursor", "limit", "min_position", "wait_ms"})
"""The parameters that may change from page to page; all others are part of the query."""


def encode(request: Request, key: Sequence[int | str]) -> str:
    """Return the cursor of the rows of this request's query that come after the row with this sort key."""
    query = _query(request)
    text = msgspec.json.encode([_check(query, key), query, *key])
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def decode(request: Request, cursor: str | None) -> list[int | str] | None:
    """Return the sort key in the cursor, or None when there is no cursor.

    A cursor that this server made for this query has a key of the right shape. A forged one leads to other rows of the
    same list or to an error, and to nothing else.

    Raises:
        ApiError: INVALID_CURSOR, when it is damaged, or made for another query.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, query, *key = msgspec.json.decode(text, type=list[int | str])
    except (ValueError, msgspec.DecodeError):
        raise ApiError("INVALID_CURSOR", "the cursor is damaged") from None
    if check != _check(query, key):
        raise ApiError("INVALID_CURSOR", "the cursor is damaged")
    if query != _query(request):
        raise ApiError("INVALID_CURSOR", "the cursor belongs to another query: send the same parameters with it")
    return key


def _check(query: int | str, key: Sequence[int | str]) -> str:
    """Return a checksum: it tells a cursor that was cut or mistyped."""
    return hashlib.blake2b(msgspec.json.encode([query, *key]), digest_size=4).hexdigest()


def _query(request: Request) -> str:
    """Return a short hash of the request's path and parameters."""
    parameters = sorted((name, value) for name, value in request.query_params.multi_items() if name not in _FREE)
    text = msgspec.json.encode([request.url.path, parameters])
    return hashlib.blake2b(text, digest_size=8).hexdigest()
