"""The gateway over Kafka: deadlines, and the back-pressure that keeps callers from queueing without end."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import pytest

from consumers.errors import Busy, EngineStopped, ReplyTimeout
from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.topics import ensure_topics
from messages.commands import AdvanceTime
from messages.replies import Reply
from settings import Settings
from tests.consumers.checks import command_ids, reading, recorded
from tests.consumers.exchange_fixtures import engine_over_kafka
from tests.consumers.processes import EngineProcess, kafka_settings


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker; its topics exist."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    ensure_topics(settings)
    return settings


def test_no_reply_in_time_is_told_as_such(settings: Settings) -> None:
    """Without an engine there is no reply by the deadline; the same id gets it later."""
    with KafkaGateway(settings, timeout_seconds=0.3) as gateway, pytest.raises(ReplyTimeout):
        gateway.submit_blocking("t:1", AdvanceTime())
    with KafkaGateway(settings) as gateway, engine_over_kafka(settings):
        assert gateway.submit_blocking("t:1", AdvanceTime()).code is None

    with reading(settings) as recorder:
        assert [event.command_id for event in recorded(recorder) if event.digest] == ["t:1"]


def test_more_than_may_wait_are_refused(settings: Settings) -> None:
    """A caller over the limit is told at once to come back; when the gateway closes, the others are released."""

    async def crowd(gateway: KafkaGateway) -> Sequence[Reply | BaseException]:
        tasks = [asyncio.ensure_future(gateway.submit(f"t:{i}", AdvanceTime())) for i in range(5)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(gateway.close)
        return await asyncio.gather(*tasks, return_exceptions=True)

    gateway = KafkaGateway(settings, commands_max=3)
    gateway.start()
    replies = asyncio.run(crowd(gateway))

    assert [EngineStopped] * 3 + [Busy] * 2 == [type(reply) for reply in replies]


def test_two_who_wait_for_one_command_have_their_own_deadlines(settings: Settings) -> None:
    """The impatient one is told at its deadline; the other still gets the reply."""

    async def both(gateway: KafkaGateway) -> Reply:
        patient = asyncio.ensure_future(gateway.submit("t:1", AdvanceTime(), timeout_seconds=60))
        with pytest.raises(ReplyTimeout):
            await gateway.submit("t:1", AdvanceTime(), timeout_seconds=0.3)
        assert not patient.done()
        with engine_over_kafka(settings):
            return await patient

    with KafkaGateway(settings) as gateway:
        assert asyncio.run(both(gateway)).code is None


@pytest.mark.timeout(120)
def test_callers_are_refused_while_the_engine_is_behind(settings: Settings, tmp_path: Path) -> None:
    """The engine is paused: soon callers are told when to come back, and whatever their patience, only one command at a
    time is sent to find out. The gateway notices at once when the engine wakes up, and no command is lost.
    """
    accepted: list[str] = []
    refusals: list[Busy] = []

    async def press(gateway: KafkaGateway, seconds: float) -> None:
        """Submit as quickly as possible, with little patience, for some time."""
        end = monotonic() + seconds
        waiting: set[asyncio.Task[None]] = set()

        async def submit(command_id: str) -> None:
            try:
                await gateway.submit(command_id, AdvanceTime(), timeout_seconds=0.4)
            except ReplyTimeout:
                accepted.append(command_id)
            except Busy as busy:
                refusals.append(busy)

        number = 0
        while monotonic() < end:
            number += 1
            task = asyncio.ensure_future(submit(f"t:{number}"))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
            await asyncio.sleep(0.002)
        await asyncio.gather(*waiting)

    with EngineProcess(settings, tmp_path / "engine.txt") as engine:
        with KafkaGateway(settings, behind_seconds=1.0, retry_seconds=1.0) as gateway:
            assert gateway.submit_blocking("t:first", AdvanceTime()).code is None
            engine.send(signal.SIGSTOP)
            asyncio.run(press(gateway, 1.2))
            before = len(accepted)
            refusals.clear()
            asyncio.run(press(gateway, 4.0))
            probes = len(accepted) - before

            assert probes <= 4.0 / 0.4 + 2
            assert len(refusals) > 10 * probes
            assert {1.0} == {refusal.retry_after_seconds for refusal in refusals}
            assert len(gateway._pending) <= 1
            engine.send(signal.SIGCONT)
            assert gateway.submit_blocking("t:last", AdvanceTime(), timeout_seconds=30).code is None
            assert gateway.submit_blocking("t:next", AdvanceTime(), timeout_seconds=5).code is None
        engine.send(signal.SIGTERM)
        engine.wait()

    with reading(settings) as recorder:
        decided = command_ids(recorder)
    assert {*accepted, "t:first", "t:last", "t:next"} <= set(decided)
