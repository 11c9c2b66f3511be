"""The log and all tables of a range of positions, as one archive."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from psycopg import Connection
from starlette.requests import Request
from starlette.responses import StreamingResponse

from api.export.archive import ArchiveRange, archive
from api.export.tables import FILE_POSITIONS, TABLES
from api.http.context import Analyst, WithContext
from api.http.cursors import POSITION_MAX
from api.http.errors import ApiError, invalid_field, not_yet_projected
from api.http.openapi import answers
from projections.reading import projection_status

router = APIRouter(tags=["log"])

_ARCHIVE: Final = {
    "type": "string",
    "format": "binary",
    "description": "A tar archive of JSON lines, with `manifest.json` as its last file. `docs/analysis.md` has the tables.",
}
_RESPONSES: Final = answers(
    _ARCHIVE,
    *("UNAUTHENTICATED", "FORBIDDEN", "INVALID_FIELD", "LOG_LOST", "NOT_YET_PROJECTED", "READ_TIMEOUT", "UNAVAILABLE"),
    media_type="application/x-tar",
)


@router.get("/export", responses=_RESPONSES, response_class=StreamingResponse)
async def get_export(
    request: Request,
    context: WithContext,
    caller: Analyst,
    what: Annotated[str, Query(description=f"tables with commas between them, of {', '.join(TABLES)}")] = ",".join(
        name for name, table in TABLES.items() if table.grows
    ),
    after: Annotated[int, Query(ge=0, le=POSITION_MAX, description="a position: only events after it")] = 0,
    until: Annotated[
        int | None,
        Query(
            ge=0,
            le=POSITION_MAX,
            description=f"a position: only events up to it, at most {FILE_POSITIONS:,} after `after`; by default as many as "
            "that, or up to the end of the log",
        ),
    ] = None,
) -> StreamingResponse:
    """The log and its tables as files, for the positions after `after` up to `until`: what `tidings export` writes.

    For analysts and admins. Ask again with `after` as the last `until`, which the header `Tidings-Until` and the manifest
    name, until both are the same. Tables of a state, such as `markets`, are as they were at `until`. With the default range
    and multiples of it, the archives unpacked into one folder have the files of `tidings export --format jsonl`.
    """
    tables = [TABLES[name] for name in TABLES if name in what.split(",")]
    if not tables or not set(what.split(",")) <= TABLES.keys():
        raise invalid_field("what", f"must name some of {', '.join(TABLES)}")
    end = await context.log_reads.ask(lambda log: log.max_notification_id()) or 0
    until = min(after + FILE_POSITIONS, end) if until is None else until
    if not after <= until <= after + FILE_POSITIONS:
        raise invalid_field("until", f"must be from `after` to {FILE_POSITIONS:,} positions after it")
    if until > end:
        raise not_yet_projected(until, reached=end)
    ask = partial(context.reads.run, request.scope["tidings.receive"], costly_of=f"key:{caller.key_id}")
    await ask(
        partial(_check, {"timeline"}.union(*(table.needs for table in tables)), until, context.settings.partition)
    )
    parts = archive(context.log, context.settings.partition, ArchiveRange(tables, after, until), ask)
    first = await anext(parts)  # an error of the first file is told before the answer begins
    return StreamingResponse(
        _joined(first, parts),
        media_type="application/x-tar",
        headers={
            "tidings-until": str(until),
            "cache-control": "no-store",
            "content-disposition": f'attachment; filename="tidings-{after + 1}-{until}.tar"',
        },
    )


async def _joined(first: bytes, parts: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """Yield the first part and the others; whatever ends this, ends those."""
    async with aclosing(parts):
        yield first
        async for part in parts:
            yield part


def _check(needs: Iterable[str], until: int, partition: int, connection: Connection[Any]) -> None:
    """Raise ApiError NOT_YET_PROJECTED or UNAVAILABLE unless these read models hold every event up to a position."""
    known = {row.projection: row for row in projection_status(connection) if row.partition == partition}
    for name in needs:
        row = known.get(name)
        if row is None or row.position < until:
            raise not_yet_projected(until, reached=row.position if row else 0)
        if row.parked:
            raise ApiError("UNAVAILABLE", f"the read model {name} has set events aside: its rows are not complete")
