"""The context of a request: the app's dependencies, who asks, and the account or market that it names."""

from dataclasses import dataclass
from typing import Annotated, Any

from eventsourcing.persistence import ApplicationRecorder
from fastapi import Depends, Path
from psycopg import Connection
from psycopg_pool import ConnectionPool
from starlette.requests import HTTPConnection

from api.http.auth import Keys, Principal, require
from api.http.kept_results import KeptResults
from api.http.log_reads import LogReads
from api.http.middleware import Metrics
from api.http.references import References
from api.http.waits import Waits
from api.key_store import ROLES
from consumers.gateway import Gateway
from settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The dependencies of the routes. `log` is the recorder of the event log; routes ask it through `log_reads`."""

    gateway: Gateway
    pool: ConnectionPool[Connection[Any]]
    log: ApplicationRecorder
    log_reads: LogReads
    keys: Keys
    references: References
    waits: Waits
    kept_results: KeptResults
    metrics: Metrics
    settings: Settings


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
    if principal is None and not context_of(request).settings.public_reads:
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


async def account_id_of(request: HTTPConnection, account: Annotated[str, Path(description="id or name")]) -> str:
    """Return the id of the account in the path; an unknown one is returned as it is, and whoever uses it refuses it."""
    return await context_of(request).references.resolve("account", account)


async def market_id_of(request: HTTPConnection, market: Annotated[str, Path(description="id or slug")]) -> str:
    """Return the id of the market in the path; likewise."""
    return await context_of(request).references.resolve("market", market)


WithContext = Annotated[Context, Depends(context_of)]
Operator = Annotated[Principal, Depends(operator_of)]
Admin = Annotated[Principal, Depends(admin_of)]
Anyone = Annotated[Principal, Depends(anyone_of)]
AccountId = Annotated[str, Depends(account_id_of)]
MarketId = Annotated[str, Depends(market_id_of)]
