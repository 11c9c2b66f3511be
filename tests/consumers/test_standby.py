"""Standbys on a real broker: killed, paused and replaced holders under load; what clients were told is the log."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from api.cli import main
from consumers.engine import Engine
from consumers.gateway import LocalGateway
from consumers.kafka_gateway import KafkaGateway
from consumers.log import Fenced, open_log, open_recorder
from consumers.sources import LocalSource
from local.postgres import Postgres
from messages.replies import Reply  # noqa: TC001  annotates a local variable
from settings import Settings
from tests.consumers.checks import check_log, reading
from tests.consumers.exchange_fixtures import Market, open_market
from tests.consumers.processes import EngineProcess, kafka_settings
from tests.consumers.test_kafka_engine import more, trading


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker."""
    return kafka_settings(tmp_path, kafka, topic_prefix)


class Engines:
    """A holder and its standbys, all on one home."""

    def __init__(self, settings: Settings, folder: Path, stack: ExitStack) -> None:
        self._settings, self._folder, self._stack = settings, folder, stack
        self._started = 0

    def start(self, *options: str) -> EngineProcess:
        """Start one."""
        self._started += 1
        engine = EngineProcess(self._settings, self._folder / f"engine-{self._started}.txt", *options)
        return self._stack.enter_context(engine)


@pytest.fixture
def engines(settings: Settings, tmp_path: Path) -> Iterator[Engines]:
    """Engines that end with the test."""
    with ExitStack() as stack:
        yield Engines(settings, tmp_path, stack)


async def until(engine: EngineProcess, words: str) -> None:
    """Wait until it has printed something."""
    while words not in engine.output:  # noqa: ASYNC110  another process
        await asyncio.sleep(0.02)


@pytest.mark.timeout(120)
def test_a_standby_takes_over_from_a_killed_and_from_a_paused_engine(settings: Settings, engines: Engines) -> None:
    """Clients only wait; nothing is lost or doubled; a paused engine that wakes up is fenced and stops at once."""
    told: list[Reply] = []
    first = engines.start()
    with KafkaGateway(settings, retry_seconds=0.5) as gateway:
        market = open_market(gateway.submit_blocking)

        async def run() -> None:
            second = engines.start("--standby")
            await until(second, "standing by")
            async with trading(gateway, market, told, tasks=8):
                await more(told, 100)
                first.kill()
                await more(told, 100)
                third = engines.start("--standby")
                await until(third, "standing by")
                second.send(signal.SIGSTOP)
                await more(told, 100)
                second.send(signal.SIGCONT)
                await asyncio.to_thread(second.wait)
            assert "another engine writes the log" in second.output or "has another writer" in second.output
            third.send(signal.SIGTERM)
            assert await asyncio.to_thread(third.wait) == 0, third.output

        asyncio.run(run())

    with reading(settings) as recorder:
        check_log(recorder, told)


@pytest.mark.timeout(120)
def test_a_planned_hand_over_refuses_and_loses_nothing(
    settings: Settings, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command makes the standby take over, the former engine ends well; without a standby a new engine does it."""
    for name in ("home", "log", "kafka_brokers", "kafka_replication", "kafka_topic_prefix"):
        monkeypatch.setenv(f"TIDINGS_{name.upper()}", str(getattr(settings, name)))
    told: list[Reply] = []
    first = engines.start()
    with KafkaGateway(settings, retry_seconds=1000) as gateway:
        market = open_market(gateway.submit_blocking)

        async def run() -> None:
            second = engines.start("--standby")
            await until(second, "standing by")
            async with trading(gateway, market, told, tasks=8):
                await more(told, 100)
                assert await asyncio.to_thread(main, ["engine", "--take-over"]) == 0
                assert await asyncio.to_thread(first.wait) == 0, first.output
                await more(told, 100)
                third = engines.start("--take-over")
                assert await asyncio.to_thread(second.wait) == 0, second.output
                await more(told, 100)
            third.send(signal.SIGTERM)
            assert await asyncio.to_thread(third.wait) == 0, third.output

        asyncio.run(run())

    with reading(settings) as recorder:
        check_log(recorder, told)


@pytest.mark.timeout(120)
def test_a_database_that_is_killed_loses_and_doubles_nothing(own_postgres: Postgres, tmp_path: Path) -> None:
    """Kill -9 of PostgreSQL under load, twice; and a second engine is refused, and says why."""
    settings = Settings(home=tmp_path, dsn=own_postgres.dsn())
    source = LocalSource()
    engine = Engine(open_log(settings), source, folder=tmp_path)
    engine.start()
    engine.wait_until_ready(20)
    gateway = LocalGateway(source, timeout_seconds=60)
    market: Market = open_market(gateway.submit_blocking)
    told: list[Reply] = []

    async def run() -> None:
        async with trading(gateway, market, told, tasks=8):
            for _ in range(2):
                await more(told, 100)
                await asyncio.to_thread(own_postgres.kill)
                await asyncio.to_thread(own_postgres.restart)
            await more(told, 100)

    asyncio.run(run())
    second = Engine(open_log(settings), LocalSource())
    with pytest.raises(Fenced, match="another engine is running"):
        second.run()
    engine.stop()

    assert engine.error is None
    check_log(open_recorder(settings), told)
