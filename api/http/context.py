"""The context of a request: the app's dependencies, who asks, and the account or market that it names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from eventsourcing.persistence import ApplicationRecorder
from fastapi import Depends, Path
from psycopg import Connection
from psycopg_pool import ConnectionPool
from starlette.requests import HTTPConnection

from api.http.admission import Admission, Caller
from api.http.auth import ACTORS, Keys, Principal, require
from api.http.caching import Answers
from api.http.engine_probe import EngineProbe
from api.http.kept_results import KeptResults
from api.http.labels import KnownLabels
from api.http.log_reads import LogReads
from api.http.middleware import Metrics
from api.http.read_threads import ReadThreads
from api.http.references import References
from api.http.waits import Waits
from api.key_store import ROLES
from consumers.gateway import Gateway
from settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The dependencies of the routes. `log` is the recorder of the event log; routes ask it through `log_reads`.

    Reads query the database through `reads`. All else uses `pool`, which no read can hold up. `main_serves` is for the
    server of `TIDINGS_OPS_PORT`: it tells whether the event loop of the main server takes up work, and is None in that one.
    """

    gateway: Gateway
    engine: EngineProbe
    pool: ConnectionPool[Connection[Any]]
    reads: ReadThreads
    log: ApplicationRecorder
    log_reads: LogReads
    keys: Keys
    admission: Admission
    references: References
    waits: Waits
    kept_results: KeptResults
    labels: KnownLabels
    answers: Answers
    metrics: Metrics
    settings: Settings
    main_serves: Callable[[], bool] | None = None

    @property
    def is_ops(self) -> bool:
        """Whether this is the server of `TIDINGS_OPS_PORT`, which only tells health, positions and metrics."""
        return self.main_serves is not None


def context_of(request: HTTPConnection) -> Context:
    """Return the context of the request's app."""
    context: Context = request.app.state.context
    return context


async def principal_of(request: HTTPConnection) -> Principal | None:
    """Return who asks, None without a key; raises ApiError for an invalid key."""
    caller: Caller = request.scope["tidings.caller"]
    return caller.principal()


async def reader_of(request: HTTPConnection) -> Principal | None:
    """Return who reads, None without a key; raises ApiError for an invalid key, or where reads need a key."""
    principal = await principal_of(request)
    if principal is None and not context_of(request).settings.public_reads:
        require(None)
    return principal


async def status_reader_of(request: HTTPConnection) -> None:
    """Refuse whoever has no key, unless the server is that of `TIDINGS_OPS_PORT`."""
    if not context_of(request).is_ops:
        require(await principal_of(request), *ROLES)


async def operator_of(request: HTTPConnection) -> Principal:
    """Return who asks, with the role operator."""
    return require(await principal_of(request), "operator")


async def admin_of(request: HTTPConnection) -> Principal:
    """Return who asks, with the role admin."""
    return require(await principal_of(request), "admin")


async def analyst_of(request: HTTPConnection) -> Principal:
    """Return who asks, with a role that sees all accounts."""
    return require(await principal_of(request), "analyst", "admin")


async def actor_of(request: HTTPConnection) -> Principal:
    """Return who asks, with a role that acts for accounts: a trader for its own, an admin for any."""
    return require(await principal_of(request), *ACTORS)


async def account_id_of(request: HTTPConnection, account: Annotated[str, Path(description="id or name")]) -> str:
    """Return the id of the account in the path; an unknown one is returned as it is, and whoever uses it refuses it."""
    return await context_of(request).references.resolve("account", account)


async def market_id_of(request: HTTPConnection, market: Annotated[str, Path(description="id or slug")]) -> str:
    """Return the id of the market in the path; likewise."""
    return await context_of(request).references.resolve("market", market)


WithContext = Annotated[Context, Depends(context_of)]
Operator = Annotated[Principal, Depends(operator_of)]
Admin = Annotated[Principal, Depends(admin_of)]
Analyst = Annotated[Principal, Depends(analyst_of)]
Actor = Annotated[Principal, Depends(actor_of)]
AccountId = Annotated[str, Depends(account_id_of)]
MarketId = Annotated[str, Depends(market_id_of)]
