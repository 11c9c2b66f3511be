"""The client for services that trade over Kafka, against a real broker and engines that come, go and are killed."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from consumers.kafka.topics import ensure_topics, grow_topics
from local.processes import free_port
from messages.commands import COMMANDS as COMMAND_TYPES
from messages.signed_orders import KINDS
from tests.consumers.checks import check_log, reading, recorded
from tests.consumers.exchange_fixtures import engine_over_kafka
from tests.consumers.processes import EngineProcess, kafka_settings
from tidings_client import UnreachableError, kafka
from tidings_client.kafka import COMMANDS, SIGNED, CommandReply, KafkaClient, NoReplyError

if TYPE_CHECKING:
    from pathlib import Path

    from settings import Settings
    from tests.eventsourcing_kafka.own_threads import OwnThreads


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker; its topics exist."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    ensure_topics(settings)
    return settings


def client_of(settings: Settings, **options: Any) -> KafkaClient:
    """Return a client of this exchange."""
    brokers = {"bootstrap.servers": settings.kafka_brokers}
    return KafkaClient(brokers, topic_prefix=settings.kafka_topic_prefix, **options)


def command_ids(settings: Settings) -> list[str]:
    """Return the ids of all commands in the log."""
    with reading(settings) as recorder:
        return [event.command_id for event in recorded(recorder) if event.digest]


def test_it_knows_the_types_of_commands() -> None:
    """All that there are, and those that a service may sign."""
    assert set(COMMAND_TYPES) == COMMANDS
    assert {kind.__name__ for kind in KINDS} == SIGNED


def test_it_places_an_order_and_gets_the_reply(settings: Settings) -> None:
    """Blocking and in an event loop; sent again it gets the same reply; a refusal is a reply too."""
    with client_of(settings) as client, engine_over_kafka(settings):
        opened = client.submit("OpenAccount", {"name": "Ada"}, "svc:ada")
        account = opened.result["account_id"]
        paid = client.submit("DepositCash", {"account_id": account, "amount": Decimal("100.5")}, "svc:paid")
        market = {
            "slug": "m", "question": "Q?", "outcomes": ["No", "Yes"], "subsidy": "100", "close_time": "2090-01-01T00:00:00Z",
            "resolution_source": "News",
        }  # fmt: skip
        story = {
            "title": "T",
            "body": "B",
            "category": "world",
            "published_at": "2024-01-01T00:00:00Z",
            "markets": [market],
        }
        published = client.submit("PublishStory", story, "svc:story")
        order = {
            "account_id": account, "market_id": published.result["market_ids"][0], "client_order_id": "7",
            "outcome": "Yes", "side": "buy", "type": "market", "spend": "1.000000",
        }  # fmt: skip
        first = client.submit("PlaceOrder", order)
        again = asyncio.run(client.submit_async("PlaceOrder", order))
        refused = client.submit("PlaceOrder", order | {"client_order_id": "8", "spend": "5000.000000"})

    assert (opened.code, paid.code, published.code) == (None, None, None)
    assert (None, "filled", first) == (first.code, first.result["status"], again)
    assert refused.code == "INSUFFICIENT_FUNDS"
    with reading(settings) as recorder:
        check_log(recorder, [])
        ids = [event.command_id for event in recorded(recorder) if event.digest]
    assert ids == ["svc:ada", "svc:paid", "svc:story", f"order:{account}:7", f"order:{account}:8"]


def test_commands_go_where_their_market_is_also_when_the_topics_have_grown(settings: Settings) -> None:
    """Every command reaches its engine: those of partition 0 still do when there are others."""
    grow_topics(settings, 4)
    with client_of(settings) as client, engine_over_kafka(settings):
        opened = [client.submit("OpenAccount", {"name": f"Ada {number}"}, f"svc:{number}") for number in range(12)]
    assert [reply.code for reply in opened] == [None] * 12

    order = {"account_id": "ac1_a", "market_id": "mk3_m"}
    found = [
        kafka.partition_of(fields)
        for fields in (
            order,
            {"order": order},
            {"account_id": "ac1_a"},
            {"account_id": "ac_a", "order_id": "or2_o"},
            {},
        )
    ]
    assert found == [3, 3, 1, 2, 0]


def test_a_command_for_a_partition_that_does_not_exist_is_refused(settings: Settings) -> None:
    """Partition 0 answers it, whether the topic is known already or not; the client goes on."""
    with client_of(settings) as client, engine_over_kafka(settings):
        replies = [client.submit("CloseMarket", {"market_id": "mk9_a"}, f"svc:{number}") for number in range(2)]
        assert [reply.code for reply in replies] == ["MARKET_NOT_FOUND"] * 2
        huge = {"name": "x" * 2_000_000}
        with pytest.raises(NoReplyError, match=r"the record was not sent: .*too large"):
            client.submit("OpenAccount", huge, "svc:huge", timeout_seconds=0.3)
        assert client.submit("AdvanceTime", {}, "svc:2").code is None


def test_it_says_what_is_wrong_before_anything_is_sent(settings: Settings) -> None:
    """What would be a dead letter, and so get no reply; an invalid field is the engine's business, which replies."""
    with client_of(settings) as client:
        with pytest.raises(ValueError, match="Nonsense is not the name of a command"):
            client.submit("Nonsense", {}, "svc:1")
        with pytest.raises(ValueError, match="command_id is missing"):
            client.submit("DepositCash", {"account_id": "ac_1", "amount": "1.000000"})
        with pytest.raises(ValueError, match="more than 200"):
            asyncio.run(client.submit_async("AdvanceTime", {}, "x" * 201))
        with pytest.raises(TypeError, match="float"):
            client.submit("DepositCash", {"account_id": "ac_1", "amount": 0.1}, "svc:1")
    with client_of(settings, key_id="key_1", secret="tdg_1") as service:  # noqa: S106  it opens nothing
        with pytest.raises(ValueError, match="DepositCash is not the name of a command that can be signed"):
            service.submit("DepositCash", {"account_id": "ac_1", "amount": "1"}, "ac_1:orders:1")
        with pytest.raises(ValueError, match="must begin with ac_1:orders:"):
            service.submit("CancelOrders", {"account_id": "ac_1"}, "svc:1")
        with pytest.raises(ValueError, match="is order:ac_1:7"):
            service.submit("PlaceOrder", {"account_id": "ac_1", "client_order_id": "7"}, "svc:1")
    with pytest.raises(ValueError, match="both key_id and secret"):
        client_of(settings, key_id="key_1")
    with engine_over_kafka(settings), client_of(settings) as client:
        assert client.submit("DepositCash", {"account_id": "ac_1", "amount": 1}, "svc:1").code == "INVALID_FIELD"
    assert command_ids(settings) == ["svc:1"]


@pytest.mark.timeout(120)
def test_it_tries_as_long_as_it_takes(settings: Settings, tmp_path: Path) -> None:
    """No engine yet, one that is killed, one that comes at last: the caller sees one reply; the log has the command once."""
    engine = EngineProcess(settings, tmp_path / "engine.txt")
    told: list[CommandReply] = []
    with client_of(settings) as client:

        def call() -> None:
            told.extend(client.submit("AdvanceTime", {}, f"svc:{number}", timeout_seconds=100) for number in range(40))

        caller = threading.Thread(target=call)
        caller.start()
        with engine:
            for _ in range(2):
                while "log_taken_over" not in engine.output:
                    assert caller.is_alive()
                    caller.join(0.1)
                engine.kill()
                (tmp_path / "engine.txt").write_text("")
                engine.start()
            caller.join()

    assert [f"svc:{number}" for number in range(40)] == [reply.command_id for reply in told] == command_ids(settings)


def test_it_gives_up_at_its_deadline_and_later_gets_the_reply(settings: Settings) -> None:
    """Without an engine there is no reply; the same call, even of another client, gets it when there is an engine."""
    with client_of(settings) as client:
        began = monotonic()
        with pytest.raises(NoReplyError, match="the engine has not replied"):
            client.submit("AdvanceTime", {}, "svc:1", timeout_seconds=0.5)
        assert 0.5 <= monotonic() - began < 3
    with client_of(settings) as client, engine_over_kafka(settings):
        assert client.submit("AdvanceTime", {}, "svc:1").code is None

    assert command_ids(settings) == ["svc:1"]


def test_callers_of_one_command_share_its_reply(settings: Settings) -> None:
    """Another command with an id that still waits is refused at once: its reply could be taken for the other one's."""
    told: list[CommandReply] = []
    with client_of(settings) as client:
        callers = [
            threading.Thread(target=lambda: told.append(client.submit("OpenAccount", {"name": "Ada"}, "svc:1")))
            for _ in range(3)
        ]
        for caller in callers:
            caller.start()
        while "svc:1" not in client._waiting or len(client._waiting["svc:1"].waiters) < 3:
            callers[0].join(0.01)
        with pytest.raises(ValueError, match="another command"):
            client.submit("OpenAccount", {"name": "Bob"}, "svc:1")
        with engine_over_kafka(settings):
            for caller in callers:
                caller.join(30)

    assert [reply.code for reply in told] == [None] * 3
    assert command_ids(settings) == ["svc:1"]


def test_whoever_waits_is_released_at_the_end(settings: Settings) -> None:
    """A client that is closed keeps nobody waiting, and takes nothing more."""
    errors: list[BaseException] = []

    def call() -> None:
        try:
            client.submit("AdvanceTime", {}, "svc:1")
        except NoReplyError as error:
            errors.append(error)

    with client_of(settings) as client:
        caller = threading.Thread(target=call)
        caller.start()
        while not client._waiting:
            caller.join(0.01)
    caller.join(10)

    assert len(errors) == 1
    with pytest.raises(NoReplyError, match="closed"):
        client.submit("AdvanceTime", {}, "svc:2")


def test_a_record_that_is_no_reply_ends_nothing(settings: Settings) -> None:
    """Whoever can write to the topic of replies cannot stop its readers."""
    with client_of(settings) as client, engine_over_kafka(settings):
        producer = Producer({"bootstrap.servers": settings.kafka_brokers})
        for value in (b"nonsense", b"\xff", b"", b'[{"command_id": 1}]', b"[" * 100_000):
            producer.produce(f"{settings.kafka_topic_prefix}replies", value)
        producer.flush(10)
        assert client.submit("AdvanceTime", {}, "svc:1", timeout_seconds=20).code is None


def test_without_a_broker_it_says_so_and_leaves_no_thread(
    own_threads: OwnThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a caller that tries again and again would run out of files."""
    monkeypatch.setattr(kafka, "CONNECT_SECONDS", 1.0)
    with pytest.raises(UnreachableError, match=r"replies cannot be read.*(refused|Broker)"):
        KafkaClient({"bootstrap.servers": f"127.0.0.1:{free_port()}"}).__enter__()

    assert own_threads.left() == []
