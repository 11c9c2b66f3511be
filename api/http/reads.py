"""How every read is made: wait for the position asked for, one snapshot, one envelope around the answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import Depends, Query
from psycopg import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.http import cursors
from api.http.auth import Principal
from api.http.context import Context, context_of, reader_of
from api.http.errors import ApiError, invalid_field
from api.http.request_log import facts_of
from domain.money import Time
from messages.wire import format_time, parse_time
from projections.reading import AsOf, Need, NotYetProjected, UnknownProjection, needs_of, read

T = TypeVar("T")

POSITION_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Reader:
    """One read request: who asks, and as of when."""

    request: Request
    principal: Principal | None
    min_position: int | None
    wait_ms: int
    at: int | None
    time: Time | None

    @property
    def context(self) -> Context:
        """The app's parts."""
        return context_of(self.request)

    async def fetch(self, needs: Sequence[Need], query: Callable[[Connection[Any], AsOf], T]) -> tuple[T, AsOf]:
        """Return what the query finds in one snapshot of these read models, and what it is as of.

        Raises:
            ApiError: NOT_YET_PROJECTED, when a position asked for is not reached in time.
        """
        wanted = max(self.min_position or 0, self.at or 0)
        if wanted:
            await wait_for(self.context, needs, wanted, self.wait_ms / 1000)
        found, as_of = await run_in_threadpool(self._fetch, needs, query)
        facts_of(self.request).position = as_of.position
        return found, as_of

    def _fetch(self, needs: Sequence[Need], query: Callable[[Connection[Any], AsOf], T]) -> tuple[T, AsOf]:
        try:
            with (
                self.context.pool.connection() as connection,
                read(connection, *needs, at=self.at, time=self.time) as as_of,
            ):
                return query(connection, as_of), as_of
        except NotYetProjected as error:
            raise ApiError("NOT_YET_PROJECTED", str(error), retry_after_seconds=1) from error
        except UnknownProjection as error:
            raise ApiError("UNAVAILABLE", "the read models are not there yet", retry_after_seconds=1) from error

    def page(self, rows: Sequence[Any], limit: int, shown: Callable[[Any], Any], as_of: AsOf) -> Response:
        """Return the answer with a page of rows; a full page has a cursor for the next one."""
        cursor = cursors.encode(self.request, rows[-1].key) if len(rows) == limit else None
        return answer([shown(row) for row in rows], as_of, next_cursor=cursor)

    def after(self, cursor: str | None) -> tuple[Any, ...] | None:
        """Return the key of the row that the page before ended with."""
        key = cursors.decode(self.request, cursor)
        return None if key is None else tuple(key)


async def wait_for(context: Context, needs: Sequence[Need], position: int, seconds: float) -> None:
    """Wait until these read models have reached the position.

    Raises:
        ApiError: NOT_YET_PROJECTED, when they have not within these seconds.
    """
    if not await context.progress.wait_async(needs_of(needs), position, seconds):
        raise ApiError(
            "NOT_YET_PROJECTED",
            f"the read model has not reached position {position} yet",
            {"position": position, "waited_ms": round(seconds * 1000)},
            retry_after_seconds=1,
        )


async def reader(
    request: Request,
    principal: Annotated[Any, Depends(reader_of)],
    min_position: Annotated[
        int | None, Query(ge=0, le=POSITION_MAX, description="wait until the read model has reached this position")
    ] = None,
    wait_ms: Annotated[int | None, Query(ge=0, description="how long, in milliseconds")] = None,
    as_of_position: Annotated[
        int | None, Query(ge=0, le=POSITION_MAX, description="answer as it was after this position")
    ] = None,
    as_of: Annotated[str | None, Query(description="answer as it was at this time (RFC 3339)")] = None,
) -> Reader:
    """Return the request's reader, from the parameters that every read has."""
    time = query_time("as_of", as_of)
    if time is not None and as_of_position is not None:
        raise invalid_field("as_of", "cannot go together with as_of_position")
    context = context_of(request)
    wait = context.wait_ms if wait_ms is None else wait_ms
    if wait > context.wait_ms_max:
        raise invalid_field("wait_ms", f"must be at most {context.wait_ms_max}")
    return Reader(request, principal, min_position, wait, as_of_position, time)


Read = Annotated[Reader, Depends(reader)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=1000, description="next_cursor of the page before")]


def query_time(name: str, text: str | None) -> Time | None:
    """Return a query parameter that is a time; raises ApiError INVALID_FIELD."""
    if text is None:
        return None
    try:
        # A plus sign that was not escaped arrives as a blank.
        return parse_time(text.replace(" ", "+"))
    except ValueError as error:
        raise invalid_field(name, str(error)) from error


def answer(data: Any, as_of: AsOf, **more: Any) -> Response:
    """Return the envelope of a read: the data, what it is as of, and for lists the next cursor."""
    return json({"data": data, **more, "as_of": {"position": as_of.position, "time": format_time(as_of.time)}})


def json(value: Any, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def moment(time: Time | None) -> str | None:
    """Return a time in RFC 3339, None as None."""
    return None if time is None else format_time(time)
