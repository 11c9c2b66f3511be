"""Reads that take long: they end in time and with their clients, and hold up neither keys nor orders nor readiness."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from starlette.requests import ClientDisconnect

from api.database import connection_pool, dsn_of
from api.http.errors import ApiError
from api.http.read_threads import ReadThreads
from api.http.server import HttpServer
from local.processes import polls
from projections import equity
from projections.reading import read
from tests.api.conftest import Api
from tests.api.http.slow_requests import QUICK, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Message

    from tests.api.conftest import Exchange

THREADS = 3


async def stays() -> Message:
    """The `receive` of a client that waits for its answer."""
    await asyncio.sleep(60)
    return {"type": "http.disconnect"}


async def leaves() -> Message:
    """The `receive` of a client that hangs up."""
    await asyncio.sleep(0.1)
    return {"type": "http.disconnect"}


def sleep(seconds: float) -> Callable[[psycopg.Connection[Any]], str]:
    """Return a question that takes so long in the database."""
    return lambda connection: connection.execute("SELECT pg_sleep(%s)::text", [seconds]).fetchone()[0]  # type: ignore[index]


def sleep_often(connection: psycopg.Connection[Any]) -> None:
    """Ask many short questions."""
    for _ in range(1_000):
        sleep(0.05)(connection)


@contextmanager
def threads(exchange: Exchange, seconds_max: float, read_ms: int = 60_000) -> Iterator[ReadThreads]:
    """Threads for reads of the exchange's database; a statement may take `read_ms`."""
    settings = exchange.running.settings.model_copy(update={"read_ms": read_ms})
    with connection_pool(settings, THREADS) as pool:
        yield ReadThreads(pool, threads=THREADS, costly_max=1, seconds_max=seconds_max)


def asleep(exchange: Exchange) -> int:
    """Return the number of statements that sleep in the database."""
    with psycopg.connect(dsn_of(exchange.running.settings)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%' "
            "AND pid <> pg_backend_pid() AND datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("question", [sleep(30), sleep_often], ids=["one statement", "many statements"])
def test_a_read_that_takes_too_long_is_ended(exchange: Exchange, question: Callable[..., Any]) -> None:
    """In the database too, whether it is one statement or many; the threads are free again."""

    async def ask() -> None:
        with pytest.raises(ApiError) as raised:
            await reads.run(stays, question)
        assert raised.value.code == "READ_TIMEOUT"
        assert asleep(exchange) == 0
        assert await reads.run(stays, sleep(0)) == ""

    with threads(exchange, 0.3) as reads:
        began = time.monotonic()
        asyncio.run(ask())
    assert time.monotonic() - began < 3


def test_a_statement_ends_by_itself(exchange: Exchange) -> None:
    """Whatever becomes of this process."""

    async def ask() -> None:
        with pytest.raises(ApiError, match="took longer"):
            await reads.run(stays, sleep(30))

    with threads(exchange, 30, read_ms=200) as reads:
        asyncio.run(ask())


def test_a_read_ends_with_its_client(exchange: Exchange) -> None:
    """Its statement is canceled."""

    async def ask() -> None:
        with pytest.raises(ClientDisconnect):
            await reads.run(leaves, sleep(30))
        assert asleep(exchange) == 0

    with threads(exchange, 30) as reads:
        asyncio.run(ask())


def test_costly_reads_leave_threads_to_others(exchange: Exchange) -> None:
    """One runs, the others queue and end in time; a read of another kind does not notice."""

    async def ask() -> None:
        costly = [asyncio.ensure_future(reads.run(stays, sleep(30), costly_of="ann")) for _ in range(12)]
        await asyncio.sleep(0.3)
        assert asleep(exchange) == 1
        began = time.monotonic()
        await reads.run(stays, sleep(0))
        assert time.monotonic() - began < 0.5
        found = await asyncio.gather(*costly, return_exceptions=True)
        assert {getattr(each, "code", each) for each in found} == {"READ_TIMEOUT"}

    with threads(exchange, 1.0) as reads:
        asyncio.run(ask())


def test_whoever_gets_the_connection_next_is_not_canceled(exchange: Exchange) -> None:
    """However close the end of a read and its cancellation are."""

    async def ask() -> None:
        ended = 0
        for number in range(40):
            try:
                await reads.run(stays, sleep(0.055 + number % 8 / 1000))
            except ApiError:
                ended += 1
            assert await patient.run(stays, sleep(0.001)) == ""
        assert ended

    with connection_pool(exchange.running.settings, 1) as pool:
        reads, patient = (ReadThreads(pool, threads=1, costly_max=1, seconds_max=seconds) for seconds in (0.06, 30))
        asyncio.run(ask())


def test_slow_reads_hold_up_no_write(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 reads that all hang, and beside them a key that is looked up, a deposit, an order, and readiness."""
    market, trader = exchange.market()["market_id"], exchange.trader()
    dependencies = copy(exchange.running.dependencies)
    dependencies.settings = exchange.running.settings.model_copy(update={"read_ms": 20_000})
    app = dependencies.app(exchange.running.gateway)

    def hang(connection: psycopg.Connection[Any], *_: Any, **__: Any) -> list[Any]:
        connection.execute("SELECT pg_sleep(60)")
        return []

    monkeypatch.setattr(equity.equity_history, "_function", hang)
    monkeypatch.setattr("projections.positions.leaderboard.leaderboard._function", hang)
    with HttpServer(app, dependencies.settings) as server, httpx.Client(base_url=server.url) as client:
        paths = [f"/v1/accounts/{trader.account_id}/equity-history", "/v1/leaderboard"]
        waiting = [Waiting.send(server.url, path) for path in paths for _ in range(12)]
        assert any(asleep(exchange) >= 5 for _ in polls(QUICK))
        api = Api(client, exchange.api.key)
        began = time.monotonic()
        assert api.post(f"/accounts/{trader.account_id}/deposits", {"amount": "1"}).status_code == 200
        assert api.as_key(trader.api.key).post("/orders", trader.order(market)).status_code == 201
        assert client.get("/readyz").status_code == 200
        assert time.monotonic() - began < 2
        for each in waiting:
            each.connection.close()
        assert any(asleep(exchange) == 0 for _ in polls(QUICK)), "they are canceled"


def test_the_points_of_an_equity_history_are_bounded(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of positions that each of them values."""
    trader = exchange.trader()
    position = 0
    for _ in range(3):
        position = trader.place(exchange.market()["market_id"])["position"]
    path = f"/accounts/{trader.account_id}/equity-history"
    before = exchange.api.data(path, step="1m", min_position=position)
    with exchange.running.dependencies.reads.connection() as connection, read(connection, equity.points_max) as as_of:
        assert equity.points_max(connection, as_of, trader.account_id) == equity.WORK_MAX // 3
        monkeypatch.setattr(equity, "WORK_MAX", 2)
        assert equity.points_max(connection, as_of, trader.account_id) == 1
    assert exchange.api.data(path, step="1m", min_position=position)[:1] == before[:1]


def test_a_burst_of_reads_is_served(exchange: Exchange) -> None:
    """More at once than there are threads."""
    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(lambda _: exchange.api.get("/markets", limit=1).status_code, range(80)))
    assert found == [200] * 80
