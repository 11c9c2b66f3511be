"""Requests that come again byte by byte over their connection: neither parsed nor routed again.

A dashboard polls like that: the same path, the same headers, the tag of the same answer. Parsing and routing such a request
cost several times what the question costs whether its answer still holds. So an answer that is kept leaves a `Repeat` in
the scope of its request, and the connection gives the answer again when the same bytes come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

REQUEST_BYTES_MAX: Final = 4_096
"""The longest request that a connection remembers."""

SCOPE_KEY: Final = "tidings.repeat"
"""Where the scope of a request has its `Repeat`."""

_ID: Final = b"x-request-id: "


def repeat_of(scope: Mapping[str, Any]) -> Repeat | None:
    """Return the answer that may be given again to the request with this scope, None where there is none."""
    found: Repeat | None = scope.get(SCOPE_KEY)
    return found


class Repeat:
    """An answer that may be given again, under another request id.

    `admit` counts the next request and returns its id. It returns None, and counts nothing, where the request has to be
    served as any other: the answer is not the newest one, the key counts no more, the caller asks too often.
    """

    __slots__ = ("_admit", "_answer", "_request_id")

    def __init__(self, admit: Callable[[], str | None], request_id: str) -> None:
        self._admit = admit
        self._request_id = request_id
        self._answer: tuple[bytes, bytes, bytes] | None = None

    def keep(self, status: int, lines: bytes, body: bytes) -> None:
        """Remember the answer as it was written: its status, the lines of its headers but the server's, and its body."""
        before, name, after = lines.partition(_ID + self._request_id.encode())
        if name:
            self._answer = STATUS_LINE[status], before + _ID, b"".join((after, b"\r\n\r\n", body))

    def answer(self, of_server: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """Return the answer to the next request with the server's headers of now; None where `admit` says so."""
        if self._answer is None or (request_id := self._admit()) is None:
            return None
        status, before, after = self._answer
        lines = [b"%b: %b\r\n" % each for each in of_server]
        return b"".join((status, *lines, before, request_id.encode(), after))
