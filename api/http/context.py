"""The context of a request: what `create_app` gave the app, and who asks."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from eventsourcing.persistence import ApplicationRecorder
from fastapi import Depends
from psycopg import Connection
from psycopg_pool import ConnectionPool
from starlette.requests import HTTPConnection

from api.http.auth import Keys, Principal, require
from api.http.middleware import Metrics
from api.http.references import References
from api.key_store import ROLES
from consumers.gateway import Gateway
from projections.machine.progress import Progress

WAIT_MS: Final = 2_000
"""The default wait of a read with `min_position`."""

WAIT_MS_MAX: Final = 30_000
"""The default of the longest wait that a read may ask for."""


@dataclass(frozen=True, slots=True)
class Context:
    """The dependencies of the routes.

    `log` is the recorder of the event log. With `sender_sets_time`, commands may bring their own time
    (`TIDINGS_CLOCK=command`); with `public_reads`, reads need no key. `wait_ms` is the wait of a read with `min_position`
    that names none, `wait_ms_max` the longest that a read may name.
    """

    gateway: Gateway
    pool: ConnectionPool[Connection[Any]]
    log: ApplicationRecorder
    keys: Keys
    references: References
    progress: Progress
    metrics: Metrics
    sender_sets_time: bool = False
    public_reads: bool = True
    wait_ms: int = WAIT_MS
    wait_ms_max: int = WAIT_MS_MAX


def context_of(request: HTTPConnection) -> Context:
    """Return the context of the request's app."""
    context: Context = request.app.state.context
    return context


async def principal_of(request: HTTPConnection) -> Principal | None:
    """Return who asks, None without a key; raises ApiError for an invalid key."""
    return await context_of(request).keys.principal(request.headers.get("authorization"))


async def reader_of(request: HTTPConnection) -> Principal | None:
    """Return who reads, None without a key; raises ApiError for an invalid key, or where reads need a key."""
    principal = await principal_of(request)
    if principal is None and not context_of(request).public_reads:
        require(None)
    return principal


async def operator_of(request: HTTPConnection) -> Principal:
    """Return who asks, with the role operator."""
    return require(await principal_of(request), "operator")


async def admin_of(request: HTTPConnection) -> Principal:
    """Return who asks, with the role admin."""
    return require(await principal_of(request), "admin")


async def anyone_of(request: HTTPConnection) -> Principal:
    """Return who asks, with any key."""
    return require(await principal_of(request), *ROLES)


WithContext = Annotated[Context, Depends(context_of)]
Operator = Annotated[Principal, Depends(operator_of)]
Admin = Annotated[Principal, Depends(admin_of)]
Anyone = Annotated[Principal, Depends(anyone_of)]
