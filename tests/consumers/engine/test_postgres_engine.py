"""The embedded engine on a real PostgreSQL: one outcome for ever, a server that is killed, a second engine."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from consumers.engine.command_source import LocalSource
from consumers.engine.engine import Engine
from consumers.engine.log import Fenced
from consumers.engine.postgres_log import PostgresLog, postgres_recorder
from consumers.gateway import LocalGateway
from local.postgres import Postgres
from messages.replies import Reply
from tests.consumers.checks import check_log
from tests.consumers.exchange_fixtures import open_market


@contextmanager
def running(dsn: str) -> Iterator[tuple[Engine, LocalGateway]]:
    """Run an engine over the database, with a gateway to it."""
    source = LocalSource()
    engine = Engine(PostgresLog(dsn, append_seconds=2), source)
    engine.start()
    try:
        engine.wait_until_ready(10)
        yield engine, LocalGateway(source, timeout_seconds=60)
    finally:
        engine.stop()


def check(dsn: str, told: list[Reply]) -> None:
    """Compare the log with what clients were told."""
    with postgres_recorder(dsn, 0) as recorder:
        check_log(recorder, told)


def test_one_outcome_for_ever(database: str) -> None:
    """Sent again at once or after a restart, an order has the first outcome; positions increase."""
    with running(database) as (_, gateway):
        market = open_market(gateway.submit_blocking)
        first = gateway.submit_blocking(*market.buy("c-1"))
        assert first == gateway.submit_blocking(*market.buy("c-1"))
    with running(database) as (_, gateway):
        assert first == gateway.submit_blocking(*market.buy("c-1"))
        second = gateway.submit_blocking(*market.buy("c-2"))

    assert first.position < second.position
    check(database, [first, second])


def test_a_second_engine_is_refused_with_a_clear_message(database: str) -> None:
    """Started by mistake beside one that runs: it ends with the reason, and the first one never notices."""
    with running(database) as (engine, gateway):
        market = open_market(gateway.submit_blocking)
        second = Engine(PostgresLog(database), LocalSource())
        with pytest.raises(Fenced, match="another engine is running"):
            second.run()
        assert gateway.submit_blocking(*market.buy("c-1")).code is None
        assert engine.error is None


@pytest.mark.timeout(180)
def test_a_server_that_is_killed_loses_and_doubles_nothing(own_postgres: Postgres) -> None:
    """Kill -9 of PostgreSQL under load, three times: every order is answered once, as the log says."""
    dsn = own_postgres.database("exchange")
    told: list[Reply] = []
    with running(dsn) as (_, gateway):
        market = open_market(gateway.submit_blocking)

        async def run() -> None:
            stopping = False

            async def trade(task: int) -> None:
                number = 0
                while not stopping:
                    number += 1
                    told.append(await gateway.submit(*market.buy(f"c-{task}-{number}", number % 3, 1000)))

            async def more(count: int) -> None:
                goal = len(told) + count
                while len(told) < goal:  # noqa: ASYNC110  there is no event to wait for but the replies themselves
                    await asyncio.sleep(0.01)

            tasks = [asyncio.ensure_future(trade(task)) for task in range(16)]
            for _ in range(3):
                await more(100)
                own_postgres.kill()
                await asyncio.to_thread(own_postgres.restart)
            await more(100)
            stopping = True
            await asyncio.gather(*tasks)

        asyncio.run(run())

    assert {None} == {reply.code for reply in told}
    check(dsn, told)
