"""What docs/kafka.md promises to other services, on a real broker: its JSON, keys and headers, the reasons of dead letters."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from consumers.engine.engine import Engine
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.dead_letters import DeadLetters
from consumers.kafka.gateway import KafkaGateway
from consumers.wiring import open_log
from domain.account import DepositCash
from messages.commands import COMMAND_ID_MAX, AdvanceTime, dump_command, dump_record
from settings import Settings
from tests.consumers.kafka_contract import message_of, records, validator
from tests.consumers.processes import ROOT, kafka_settings

PAGE = (ROOT / "docs" / "kafka.md").read_text(encoding="utf-8")
TOPICS = dict(re.findall(r"^\| `tidings\.([\w-]+)` \| .* \| (.*) \| [\w ]+ \|$", PAGE, re.MULTILINE))
REASONS = dict(re.findall(r"^\| (.*) \| ((?:the|`the) .*) \|$", PAGE.partition("| a dead letter |")[2], re.MULTILINE))
EXAMPLE = re.findall(r"^ *```json\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)

NOOP = dump_command("t:good", AdvanceTime())

DEAD: dict[str, list[tuple[bytes, bytes | None, str]]] = {
    "not JSON, not UTF-8, nested too deeply, empty": [
        (b"nonsense", None, "JSON is malformed"),
        (b'{"command_id":"\xff","type":"AdvanceTime","data":{}}', None, "utf-8"),
        (b"[" * 100_000, None, "recursion"),
        (b"", None, "truncated"),
    ],
    "`command_id`, `type` or `data` missing; other fields beside them": [
        (b'{"type":"AdvanceTime","data":{}}', None, "`command_id`"),
        (b'{"command_id":"x","data":{}}', None, "`type`"),
        (b'{"command_id":"x","type":"AdvanceTime"}', None, "`data`"),
        (b'{"command_id":"x","type":"AdvanceTime","data":{},"more":1}', None, "`more`"),
    ],
    "an unknown `type`, a `command_id` of more than 200 characters": [
        (b'{"command_id":"x","type":"Nonsense","data":{}}', None, "type"),
        (b'{"command_id":"%s","type":"AdvanceTime","data":{}}' % (b"x" * (COMMAND_ID_MAX + 1)), None, "command_id"),
    ],
    "more than 1,000 commands, or more than 1 MiB (the broker refuses that first)": [
        (dump_record([NOOP] * 1_001), None, "at most 1000 commands")
    ],
    "a key that is neither the market nor the account of its command": [
        (dump_command("svc:1", DepositCash("ac_1", 5)), b"ac_2", "the record's key")
    ],
}
"""Values, keys and reasons for each row of the page's table, but the one about an error of ours (test_dead_letters.py)."""


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


def produce(settings: Settings, pairs: list[tuple[bytes, bytes | None]]) -> None:
    """Send records with these values and keys as another service would."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka_brokers, acks="all")
    for value, key in pairs:
        producer.send(f"{settings.kafka_topic_prefix}commands", value, key).get(timeout=10)
    producer.close()


def test_its_json_is_declared_decided_and_answered(settings: Settings, gateway: KafkaGateway) -> None:
    """The command for other languages fits the schema; the engine replies to it once, under its `reply_to` as the key."""
    (text,) = EXAMPLE
    command = json.loads(text)
    assert validator("commands", "payload").is_valid(command)

    produce(settings, [(text.encode(), None)])
    gateway.submit_blocking("t:after", AdvanceTime())

    replies = [
        (message.key(), reply)
        for topic, message in records(settings.kafka_brokers, settings.kafka_topic_prefix)
        if topic == "replies"
        for reply in json.loads(message.value() or b"")
        if reply["command_id"] == command["command_id"]
    ]
    assert [(key, reply["code"]) for key, reply in replies] == [(b"wire-service-1", "ACCOUNT_NOT_FOUND")]


def test_a_dead_letter_states_the_reason_of_the_page(settings: Settings, gateway: KafkaGateway) -> None:
    """For each row of its table."""
    assert set(REASONS) == {*DEAD, "a command on which the engine failed, an error of ours"}
    cases = [case for group in DEAD.values() for case in group]
    produce(settings, [(value, key) for value, key, _ in cases])
    gateway.submit_blocking("t:after", AdvanceTime())

    with DeadLetters(settings) as letters:
        found = [each.letter for each in letters.open()]

    assert [letter.raw for letter in found] == [value for value, _, _ in cases]
    for (_, _, reason), letter in zip(cases, found, strict=True):
        assert reason.lower() in letter.reason.lower()


def test_keys_and_headers_are_those_of_asyncapi() -> None:
    """A topic without keys on the page has none on the other page either; the feed has the same headers on both."""
    assert set(TOPICS) == {"commands", "orders", "replies", "feed", "events", "dead-letters"}
    for topic, key in TOPICS.items():
        declared = message_of(topic)["bindings"]["kafka"]["key"]["description"]
        assert (declared == "none") == (key == "none"), topic
    (named,) = re.findall(r"the headers are (.*?)\.", PAGE.replace("\n", " "))
    assert re.findall(r"`(\w+)`", named) == message_of("feed")["headers"]["required"]
    assert [topic for topic in TOPICS if "headers" in message_of(topic)] == ["orders", "replies", "feed"]
