"""What was set aside: events that a read model could not fold, and dead letters, the commands that nobody understood.

The page shows them. What is done about one is decided at the command line, where its whole value is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from eventsourcing.persistence import OperationalError
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from api.http.context import context_of
from api.http.reads import Read  # noqa: TC001  FastAPI reads the annotation
from api.page.desk import at_the_desk
from api.page.viewing import show
from projections import accounts
from projections.machine.parking import Parked, list_parked

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from domain.money import Time

router = APIRouter(include_in_schema=False)

SHOWN_MAX: Final = 100
"""The most of each kind that are shown."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: its number, when it was written, why, where its value stands, and the beginning of this value."""

    number: int
    time: Time
    reason: str
    place: str
    value: str


@router.get("/desk/set-aside")
async def show_set_aside(read: Read) -> Response:
    """All that waits for somebody who understands it."""
    request = read.request
    await at_the_desk(request)
    context = context_of(request)
    letters: Callable[[], list[Letter]] | None = request.app.state.dead_letters
    problem, found = None, None
    if letters is not None:
        try:
            found = await run_in_threadpool(letters)
        except OperationalError as error:
            problem = str(error)

    def parked() -> list[Parked]:
        with context.pool.connection() as connection:
            return list_parked(connection)

    values: dict[str, Any] = {
        "letters": found,
        "problem": problem,
        "parked": await run_in_threadpool(parked),
        "most": SHOWN_MAX,
    }
    return await show(read, "set_aside.html", (accounts.get_account,), lambda _c, _a: {}, **values)
