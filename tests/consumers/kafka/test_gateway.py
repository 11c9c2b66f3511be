"""The gateway over Kafka: deadlines, and the back-pressure that keeps callers from queueing without end."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from consumers.errors import Busy, EngineStopped, ReplyTimeout
from consumers.kafka import gateway as gateway_module
from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.records import RecordReader
from consumers.kafka.topics import COMMANDS, ensure_topics, topic_name
from domain.orders import PlaceOrder
from messages.commands import AdvanceTime, Command, Submitted, order_command_id, parse_record
from messages.replies import Reply
from settings import Settings
from tests.consumers.checks import command_ids, reading, recorded
from tests.consumers.exchange_fixtures import MICRO, Market, engine_over_kafka, open_market
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


def test_a_gateway_that_rests_is_in_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """However rarely it looks around while nobody waits: the first deadline is kept, and it closes at once."""
    monkeypatch.setattr(gateway_module, "IDLE_SECONDS", 20.0)
    with KafkaGateway(settings) as gateway:
        sleep(0.3)
        before = monotonic()
        with pytest.raises(ReplyTimeout):
            gateway.submit_blocking("t:1", AdvanceTime(), timeout_seconds=0.3)
        sleep(0.3)
    assert monotonic() - before < 5


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


# --- batches


def no_effect_commands(name: str, count: int) -> list[tuple[str, Command]]:
    """Return commands that only let time pass, with their ids."""
    return [(f"{name}:{i}", AdvanceTime()) for i in range(count)]


def records_of_commands(settings: Settings) -> list[list[str]]:
    """Return the ids of the commands in each record of the topic."""
    topic = topic_name(settings, COMMANDS)
    with closing(RecordReader(settings, topic, 0)) as reader:
        first, end = reader.ends()
        reader.seek(first)
        records: list[list[str]] = []
        while len(records) < end - first:
            for record in reader.take(1_000, 5.0):
                parsed = parse_record(record.value() or b"")
                records.append([each.command_id for each in parsed if isinstance(each, Submitted)])
    return records


def test_a_batch_is_one_record_whenever_it_is_sent(settings: Settings) -> None:
    """In a crowd of other commands, and each time that it is sent again because no engine replies."""
    batch = no_effect_commands("batch", 100)

    async def crowd(gateway: KafkaGateway) -> None:
        others = [asyncio.ensure_future(gateway.submit(*each)) for each in no_effect_commands("other", 450)]
        await asyncio.sleep(0)  # they are in the outbox, but not sent yet
        replies = await gateway.submit_all(batch)
        assert {type(reply) for reply in replies} == {ReplyTimeout}
        await asyncio.gather(*others, return_exceptions=True)

    with KafkaGateway(settings, timeout_seconds=1.5, retry_seconds=0.2) as gateway:
        asyncio.run(crowd(gateway))

    with_batch = [
        record for record in records_of_commands(settings) if any(each.startswith("batch:") for each in record)
    ]
    assert len(with_batch) >= 2, "it was sent again"
    for record in with_batch:
        assert [each for each in record if each.startswith("batch:")] == [command_id for command_id, _ in batch]


def test_a_batch_of_100_is_decided_in_its_order(settings: Settings) -> None:
    """Each sale needs the purchase before it, in a crowd of other orders, and again when all is sent again."""

    async def trade(gateway: KafkaGateway, market: Market) -> list[Any]:
        account = market.accounts[0]
        orders = []
        for i in range(100):
            terms = (f"b-{i}", "Yes", "sell" if i % 2 else "buy", "market")
            order = PlaceOrder(account, market.market_id, "", *terms, quantity=10 * MICRO)
            orders.append((order_command_id(account, f"b-{i}"), order))
        others = [asyncio.ensure_future(gateway.submit(*market.buy(f"o-{i}", 1, 10_000))) for i in range(450)]
        await asyncio.sleep(0)
        first = await gateway.submit_all(orders)
        await asyncio.gather(*others)
        assert await gateway.submit_all(orders) == first
        return first

    with KafkaGateway(settings) as gateway, engine_over_kafka(settings):
        replies = asyncio.run(trade(gateway, open_market(gateway.submit_blocking)))

    assert [reply.code for reply in replies] == [None] * 100
    positions = [reply.position for reply in replies]
    assert positions == sorted(positions)


def test_a_batch_finds_room_as_a_whole(settings: Settings) -> None:
    """All of its commands are refused where not all may wait, and none of them is sent."""
    with KafkaGateway(settings, commands_max=50, timeout_seconds=0.3) as gateway:
        replies = asyncio.run(gateway.submit_all(no_effect_commands("batch", 60)))
        assert {type(reply) for reply in replies} == {Busy}
        assert {type(reply) for reply in asyncio.run(gateway.submit_all(no_effect_commands("batch", 50)))} == {
            ReplyTimeout
        }

    assert {len(record) for record in records_of_commands(settings)} == {50}


def test_another_command_with_an_id_that_waits_is_refused_by_the_engine(settings: Settings) -> None:
    """Whichever comes first counts, and the other one is told so at once, also within a batch."""
    with KafkaGateway(settings) as gateway, engine_over_kafka(settings):
        market = open_market(gateway.submit_blocking)
        batch = [market.buy("c-1"), market.buy("c-1", spend=7 * MICRO), market.buy("c-1")]
        first, other, again = asyncio.run(gateway.submit_all(batch))

    assert isinstance(first, Reply)
    assert isinstance(other, Reply)
    assert (first.code, other.code) == (None, "COMMAND_ID_REUSED")
    assert again == first
