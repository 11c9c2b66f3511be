"""PostgreSQL ends a connection in the middle of a request: that is a 503 with a reason, wherever it happens."""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from eventsourcing.persistence import DatabaseError, ProgrammingError
from eventsourcing.popo import POPOApplicationRecorder

from api.database import connection_pool, dsn_of
from api.http.errors import ApiError
from api.http.log_reads import LogReads
from local.processes import polls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    import httpx

    from tests.api.conftest import Exchange

WAITING = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@contextmanager
def locked(exchange: Exchange, tables: str) -> Iterator[psycopg.Connection[Any]]:
    """Let every query of the tables of a schema wait; `tables` is a pattern of names."""
    with psycopg.connect(dsn_of(exchange.running.settings)) as connection:
        names = connection.execute(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename LIKE %s",
            [tables],
        ).fetchall()
        assert names
        connection.execute(f"LOCK TABLE {', '.join(name for (name,) in names)} IN ACCESS EXCLUSIVE MODE".encode())
        yield connection


def ended(exchange: Exchange, asked: list[Future[httpx.Response]]) -> list[httpx.Response]:
    """Let PostgreSQL end each connection that waits for a lock, until all requests have their answers."""
    with psycopg.connect(dsn_of(exchange.running.settings), autocommit=True) as connection:
        for _ in polls(30):
            connection.execute(WAITING)
            if all(each.done() for each in asked):
                break
    return [each.result() for each in asked]


def assert_away(answer: httpx.Response) -> None:
    """The database was away, says the answer, and when to come again."""
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE"), (answer.url, answer.text)
    assert "retry-after" in answer.headers


def test_reads_whose_connection_is_ended(exchange: Exchange) -> None:
    """Every read of a market and of an account; afterwards all are answered."""
    trader, market = exchange.trader("100"), exchange.market()
    trader.place(market["market_id"])
    of_market, of_account = f"/markets/{market['market_id']}", f"/accounts/{trader.account_id}"
    paths = [
        *(of_market + more for more in ("", "/prices-history", "/candlesticks", "/trades", "/book", "/holders")),
        *(
            of_account + more
            for more in ("", "/positions", "/portfolio", "/orders", "/fills", "/ledger", "/equity-history")
        ),
        *("/markets", "/stories", "/leaderboard", "/calibration", "/trades", "/accounts", "/status"),
    ]
    exchange.api.get(of_account, min_position=exchange.head())
    with ThreadPoolExecutor(len(paths)) as threads, locked(exchange, "projection_%"):
        answers = ended(exchange, [threads.submit(exchange.api.get, path) for path in paths])
    for answer in answers:
        assert_away(answer)
    assert {exchange.api.get(path).status_code for path in paths} == {200}


def test_a_caller_whose_rates_are_being_looked_up(exchange: Exchange) -> None:
    """The key is known by then, but not how much it may ask for."""
    trader = exchange.trader("100")
    account = f"/accounts/{trader.account_id}"
    with ThreadPoolExecutor(1) as threads, locked(exchange, "api_key_limits"):
        (answer,) = ended(exchange, [threads.submit(trader.api.get, account)])
    assert_away(answer)


def lose(connection: psycopg.Connection[Any], error: psycopg.Error) -> None:
    """Cut the connection, then raise the error."""
    with socket.socket(fileno=os.dup(connection.fileno())) as other:
        other.shutdown(socket.SHUT_RDWR)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    raise error


@pytest.mark.parametrize("error", [psycopg.DatabaseError, psycopg.InterfaceError, psycopg.InternalError])
def test_any_error_of_a_lost_connection_says_so(exchange: Exchange, error: type[psycopg.Error]) -> None:
    """Psycopg has no kind of error for an answer that broke off. On a connection that lives, an error is what it was."""
    with connection_pool(exchange.running.settings, 1) as pool:
        with pytest.raises(psycopg.OperationalError, match="broke off"), pool.connection() as connection:
            lose(connection, error("broke off"))
        with pytest.raises(error), pool.connection():
            raise error("no connection was lost")
        with pytest.raises(psycopg.errors.UndefinedTable), pool.connection() as connection:
            connection.execute("SELECT 1 FROM nothing")


@pytest.mark.parametrize(("error", "expected"), [(DatabaseError, ApiError), (ProgrammingError, ProgrammingError)])
def test_a_log_that_is_lost_while_it_answers(error: type[Exception], expected: type[Exception]) -> None:
    """A log in PostgreSQL that breaks off is away; a wrong query is a mistake of ours."""

    def broken(_: object) -> None:
        raise error("the connection broke off")

    with pytest.raises(expected):
        asyncio.run(LogReads(POPOApplicationRecorder()).ask(broken))
