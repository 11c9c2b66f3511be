"""Standbys on a real broker: killed, paused and replaced holders under load; what clients were told is the log."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest

from api.cli.main import main
from consumers.engine.command_source import LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import Fenced, LogLost
from consumers.engine.snapshots import dump, load
from consumers.gateway import LocalGateway
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.gateway import KafkaGateway
from consumers.run_engine import make_engine
from consumers.wiring import open_log, open_recorder
from local.postgres import Postgres
from local.processes import free_port
from messages.replies import Reply  # noqa: TC001  annotates a local variable
from settings import Settings
from tests.consumers.checks import check_log, reading
from tests.consumers.exchange_fixtures import Market, open_market
from tests.consumers.kafka.test_kafka_engine import more, trading
from tests.consumers.processes import EngineProcess, kafka_settings


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


async def the_writer(engines: list[EngineProcess]) -> EngineProcess:
    """Wait until one of them serves and every other one that has taken over has ended; return the one that serves."""
    while True:
        serving = [engine for engine in engines if engine.running and "log_taken_over" in engine.output]
        if len(serving) == 1:
            return serving[0]
        await asyncio.sleep(0.02)


@pytest.mark.timeout(120)
def test_a_standby_takes_over_from_a_killed_and_from_a_paused_engine(settings: Settings, engines: Engines) -> None:
    """Clients only wait; no reply is lost or doubled; a paused engine that wakes up is fenced and stops at once."""
    told: list[Reply] = []
    first = engines.start()
    with KafkaGateway(settings, retry_seconds=0.5) as gateway:
        market = open_market(gateway.submit_blocking)

        async def run() -> None:
            second = engines.start("--standby")
            await until(second, "standby_started")
            async with trading(gateway, market, told, tasks=8):
                await more(told, 100)
                first.kill()
                await more(told, 100)
                third = engines.start("--standby")
                await until(third, "standby_started")
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
    """The command makes the standby take over, and the earlier engine ends cleanly; a new engine can do the same."""
    for name in ("home", "log", "kafka_brokers", "kafka_replication", "kafka_topic_prefix"):
        monkeypatch.setenv(f"TIDINGS_{name.upper()}", str(getattr(settings, name)))
    told: list[Reply] = []
    first = engines.start()
    with KafkaGateway(settings, retry_seconds=1000) as gateway:
        market = open_market(gateway.submit_blocking)

        async def run() -> None:
            second = engines.start("--standby")
            await until(second, "standby_started")
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


@pytest.mark.usefixtures("lost_connections")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_standby_reads_commands_before_it_takes_over(settings: Settings) -> None:
    """It connects ahead, so that a take-over need not wait for that; if it cannot, it stands by all the same."""
    ahead = KafkaCommandSource(settings)
    ahead.connect()
    connected = ahead._reader
    assert ahead.rewind({}) == 0
    assert ahead._reader is connected
    ahead.close(None)

    engine = make_engine(settings, standby=True)
    assert engine._source._reader is not None
    engine._source.close(None)
    away = settings.model_copy(update={"kafka_brokers": f"127.0.0.1:{free_port()}"})
    assert make_engine(away, standby=True)._source._reader is None


@pytest.mark.timeout(120)
def test_a_database_that_is_killed_loses_and_doubles_nothing(own_postgres: Postgres, tmp_path: Path) -> None:
    """Kill -9 of PostgreSQL under load, twice; and a second engine is refused, and says why."""
    settings = Settings(home=tmp_path, dsn=own_postgres.dsn())
    source = LocalCommandSource()
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
    second = Engine(open_log(settings), LocalCommandSource())
    with pytest.raises(Fenced, match="another engine is running"):
        second.run()
    engine.stop()

    assert engine.error is None
    with open_recorder(settings) as recorder:
        check_log(recorder, told)


@pytest.mark.timeout(120)
def test_of_two_standbys_one_takes_over_and_the_other_goes_on_standing_by(settings: Settings, engines: Engines) -> None:
    """Two that notice the silence at the same moment do not both serve; the loser takes over the next time.

    A machine so busy that the winner is silent for a second may let the loser follow at once. Then the winner has ended.
    """
    told: list[Reply] = []
    first = engines.start()
    with KafkaGateway(settings, retry_seconds=0.5) as gateway:
        market = open_market(gateway.submit_blocking)

        async def run() -> None:
            standbys = [engines.start("--standby") for _ in range(2)]
            for standby in standbys:
                await until(standby, "standby_started")
            async with trading(gateway, market, told, tasks=8):
                await more(told, 50)
                first.kill()
                await more(told, 50)
                writer = await the_writer(standbys)
                (other,) = (standby for standby in standbys if standby is not writer)
                if "log_taken_over" in other.output:
                    assert "another engine writes the log" in other.output or "has another writer" in other.output
                    other = engines.start("--standby")
                    await until(other, "standby_started")
                assert other.running, other.output
                writer.kill()
                await more(told, 50)
                assert "log_taken_over" in other.output

        asyncio.run(run())

    with reading(settings) as recorder:
        check_log(recorder, told)


@pytest.mark.timeout(120)
def test_when_the_successor_dies_in_the_hand_over_the_next_standby_takes_over(
    settings: Settings, engines: Engines
) -> None:
    """The writer has ended as told, and its successor is killed at once; clients only wait."""
    told: list[Reply] = []
    first = engines.start()
    with KafkaGateway(settings, retry_seconds=0.5) as gateway:
        market = open_market(gateway.submit_blocking)

        async def run() -> None:
            standby = engines.start("--standby")
            await until(standby, "standby_started")
            async with trading(gateway, market, told, tasks=8):
                await more(told, 50)
                successor = engines.start("--take-over")
                await until(first, "handing_over")
                successor.kill()
                assert await asyncio.to_thread(first.wait) == 0, first.output
                await more(told, 50)
            assert "log_taken_over" in standby.output
            standby.send(signal.SIGTERM)
            assert await asyncio.to_thread(standby.wait) == 0, standby.output

        asyncio.run(run())

    with reading(settings) as recorder:
        check_log(recorder, told)


@pytest.mark.timeout(60)
def test_files_of_another_log_stop_the_engine(settings: Settings) -> None:
    """A snapshot with a checkpoint after the end of the log, or after another batch: nothing is deleted."""
    source = LocalCommandSource()
    engine = Engine(open_log(settings), source, folder=settings.home / "engine")
    engine.start()
    engine.wait_until_ready(20)
    open_market(LocalGateway(source).submit_blocking)
    engine.stop()
    (path,) = settings.home.glob("engine/*/*/snapshot-*")
    snapshot = load(path.read_bytes(), path.parent.parent.name)
    checkpoint = snapshot.checkpoint
    wrong = [
        checkpoint._replace(position=checkpoint.position + 5, offset=checkpoint.offset + 5),
        checkpoint._replace(writer="another"),
    ]
    for number, (claimed, index_lost) in enumerate(product(wrong, [False, True])):
        snapshot.exchange.accounts.clear()
        snapshot.checkpoint = claimed
        newest = path.with_name(f"snapshot-{checkpoint.position + 6 + number:020}")
        newest.write_bytes(dump(snapshot, path.parent.parent.name))
        if index_lost:
            for table in path.parent.glob("commands-*"):
                table.unlink()

        again = Engine(open_log(settings), LocalCommandSource(), folder=settings.home / "engine")
        again.start()
        with pytest.raises(LogLost):
            again.wait_until_ready(20)
        again.stop()

        assert newest.exists()
