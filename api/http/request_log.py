"""The log line of a request. It never has the key or the body."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


@dataclass(slots=True)
class RequestLog:
    """The contents of the log line of one request, filled in while the request is served.

    `refusals` counts the commands that the rules refused; the log keeps each. `position` is that of the command's reply, or
    the one that a read stands for. `arrived` is the time of arrival by `time.monotonic`: the times that a request may take
    count from it.
    """

    request_id: str
    command_id: str | None = None
    position: int | None = None
    code: str | None = None
    refusals: int = 0
    arrived: float = field(default_factory=monotonic)

    def found(self) -> dict[str, str | int]:
        """Return what was found out about the request: not every one has a command, a position or a code."""
        found: dict[str, str | int] = {}
        if self.command_id is not None:
            found["command_id"] = self.command_id
        if self.position is not None:
            found["position"] = self.position
        if self.code is not None:
            found["code"] = self.code
        return found


def request_log_of(request: HTTPConnection) -> RequestLog:
    """Return the log line of a request."""
    request_log: RequestLog = request.scope["tidings.request_log"]
    return request_log
