"""The log in PostgreSQL: its lock, lost sessions, the library's table; and an engine over a server that is killed."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from consumers.engine.command_source import LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import Fenced, InDoubt
from consumers.engine.postgres_log import PostgresLog, postgres_recorder, table_name
from consumers.gateway import LocalGateway
from consumers.wiring import open_recorder
from local.postgres import Postgres
from local.processes import polls
from messages.replies import Reply
from settings import Settings
from tests.consumers.checks import check_log, events, everything
from tests.consumers.exchange_fixtures import open_market

LOCKS = """SELECT FROM pg_locks WHERE locktype = 'advisory'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
LISTENERS = """SELECT FROM pg_stat_activity WHERE datname = current_database()
    AND state = 'idle' AND query LIKE 'LISTEN%'"""


def wait_for(database: str, condition: str) -> None:
    """Wait until an SQL condition holds."""
    with psycopg.connect(database, autocommit=True) as connection:
        for _ in polls(10):
            if connection.execute(f"SELECT {condition}").fetchone() == (True,):
                return
    pytest.fail(f"not in time: {condition}")


def test_a_second_engine_is_refused(database: str) -> None:
    """While one engine holds the partition's lock another cannot take over and is told why; it can when the first is gone."""
    first, second = PostgresLog(database), PostgresLog(database)
    everything(first)

    with pytest.raises(Fenced, match="another engine is running: it holds the lock of partition 0"):
        everything(second)

    first.close()
    wait_for(database, f"NOT EXISTS ({LOCKS})")  # the server notices the end of a session after a moment
    assert everything(second) == []
    second.close()


def test_another_partition_has_a_lock_and_a_table_of_its_own(database: str) -> None:
    """Two engines of two partitions do not meet."""
    zero, one = PostgresLog(database, 0), PostgresLog(database, 1)
    everything(zero)
    everything(one)
    zero.begin(events("market-a", 1, 1))
    one.begin(events("market-a", 1, 1))

    assert [len(zero.read(1, 10)), len(one.read(1, 10))] == [1, 1]
    zero.close()
    one.close()


def test_a_lost_session_is_in_doubt_and_can_be_taken_over_again(database: str) -> None:
    """The server ends the session: the append fails without a trace, and the log goes on after a take-over."""
    log = PostgresLog(database)
    everything(log)
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    with pytest.raises(InDoubt):
        log.begin(events("market-a", 1, 1))
    assert everything(log) == []
    log.begin(events("market-a", 1, 1))
    assert len(everything(log)) == 1
    log.close()


def test_the_library_reads_and_follows_what_our_insert_wrote(database: str, tmp_path: Path) -> None:
    """Our faster insert fills the library's own table, and wakes its subscriptions."""
    log = PostgresLog(database)
    everything(log)
    with open_recorder(Settings(home=tmp_path, dsn=database)) as recorder:
        with recorder.subscribe(gt=0) as subscription:
            # The library reads the log first and listens then. It misses what is appended in between.
            wait_for(database, f"EXISTS ({LISTENERS})")
            positions = list(log.begin(events("market-a", 1, 2)).result())
            arrived = [next(subscription), next(subscription)]

        assert positions == [event.id for event in arrived]
        assert [event.state for event in recorder.select_events("market-a")] == [b'{"n":0}', b'{"n":1}']
        assert recorder.max_notification_id() == positions[-1]
    log.close()


def test_processes_may_start_at_once(database: str) -> None:
    """Several processes that find no table make it once, and none of them fails."""

    def last_position(_: int) -> int | None:
        with postgres_recorder(database, 0) as recorder:
            return recorder.max_notification_id()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(last_position, range(8))) == [None] * 8


def test_a_dsn_may_say_more_than_the_library_has_settings_for(database: str) -> None:
    """Options of a DSN reach the library's connections too."""
    with (
        postgres_recorder(f"{database} application_name=tidings-test", 0) as recorder,
        recorder.datastore.get_connection() as connection,  # type: ignore[attr-defined]
    ):
        name = connection.execute("SHOW application_name").fetchone()

    assert name == {"application_name": "tidings-test"}
    assert table_name(0) == "log_0_events"


# --- an engine over it


@contextmanager
def running(dsn: str) -> Iterator[tuple[Engine, LocalGateway]]:
    """Run an engine over the database, with a gateway to it."""
    source = LocalCommandSource()
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


def test_one_reply_for_ever(database: str) -> None:
    """An order that is sent again, at once or after a restart, gets the first reply; positions increase."""
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
    """An engine started by mistake beside a running one ends with the reason; the running one never notices."""
    with running(database) as (engine, gateway):
        market = open_market(gateway.submit_blocking)
        second = Engine(PostgresLog(database), LocalCommandSource())
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
                    told.append(await gateway.submit(*market.buy(f"c-{task}-{number}", number % 3, 10_000)))

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
