"""The engine over a real Kafka: round trips, values that are no commands, engines and brokers that are killed."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import msgspec
import pytest
from confluent_kafka import Producer
from kafka import KafkaConsumer, TopicPartition

from consumers.engine.command_source import CommandReply
from consumers.engine.log import Fenced
from consumers.errors import ReplyTimeout
from consumers.gateway import Gateway
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.topics import topic_id
from consumers.wiring import open_log
from domain.account import DepositCash
from domain.partition import CommandRejected, CommandsRead
from domain.values import Json
from local.kafka import Broker
from messages.commands import AdvanceTime, dump_command, dump_record
from messages.replies import Reply
from settings import Settings
from tests.consumers.checks import check_log, reading, recorded
from tests.consumers.exchange_fixtures import Market, engine_over_kafka, open_market
from tests.consumers.processes import EngineProcess, kafka_settings


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker."""
    return kafka_settings(tmp_path, kafka, topic_prefix)


def produce(gateway: KafkaGateway, value: bytes) -> None:
    """Put a record into the commands as another service would."""
    gateway._sender.write(gateway._topic, [value], 10)


def dead_letters(settings: Settings, count: int) -> list[dict[str, object]]:
    """Return the first dead letters."""
    partition = TopicPartition(f"{settings.kafka_topic_prefix}dead-letters", 0)
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka_brokers, group_id=None, auto_offset_reset="earliest")
    consumer.assign([partition])
    letters: list[dict[str, object]] = []
    while len(letters) < count:
        records = consumer.poll(timeout_ms=10_000).get(partition, [])
        assert records, f"{count} dead letters were expected, there are {len(letters)}"
        letters += [msgspec.json.decode(record.value) for record in records]
    consumer.close()
    return letters


# --- round trips


def test_an_open_transaction_holds_nobody_up(settings: Settings) -> None:
    """A command in a transaction of Kafka is decided when it arrives, and so are the commands that others send after it."""
    sender = Producer({"bootstrap.servers": settings.kafka_brokers} | {"transactional.id": settings.kafka_topic_prefix})
    sender.init_transactions(30)
    with KafkaGateway(settings) as gateway, engine_over_kafka(settings):
        market = open_market(gateway.submit_blocking)
        sender.begin_transaction()
        sender.produce(
            f"{settings.kafka_topic_prefix}commands", dump_record([dump_command(*market.buy("c-1"))]), partition=0
        )
        assert sender.flush(10) == 0
        assert gateway.submit_blocking(*market.buy("c-2"), timeout_seconds=10).code is None
        sender.abort_transaction(30)

    with reading(settings) as recorder:
        ids = [event.command_id for event in recorded(recorder) if event.digest is not None]
    assert ids[-2:] == [market.buy("c-1")[0], market.buy("c-2")[0]]


def test_orders_travel_over_kafka_and_have_one_reply_for_ever(settings: Settings) -> None:
    """The reply is what the log says, the same when sent again, even after a restart; another command with the id is refused."""
    with KafkaGateway(settings) as gateway:
        with engine_over_kafka(settings):
            market = open_market(gateway.submit_blocking)
            first = gateway.submit_blocking(*market.buy("c-1"))
            assert first == gateway.submit_blocking(*market.buy("c-1"))
        with engine_over_kafka(settings):
            assert first == gateway.submit_blocking(*market.buy("c-1"))
            reused = gateway.submit_blocking(*market.buy("c-1", spend=7))
            second = gateway.submit_blocking(*market.buy("c-2"))

    assert first.code is None
    assert ("COMMAND_ID_REUSED", first.position) == (reused.code, reused.position)
    with reading(settings) as recorder:
        check_log(recorder, [first, second])
        positions = [event.position for event in recorded(recorder)]
    assert positions == list(range(1, len(positions) + 1))


def test_many_at_once_share_records_and_batches(settings: Settings) -> None:
    """500 orders in flight: all get replies, in far fewer batches."""
    with KafkaGateway(settings) as gateway, engine_over_kafka(settings):
        market = open_market(gateway.submit_blocking)

        async def trade() -> list[Reply]:
            return await asyncio.gather(*[gateway.submit(*market.buy(f"c-{i}", i % 3, 10_000)) for i in range(500)])

        replies = asyncio.run(trade())

    with reading(settings) as recorder:
        check_log(recorder, replies)
        batches = [event for event in recorded(recorder) if isinstance(event.event, CommandsRead)]
    assert len(batches) < 100


def test_a_quote_over_kafka_changes_nothing(settings: Settings) -> None:
    """Its numbers are those of the order that is sent next; the log does not grow by it."""
    with KafkaGateway(settings) as gateway, engine_over_kafka(settings) as engine:
        market = open_market(gateway.submit_blocking)
        before = engine.position
        quote = asyncio.run(gateway.quote(market.buy("quote")[1]))
        assert before == engine.position
        reply = gateway.submit_blocking(*market.buy("c-1"))

    assert quote.result["fills"] == reply.result["fills"]


# --- values that are no commands


def test_what_is_no_command_goes_to_the_dead_letters(settings: Settings) -> None:
    """With its reason and where it stands; the other commands of the record are decided, and the engine goes past it."""
    mixed = dump_record([b'{"command_id":"x","type":"Nonsense","data":{}}', dump_command("t:1", AdvanceTime())])
    with KafkaGateway(settings) as gateway, engine_over_kafka(settings) as engine:
        produce(gateway, b"nonsense")
        (first,) = dead_letters(settings, 1)
        deadline = monotonic() + 10
        while not engine.position and monotonic() < deadline:
            gateway._stopping.wait(0.01)
        produce(gateway, mixed)
        again = gateway.submit_blocking("t:1", AdvanceTime())

    _, second = dead_letters(settings, 2)
    assert (first["offset"], first["index"], first["value"]) == (0, 0, "nonsense")
    assert (second["offset"], second["index"], second["reason"]) == (1, 0, "type is not the name of a command")
    with reading(settings) as recorder:
        events = [event.event for event in recorded(recorder)]
    assert again.code is None
    topic = f"{settings.kafka_topic_prefix}commands"
    assert CommandsRead(f"{topic}-0@{topic_id(settings, 'commands')}", 1) == events[0]


def test_a_command_with_an_invalid_field_has_a_rejection_in_the_log(settings: Settings) -> None:
    """A JSON number for an amount: a recorded rejection that names the field, and the same one for the same bytes again."""
    value = dump_command("svc:1", DepositCash("ac_1", 5)).replace(b'"0.000005"', b"5")
    with KafkaGateway(settings) as gateway, engine_over_kafka(settings):
        produce(gateway, value)
        produce(gateway, value)
        gateway.submit_blocking("t:1", AdvanceTime())

    with reading(settings) as recorder:
        rejected = [event for event in recorded(recorder) if isinstance(event.event, CommandRejected)]
    assert [event.command_id for event in rejected] == ["svc:1"]
    assert isinstance(rejected[0].event, CommandRejected)
    assert (rejected[0].event.command, rejected[0].event.details["field"]) == ("DepositCash", "amount")
    assert Json(b'{"account_id":"ac_1","amount":5}') == rejected[0].event.body


# --- engines that end


class ForgetfulCommandSource(KafkaCommandSource):
    """A source whose replies get lost."""

    def send_replies(self, replies: Sequence[CommandReply]) -> None:
        """Lose them."""


def test_a_new_engine_sends_the_last_replies_again(settings: Settings) -> None:
    """The engine ended after the append and before its replies arrived: callers need not even send the command again."""
    with KafkaGateway(settings, retry_seconds=1000) as gateway:

        async def ask() -> Reply:
            waiting = asyncio.ensure_future(gateway.submit("t:1", AdvanceTime()))
            with engine_over_kafka(settings, ForgetfulCommandSource(settings)) as engine:
                while not engine.position:  # noqa: ASYNC110  the engine's progress is no event
                    await asyncio.sleep(0)
            assert not waiting.done()
            with engine_over_kafka(settings):
                return await waiting

        assert asyncio.run(ask()).position == 1


@asynccontextmanager
async def trading(gateway: Gateway, market: Market, told: list[Reply], tasks: int = 24) -> AsyncIterator[None]:
    """Keep orders in flight inside the context; `told` gets every reply."""
    stopping = False

    async def trade(task: int) -> None:
        number = 0
        while not stopping:
            number += 1
            told.append(await gateway.submit(*market.buy(f"c-{task}-{number}", number % 3, 10_000)))

    running = [asyncio.ensure_future(trade(task)) for task in range(tasks)]
    try:
        yield
    finally:
        stopping = True
        await asyncio.gather(*running)


async def more(told: list[Reply], count: int) -> None:
    """Wait until so many more replies have come."""
    goal = len(told) + count
    while len(told) < goal:  # noqa: ASYNC110  there is no event to wait for but the replies themselves
        await asyncio.sleep(0.01)


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("lost_connections")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_engine_that_is_killed_loses_and_doubles_nothing(settings: Settings, tmp_path: Path) -> None:
    """Kill -9 at random moments under load, five times: every order gets one reply, as the log says."""
    chance = random.Random(4)  # noqa: S311  no secret
    told: list[Reply] = []
    with (
        EngineProcess(settings, tmp_path / "engine.txt") as engine,
        KafkaGateway(settings, retry_seconds=0.5) as gateway,
    ):
        market = open_market(gateway.submit_blocking)

        async def run() -> None:
            async with trading(gateway, market, told):
                for _ in range(5):
                    await more(told, chance.randrange(1, 300))
                    engine.kill()
                    engine.start()
                await more(told, 200)

        asyncio.run(run())
        engine.send(signal.SIGTERM)
        assert engine.wait() == 0, engine.output

    assert len(told) > 200
    assert {None} == {reply.code for reply in told}
    with reading(settings) as recorder:
        check_log(recorder, told)


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("lost_connections")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_two_engines_never_both_write(settings: Settings, tmp_path: Path) -> None:
    """A second engine claims the log: it goes on, the first stops at once and says why. One that was paused, and wakes
    up when another has long taken over, stops too.
    """
    told: list[Reply] = []
    first = EngineProcess(settings, tmp_path / "first.txt")
    second = EngineProcess(settings, tmp_path / "second.txt")
    third = EngineProcess(settings, tmp_path / "third.txt")
    with KafkaGateway(settings, retry_seconds=0.5) as gateway, first, second, third:
        second.kill()
        third.kill()
        market = open_market(gateway.submit_blocking)

        async def run() -> None:
            async with trading(gateway, market, told):
                await more(told, 100)
                second.start()
                await asyncio.to_thread(first.wait)
                await more(told, 100)
                second.send(signal.SIGSTOP)
                third.start()
                await more(told, 200)
                second.send(signal.SIGCONT)
                await asyncio.to_thread(second.wait)
                await more(told, 100)

        asyncio.run(run())
        third.send(signal.SIGTERM)
        assert third.wait() == 0, third.output

    for fenced in (first.output, second.output):  # found in the log, or told by a heartbeat before
        assert "has another writer" in fenced or "another engine writes the log" in fenced
    with reading(settings) as recorder:
        check_log(recorder, told)


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("lost_connections")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_broker_that_is_killed_loses_and_doubles_nothing(
    own_kafka: Broker, tmp_path: Path, topic_prefix: str
) -> None:
    """Kill -9 of the broker under load, twice: the engine takes over again by itself, and the log is what was told."""
    settings = kafka_settings(tmp_path, own_kafka.bootstrap, topic_prefix)
    told: list[Reply] = []
    with EngineProcess(settings, tmp_path / "engine.txt") as engine:
        with KafkaGateway(settings, retry_seconds=0.5, behind_seconds=60) as gateway:  # a broker's start takes seconds
            market = open_market(gateway.submit_blocking)

            async def run() -> None:
                async with trading(gateway, market, told):
                    for _ in range(2):
                        await more(told, 100)
                        own_kafka.kill()
                        await asyncio.to_thread(own_kafka.start)
                    await more(told, 100)

            asyncio.run(run())
        engine.send(signal.SIGTERM)
        assert engine.wait() == 0, engine.output

    with reading(settings) as recorder:
        check_log(recorder, told)


def test_a_log_that_is_claimed_away_stops_the_engine(settings: Settings) -> None:
    """In a thread, too: the error says that another engine writes."""
    with KafkaGateway(settings) as gateway, engine_over_kafka(settings) as engine:
        gateway.submit_blocking("t:1", AdvanceTime())
        log = open_log(settings)
        log.take_over(lambda *_: None)
        with pytest.raises(ReplyTimeout):
            KafkaGatewayOnce(settings).ask()
        assert isinstance(engine.error, Fenced)
        log.close()


class KafkaGatewayOnce:
    """Asks once, with little patience."""

    def __init__(self, settings: Settings) -> None:
        self._gateway = KafkaGateway(settings, timeout_seconds=3)

    def ask(self) -> Reply:
        """Submit a command."""
        with self._gateway as gateway:
            return gateway.submit_blocking("t:2", AdvanceTime())
