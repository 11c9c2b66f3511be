"""What is said of a request in the log. Never its key, never its body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


@dataclass(slots=True)
class Facts:
    """Filled in by whoever learns them; `position` is that of the command's outcome, or what a read is as of."""

    request_id: str
    command_id: str | None = None
    position: int | None = None
    code: str | None = None


def facts_of(request: HTTPConnection) -> Facts:
    """Return the request's facts."""
    facts: Facts = request.scope["tidings.facts"]
    return facts
