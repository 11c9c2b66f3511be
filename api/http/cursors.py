"""Opaque cursors: where the next page of a list begins.

A cursor belongs to one query, its path and parameters, and to the position that the first page stands for. The following
pages answer as of that position, so that no row is lost or doubled while the log grows.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from api.http.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

POSITION_MAX: Final = 2**63 - 1
"""The largest position that PostgreSQL can hold."""

_FREE: Final = frozenset({"cursor", "limit", "min_position", "wait_ms"})
"""The parameters that may change from page to page; all others are part of the query."""


def encode(request: Request, position: int, key: Sequence[int | str]) -> str:
    """Return the cursor of the rows of this request's query, as of a position, that come after the row with this sort key."""
    query, place = _query(request), [position, *key]
    text = msgspec.json.encode([_check(query, place), query, *place])
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def decode(request: Request, cursor: str | None, *kinds: type[int | str]) -> tuple[int, tuple[Any, ...]] | None:
    """Return the position and the sort key in the cursor, or None when there is no cursor.

    `kinds` are the types of the key's parts. Anybody can forge a cursor, so the position may be ahead of the log and the
    key that of no row; but it always has this shape, and the database can compare each part.

    Raises:
        ApiError: INVALID_CURSOR, when it is damaged, or made for another query.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, query, *place = msgspec.json.decode(text, type=list[int | str])
    except (ValueError, msgspec.DecodeError):
        raise ApiError("INVALID_CURSOR", "the cursor is damaged") from None
    if check != _check(query, place) or not _fits(place, [int, *kinds]):
        raise ApiError("INVALID_CURSOR", "the cursor is damaged")
    if query != _query(request):
        raise ApiError("INVALID_CURSOR", "the cursor belongs to another query: send the same parameters with it")
    position, *key = place
    return cast("int", position), tuple(key)


def _fits(place: Sequence[int | str], kinds: Sequence[type[int | str]]) -> bool:
    """Return whether a position and key have parts of these types, and PostgreSQL can hold each."""
    return list(map(type, place)) == list(kinds) and all(
        "\0" not in part if isinstance(part, str) else 0 <= part <= POSITION_MAX for part in place
    )


def _check(query: int | str, place: Sequence[int | str]) -> str:
    """Return a checksum: it tells a cursor that was cut or mistyped."""
    return hashlib.blake2b(msgspec.json.encode([query, *place]), digest_size=4).hexdigest()


def _query(request: Request) -> str:
    """Return a short hash of the request's path and parameters."""
    parameters = sorted((name, value) for name, value in request.query_params.multi_items() if name not in _FREE)
    text = msgspec.json.encode([request.url.path, parameters])
    return hashlib.blake2b(text, digest_size=8).hexdigest()
