"""The log line of a request. It never has the key or the body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


@dataclass(slots=True)
class RequestLog:
    """The contents of the log line of one request, filled in while the request is served.

    `position` is that of the command's reply, or the one that a read stands for.
    """

    request_id: str
    command_id: str | None = None
    position: int | None = None
    code: str | None = None


def request_log_of(request: HTTPConnection) -> RequestLog:
    """Return the log line of a request."""
    request_log: RequestLog = request.scope["tidings.request_log"]
    return request_log
