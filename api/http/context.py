"""What every route works with, made once by `create_app` and found at the request's app."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from eventsourcing.persistence import ApplicationRecorder
from fastapi import Depends
from psycopg import Connection
from psycopg_pool import ConnectionPool
from starlette.requests import HTTPConnection

from api.http.auth import Keys, Principal, require
from api.http.middleware import Metrics
from api.http.references import Names
from api.key_store import Role
from consumers.gateway import Gateway
from projections.machine.progress import Progress

ANY_ROLE: Final[tuple[Role, ...]] = ("trader", "operator", "admin")

WAIT_MS: Final = 2_000
WAIT_MS_MAX: Final = 30_000


@dataclass(frozen=True, slots=True)
class Context:
    """The parts an app is made of.

    `log` is the recorder of the event log. `sender_sets_time` says that commands may bring their own time
    (`TIDINGS_CLOCK=command`); `public_reads` that reads need no key;
    `wait_ms` is how long a read with `min_position` waits unless it says itself, at most `wait_ms_max`.
    """

    gateway: Gateway
    pool: ConnectionPool[Connection[Any]]
    log: ApplicationRecorder
    keys: Keys
    names: Names
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
    """Return who asks, None without a key; raises ApiError for a key that opens nothing."""
    return await context_of(request).keys.principal(request.headers.get("authorization"))


async def reader_of(request: HTTPConnection) -> Principal | None:
    """Return who reads. Reads are public unless the settings say otherwise; a bad key is refused all the same."""
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
    return require(await principal_of(request), *ANY_ROLE)


WithContext = Annotated[Context, Depends(context_of)]
Operator = Annotated[Principal, Depends(operator_of)]
Admin = Annotated[Principal, Depends(admin_of)]
Anyone = Annotated[Principal, Depends(anyone_of)]
