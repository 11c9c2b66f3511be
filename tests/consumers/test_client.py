"""The client for other services."""

import asyncio
import gc
import threading
import warnings
from pathlib import Path
from time import monotonic

import pytest
from eventsourcing.persistence import OperationalError

from consumers.client import Busy, Client, EngineStopped, InvalidCommand, ReplyTimeout
from consumers.kafka.topics import ensure_topics
from local.processes import free_port
from messages.replies import Reply  # noqa: TC001  annotates a local variable
from settings import Settings
from tests.consumers.checks import check_log, reading, recorded
from tests.consumers.exchange_fixtures import engine_over_kafka, open_market
from tests.consumers.processes import EngineProcess, kafka_settings


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker; its topics exist."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    ensure_topics(settings)
    return settings


def command_ids(settings: Settings) -> list[str]:
    """Return the ids of all commands in the log."""
    with reading(settings) as recorder:
        return [event.command_id for event in recorded(recorder) if event.digest]


def test_it_places_an_order_and_gets_the_reply(settings: Settings) -> None:
    """Blocking and in an event loop; sent again it gets the same reply; a refusal is a reply too."""
    with Client(settings) as client, engine_over_kafka(settings):
        market = open_market(client._gateway.submit_blocking)
        order = {
            "account_id": market.accounts[0],
            "market_id": market.market_id,
            "client_order_id": "7",
            "outcome": "Yes",
            "side": "buy",
            "type": "market",
            "spend": "1.000000",
        }
        first = client.submit("PlaceOrder", order)
        again = asyncio.run(client.submit_async("PlaceOrder", order))
        refused = client.submit("PlaceOrder", order | {"client_order_id": "8", "spend": "5000.000000"})

    assert (None, "filled", first) == (first.code, first.result["status"], again)
    assert refused.code == "INSUFFICIENT_FUNDS"
    with reading(settings) as recorder:
        check_log(recorder, [first, refused])


def test_it_says_what_is_wrong_before_anything_is_sent(settings: Settings) -> None:
    """An unknown type, a missing id, a field that breaks its schema."""
    with Client(settings) as client:
        with pytest.raises(InvalidCommand, match="type is not the name of a command"):
            client.submit("Nonsense", {}, "svc:1")
        with pytest.raises(InvalidCommand, match="command_id is missing"):
            client.submit("DepositCash", {"account_id": "ac_1", "amount": "1.000000"})
        with pytest.raises(InvalidCommand, match="amount"):
            client.submit("DepositCash", {"account_id": "ac_1", "amount": 1}, "svc:1")
        with pytest.raises(InvalidCommand, match="account_id"):
            asyncio.run(client.submit_async("PlaceOrder", {}))
    with engine_over_kafka(settings):
        pass
    assert command_ids(settings) == []


@pytest.mark.timeout(120)
def test_it_tries_as_long_as_it_takes(settings: Settings, tmp_path: Path) -> None:
    """No engine yet, one that is killed, one that comes at last: the caller sees one reply; the log has the command once."""
    engine = EngineProcess(settings, tmp_path / "engine.txt")
    told: list[Reply] = []
    with Client(settings) as client:

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
    with Client(settings) as client:
        began = monotonic()
        with pytest.raises(ReplyTimeout):
            client.submit("AdvanceTime", {}, "svc:1", timeout_seconds=0.5)
        assert 0.5 <= monotonic() - began < 3
    with Client(settings) as client, engine_over_kafka(settings):
        assert client.submit("AdvanceTime", {}, "svc:1").code is None

    assert command_ids(settings) == ["svc:1"]


def test_whoever_waits_is_released_at_the_end(settings: Settings) -> None:
    """A client that is closed keeps nobody waiting."""
    errors: list[BaseException] = []

    def call() -> None:
        try:
            client.submit("AdvanceTime", {}, "svc:1")
        except EngineStopped as error:
            errors.append(error)

    with Client(settings) as client:
        caller = threading.Thread(target=call)
        caller.start()
        while not client._gateway._pending:
            caller.join(0.01)
    caller.join(10)

    assert len(errors) == 1
    with pytest.raises(EngineStopped):
        client.submit("AdvanceTime", {}, "svc:2")


def test_without_a_broker_it_says_so_and_leaves_no_thread(tmp_path: Path) -> None:
    """Otherwise a caller that tries again and again would run out of files."""
    settings = kafka_settings(tmp_path, f"127.0.0.1:{free_port()}", "none.")
    before = set(threading.enumerate())
    with warnings.catch_warnings():  # kafka-python leaves the sockets to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(OperationalError):
            Client(settings).__enter__()
        gc.collect()

    assert set(threading.enumerate()) <= before  # those of tests before may still be ending


def test_the_client_waits_while_the_engine_is_behind(settings: Settings) -> None:
    """The gateway refuses its callers; the client tries again until its deadline, and only then raises the refusal."""
    with Client(settings) as client:
        client._gateway._behind_seconds = 0.2
        with pytest.raises(ReplyTimeout):
            client.submit("AdvanceTime", {}, "svc:1", timeout_seconds=0.5)
        caller = threading.Thread(target=lambda: client.submit("AdvanceTime", {}, "svc:2", timeout_seconds=60))
        caller.start()
        while not client._gateway._pending:
            caller.join(0.01)
        with pytest.raises(Busy):
            client.submit("AdvanceTime", {}, "svc:3", timeout_seconds=0.5)
        with engine_over_kafka(settings):
            assert client.submit("AdvanceTime", {}, "svc:4", timeout_seconds=60).code is None
            caller.join(30)

    assert {"svc:1", "svc:2", "svc:4"} == set(command_ids(settings))
