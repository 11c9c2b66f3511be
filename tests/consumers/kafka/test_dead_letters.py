"""Values that are no commands become dead letters with a reason; the other commands of the record are decided."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource

from api.cli.main import main
from consumers.engine.engine import Engine
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.dead_letters import DeadLetters, NumberedLetter
from consumers.kafka.gateway import KafkaGateway
from consumers.wiring import open_log
from domain.account import DepositCash
from messages.commands import AdvanceTime, UnreadableError, dump_command, dump_record, parse_record, record_parts
from messages.dead_letters import VALUE_BYTES_MAX, Decision, dump_letter, make_letter, parse_letter
from settings import Settings
from tests.consumers.checks import reading, recorded
from tests.consumers.processes import kafka_settings

DEEP = b"[" * 100_000
NOOP = dump_command("t:good", AdvanceTime())


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker."""
    return kafka_settings(tmp_path, kafka, topic_prefix)


@pytest.fixture
def gateway(settings: Settings) -> Iterator[KafkaGateway]:
    """A running engine, and the way to it."""
    engine = Engine(open_log(settings), KafkaCommandSource(settings))
    engine.start()
    engine.wait_until_ready(30)
    with KafkaGateway(settings) as gateway:
        yield gateway
    engine.stop()
    assert engine.error is None


def produce(settings: Settings, *values: bytes | None, key: bytes | None = None) -> list[int]:
    """Put records into the commands as another service would; return their offsets."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka_brokers, max_request_size=20_000_000)
    topic = f"{settings.kafka_topic_prefix}commands"
    # The client insists on a key where there is no value.
    sent = [producer.send(topic, value, b"none" if value is None else key, partition=0) for value in values]
    offsets = [each.get(timeout=10).offset for each in sent]
    producer.close()
    return offsets


def letters_of(settings: Settings) -> list[NumberedLetter]:
    """Return the open letters."""
    with DeadLetters(settings) as letters:
        return letters.open()


UNREADABLE: list[tuple[bytes | None, str]] = [
    (b"nonsense", "JSON is malformed"),
    (b"", "truncated"),
    (None, "truncated"),
    (b'{"command_id":"x","type":"AdvanceTime"}', "missing required field `data`"),
    (b'{"command_id":"x","type":"AdvanceTime","data":{},"more":1}', "unknown field `more`"),
    (b'{"command_id":"x","type":"Nonsense","data":{}}', "type is not the name of a command"),
    (b'{"command_id":"due:x","type":"AdvanceTime","data":{}}', "not beginning with due:"),
    (b'{"command_id":"","type":"AdvanceTime","data":{}}', "1 to 200 printable characters"),
    (b'{"command_id":"\xff","type":"AdvanceTime","data":{}}', "utf-8"),
    (DEEP, "recursion"),
    (b"[" + NOOP, "truncated"),
    (dump_record([NOOP] * 1_001), "at most 1000 commands"),
    (b"\0" * 900_000, "JSON is malformed"),
]


def test_every_kind_becomes_a_dead_letter_with_its_reason(settings: Settings, gateway: KafkaGateway) -> None:
    """The engine goes on after each of them; the bytes are kept as they came."""
    offsets = produce(settings, *[value for value, _ in UNREADABLE])
    assert gateway.submit_blocking("t:after", AdvanceTime()).code is None

    letters = [found.letter for found in letters_of(settings)]

    topic = f"{settings.kafka_topic_prefix}commands"
    assert [(topic, 0, offset) for offset in offsets] == [letter.place[:3] for letter in letters]
    for (value, reason), letter in zip(UNREADABLE, letters, strict=True):
        assert reason.lower() in letter.reason.lower()
        assert (value or b"") == letter.raw
    with reading(settings) as recorder:
        assert [event.command_id for event in recorded(recorder) if event.digest] == ["t:after"]


def test_one_among_others_leaves_them_in_peace(settings: Settings, gateway: KafkaGateway) -> None:
    """A letter holds only its own command and says which one of the record it was."""
    bad = b'{"command_id":"x","type":"Nonsense","data":{}}'
    (offset,) = produce(settings, dump_record([NOOP, bad, dump_command("t:other", AdvanceTime()), b"7"]))
    gateway.submit_blocking("t:after", AdvanceTime())

    letters = [found.letter for found in letters_of(settings)]

    assert [(offset, 1, bad), (offset, 3, b"7")] == [(each.offset, each.index, each.raw) for each in letters]
    with reading(settings) as recorder:
        assert [event.command_id for event in recorded(recorder) if event.digest] == ["t:good", "t:other", "t:after"]


def test_a_key_must_be_the_market_or_account(settings: Settings, gateway: KafkaGateway) -> None:
    """The key chooses the partition: another account's key is refused; the account's own key and no key are accepted."""
    paid = [dump_command(f"svc:{number}", DepositCash("ac_1", 5)) for number in range(3)]
    produce(settings, paid[0], key=b"ac_2")
    produce(settings, paid[1], key=b"ac_1")
    produce(settings, paid[2])
    produce(settings, NOOP, key=b"any")
    gateway.submit_blocking("t:after", AdvanceTime())

    (found,) = letters_of(settings)

    assert ("ac_2", paid[0]) == (found.letter.key, found.letter.raw)
    assert "neither the market nor the account" in found.letter.reason
    with reading(settings) as recorder:
        decided = [event.command_id for event in recorded(recorder) if event.digest]
    assert decided == ["svc:1", "svc:2", "t:good", "t:after"]


def test_too_large_a_record_is_kept_by_its_beginning(settings: Settings, gateway: KafkaGateway) -> None:
    """The topic was set to take larger records: the letter has the size and the beginning, and cannot be sent again."""
    topic = f"{settings.kafka_topic_prefix}commands"
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_brokers)
    admin.alter_configs([ConfigResource("topic", topic, {"max.message.bytes": "8000000"})])
    admin.close()
    (offset,) = produce(settings, b"x" * 3_000_000)
    gateway.submit_blocking("t:after", AdvanceTime())

    (found,) = letters_of(settings)

    assert (offset, 3_000_000, True, None) == (
        found.letter.offset,
        found.letter.size,
        found.letter.truncated,
        found.letter.raw,
    )
    with DeadLetters(settings) as letters, pytest.raises(ValueError, match="only the beginning"):
        letters.retry(found.number)


def test_compressed_records_are_understood(settings: Settings, gateway: KafkaGateway) -> None:
    """The broker decompresses records, whatever codec the sender used."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka_brokers, compression_type="gzip")
    producer.send(f"{settings.kafka_topic_prefix}commands", NOOP, partition=0).get(timeout=10)
    producer.close()
    gateway.submit_blocking("t:after", AdvanceTime())

    assert letters_of(settings) == []


def test_what_the_engine_fails_on_lands_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours: the command is kept, the others are decided. After a fix, a retry decides it too."""

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("an error of ours")

    bad = dump_command("svc:bad", DepositCash("ac_1", 5))
    engine = Engine(open_log(settings), KafkaCommandSource(settings))
    with KafkaGateway(settings) as gateway:
        (offset,) = produce(settings, dump_record([NOOP, b"7", bad]))
        with monkeypatch.context() as patch:
            patch.setattr("domain.decided.reject", fail)  # there is no such account, which only `bad` asks for
            engine.start()
            gateway.submit_blocking("t:after", AdvanceTime())
            engine.stop()
        unreadable, failed = letters_of(settings)

        assert (offset, 1, b"7") == (unreadable.letter.offset, unreadable.letter.index, unreadable.letter.raw)
        assert (offset, 2, bad) == (failed.letter.offset, failed.letter.index, failed.letter.raw)
        with DeadLetters(settings) as letters:
            letters.retry(failed.number)
        engine = Engine(open_log(settings), KafkaCommandSource(settings))
        engine.start()
        gateway.submit_blocking("t:later", AdvanceTime())
        engine.stop()

    assert [unreadable] == letters_of(settings)
    with reading(settings) as recorder:
        decided = [event.command_id for event in recorded(recorder) if event.digest]
    assert decided == ["t:good", "t:after", "svc:bad", "t:later"]


def test_retry_and_skip_close_a_letter(settings: Settings, gateway: KafkaGateway) -> None:
    """A retried letter is sent again, and comes back if it is still no command; a skipped letter cannot be found any more."""
    produce(settings, b"one", b"two")
    gateway.submit_blocking("t:1", AdvanceTime())
    one, two = letters_of(settings)
    with DeadLetters(settings) as letters:
        letters.skip(one.number, "a test of theirs")
        letters.retry(two.number)
        gateway.submit_blocking("t:2", AdvanceTime())
        (again,) = letters.open()

        assert (again.letter.raw, again.letter.offset > two.letter.offset) == (b"two", True)
        for number in (one.number, two.number, 10_000):
            with pytest.raises(LookupError, match=f"no open dead letter {number}"):
                letters.find(number)


def test_a_letter_that_was_written_twice_is_listed_once(settings: Settings, gateway: KafkaGateway) -> None:
    """This happens when the engine ends between the letter and the next batch; a decision about it holds for both."""
    produce(settings, b"one")
    gateway.submit_blocking("t:1", AdvanceTime())
    (found,) = letters_of(settings)
    producer = KafkaProducer(bootstrap_servers=settings.kafka_brokers)
    producer.send(f"{settings.kafka_topic_prefix}dead-letters", dump_letter(found.letter)).get(timeout=10)
    producer.close()

    assert [found] == letters_of(settings)
    with DeadLetters(settings) as letters:
        letters.skip(found.number, "")
        assert letters.open() == []


# --- the forms


@given(st.binary(max_size=2_000) | st.text(max_size=500).map(str.encode))
@example(b"\0" * 300)
@example("\ud7ff€".encode())
def test_a_letter_keeps_the_bytes_and_stays_small(value: bytes) -> None:
    """Any bytes come back from the JSON, which is at most a third longer than they are."""
    letter = make_letter("why", ("commands", 0, 7), 3, value)
    text = dump_letter(letter)

    assert letter == parse_letter(text)
    assert value == letter.raw
    assert len(text) <= len(value) * 4 / 3 + 500


def test_more_than_is_kept_is_said() -> None:
    """The size is that of the whole value."""
    letter = make_letter("why", ("commands", 0, 7), None, b"x" * (VALUE_BYTES_MAX + 1), b"k" * 1_000)

    assert (letter.size, letter.truncated, letter.raw) == (VALUE_BYTES_MAX + 1, True, None)
    assert len(dump_letter(letter)) < 100_000
    decision = Decision(3, "skipped", "no")
    assert decision == parse_letter(dump_letter(decision))


@given(st.binary(max_size=300) | st.text('[]{}",:0x\\ud8 \0', max_size=60).map(str.encode))
@example(DEEP)
@example(b'{"command_id":"x","type":"AdvanceTime","data":' + DEEP)
@example(b'{"command_id":"x","type":"AdvanceTime","data":{"a":' + b"[" * 900 + b"]" * 900 + b"}}")
@example(b'[{"command_id":"x","type":"AdvanceTime","data":{}},{"command_id":"\xff","type":"x","data":{}}]')
def test_whatever_comes_is_understood_or_refused(value: bytes) -> None:
    """No bytes raise anything but UnreadableError: any other error would stop the engine, again and again."""
    try:
        found = parse_record(value)
        assert len(found) == len(record_parts(value))
    except UnreadableError:
        pass


# --- the command line


def test_the_command_line_looks_after_them(
    settings: Settings, gateway: KafkaGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """List, show, retry, skip; 1 for a letter that is not there, 2 for the commands of a log that is not in Kafka."""
    for name in ("log", "kafka_brokers", "kafka_replication", "kafka_topic_prefix", "home"):
        monkeypatch.setenv(f"TIDINGS_{name.upper()}", str(getattr(settings, name)))
    produce(settings, b"one", b"two")
    gateway.submit_blocking("t:1", AdvanceTime())

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["dead-letters", *arguments])
        lines = capsys.readouterr().out.splitlines()
        return code, "\n".join(line for line in lines if not re.match(r"\d{4}-\d\d-\d\d ", line))  # the engine's log

    code, text = run("list", "commands", "--json")
    first, second = json.loads(text)
    assert (code, first["value"], second["value"]) == (0, "one", "two")
    code, text = run("list", "commands")
    assert (code, len(text.splitlines())) == (0, 2)
    code, text = run("show", "commands", str(first["number"]))
    assert (0, first) == (code, json.loads(text))
    assert run("retry", "commands", str(first["number"])) == (0, "sent again")
    assert run("skip", "commands", str(second["number"]), "--reason", "a test") == (0, "skipped")
    assert run("show", "commands", str(first["number"]))[0] == 1
    assert run("retry", "commands")[0] == 2
    monkeypatch.setenv("TIDINGS_LOG", "postgres")
    assert run("list", "commands")[0] == 2
