"""Records that nobody understands, in each topic: the reader counts them, goes on, and nothing that others sent is lost."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from api.cli.main import main
from consumers.engine.engine import Engine
from consumers.errors import EngineStopped
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.dead_letters import DeadLetters
from consumers.kafka.event_publisher import EventPublisher
from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.heartbeats import KafkaHeartbeats
from consumers.kafka.records import RecordSender
from consumers.kafka.topics import COMMANDS, DEAD_LETTERS, FEED, HEARTBEATS, REPLIES, topic_name
from consumers.wiring import open_log
from messages.commands import AdvanceTime, dump_command
from messages.dead_letters import dump_letter, make_letter
from settings import Settings
from tests.consumers.checks import eventually
from tests.consumers.kafka_contract import STRANGER
from tests.consumers.processes import kafka_settings

DEEP = b"[" * 100_000
POISON = (
    b"x",
    b"",
    b"null",
    b"[{}]",
    DEEP,
    b'{"x":' + DEEP,
    b'{"decision":1,"letter":"x"}',
    b"\xff\xfe",
    b'{"name":"x","role":"writer","epoch":1' + b"0" * 5_000 + b"}",
)


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker."""
    return kafka_settings(tmp_path, kafka, topic_prefix)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """A running engine with heartbeats."""
    engine = Engine(open_log(settings), KafkaCommandSource(settings), heartbeats=KafkaHeartbeats(settings))
    engine.start()
    engine.wait_until_ready(30)
    yield engine
    engine.stop()


def poison(settings: Settings, topic: str, *values: bytes) -> None:
    """Write records into a topic as a stranger would."""
    with closing(RecordSender(settings)) as sender:
        for value in values:
            sender.send(topic_name(settings, topic), value, headers=[(STRANGER, b"")])
        sender.flush(10)


def counted(settings: Settings, topic: str) -> float:
    """Return how many records of a topic were counted as unreadable."""
    labels = {"topic": topic_name(settings, topic)}
    return REGISTRY.get_sample_value("tidings_unreadable_records_total", labels) or 0.0


def test_the_gateway_survives_junk_among_the_replies(settings: Settings, engine: Engine) -> None:
    """Later commands get their replies; every bad record is counted, and the log names the first with its place."""
    with KafkaGateway(settings, timeout_seconds=20) as gateway, capture_logs() as lines:
        assert gateway.submit_blocking("t:before", AdvanceTime()).code is None
        poison(settings, REPLIES, *POISON)
        assert gateway.submit_blocking("t:after", AdvanceTime()).code is None
        assert eventually(lambda: counted(settings, REPLIES) == len(POISON))
        assert gateway.problem() is None

    found = [line for line in lines if line["event"] == "record_unreadable"]
    assert found[0]["topic"] == topic_name(settings, REPLIES)
    assert {"offset", "reason", "records"} <= set(found[0])
    assert engine.error is None


def test_a_gateway_whose_thread_ends_says_so(settings: Settings, engine: Engine) -> None:
    """Nobody waits for ever: those who wait and those who come later are told, and so is readiness."""
    gateway = KafkaGateway(settings)
    gateway.start()
    assert gateway.problem() is None
    gateway._reader = None  # an error of ours in the thread

    assert eventually(lambda: gateway.problem() is not None)
    with pytest.raises(EngineStopped):
        gateway.submit_blocking("t:1", AdvanceTime())
    gateway.close()
    assert engine.error is None


@pytest.mark.parametrize(
    "values",
    [
        POISON,
        (b'{"name":"a","role":"caller","successor":"nobody"}',),
        (b'{"name":"a","role":"writer","epoch":1000000}', b'{"name":"b","role":"claiming","epoch":1000001}'),
    ],
    ids=["junk", "a call for nobody", "an epoch that no claim has"],
)
def test_the_engine_survives_the_heartbeats_of_a_stranger(
    settings: Settings, engine: Engine, values: tuple[bytes, ...]
) -> None:
    """Junk is counted. The log tells whether another engine writes; a call counts only for a standby that was heard."""
    with KafkaGateway(settings, timeout_seconds=20) as gateway:
        for number in range(2):
            poison(settings, HEARTBEATS, *values)
            gateway.submit_blocking(f"t:{number}", AdvanceTime())
            poison(settings, HEARTBEATS, b'{"name":"a","role":"caller","successor":""}')
        if values is POISON:
            assert eventually(lambda: counted(settings, HEARTBEATS) == 2 * len(POISON))
        assert gateway.submit_blocking("t:after", AdvanceTime()).code is None

    assert engine.error is None
    assert not engine._stopping.is_set()


def test_a_listing_shows_junk_among_the_dead_letters(
    settings: Settings, engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every record of the topic is listed: a letter as such, any other as what it is. Each can be skipped."""
    poison(settings, DEAD_LETTERS, *POISON, b"\x1b[2Jcleared")
    poison(settings, COMMANDS, b"nonsense")
    with KafkaGateway(settings) as gateway:
        gateway.submit_blocking("t:after", AdvanceTime())
    for name in ("log", "kafka_brokers", "kafka_topic_prefix", "home", "kafka_replication"):
        monkeypatch.setenv(f"TIDINGS_{name.upper()}", str(getattr(settings, name)))

    assert main(["dead-letters", "list", "commands"]) == 0
    listed = f"\n{capsys.readouterr().out}"

    assert listed.count("\ncommands ") == len(POISON) + 2
    assert "\x1b" not in listed
    assert "'nonsense'" in listed
    for number in range(len(POISON) + 2):
        assert main(["dead-letters", "show", "commands", str(number)]) == 0
        assert main(["dead-letters", "skip", "commands", str(number), "--reason", "junk"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    with DeadLetters(settings) as letters:
        assert letters.open() == []


@pytest.mark.parametrize("topic", ["commands", "events"])
def test_a_forged_letter_is_not_sent_anywhere(settings: Settings, engine: Engine, topic: str) -> None:
    """Only what stands at the letter's place among the commands is sent again; whoever writes letters gains nothing."""
    forged = dump_command("t:forged", AdvanceTime())
    place = (topic_name(settings, topic), 0, 0)
    with KafkaGateway(settings) as gateway:
        gateway.submit_blocking("t:before", AdvanceTime())
        poison(settings, DEAD_LETTERS, dump_letter(make_letter("please", place, None, forged)))
        with DeadLetters(settings) as letters, pytest.raises(ValueError, match=r"forged|not about a command"):
            letters.retry(0)
        after = gateway.submit_blocking("t:after", AdvanceTime())
        assert gateway.submit_blocking("t:forged", AdvanceTime()).position > after.position
    assert engine.error is None


def test_the_feed_goes_on_after_junk(settings: Settings, engine: Engine) -> None:
    """A record without the headers of an event says nothing about how far the feed has come: the one before it does."""
    with KafkaGateway(settings) as gateway:
        first = gateway.submit_blocking("t:1", AdvanceTime()).position
        with EventPublisher(settings) as feed:
            assert feed.wait_for(first, 30)
        poison(settings, FEED, *POISON)
        second = gateway.submit_blocking("t:2", AdvanceTime()).position
        with EventPublisher(settings) as feed:
            assert feed.wait_for(second, 30), feed.error
        assert counted(settings, FEED) >= len(POISON)
    assert engine.error is None
