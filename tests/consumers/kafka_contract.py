"""Holds every record that a test leaves on the broker to what docs/asyncapi.yaml declares for its topic."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import msgspec
import yaml
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from messages.commands import InvalidCommand, Submitted, UnreadableError, parse_record, record_parts
from messages.json_text import without_bom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Message

STRANGER = "stranger"
"""A header by which a test marks the records that it writes as a stranger would: they may break the page."""

PAGE = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"


@cache
def declared() -> dict[str, Any]:
    """Return the AsyncAPI page."""
    page: dict[str, Any] = yaml.safe_load(PAGE.read_text(encoding="utf-8"))
    return page


def message_of(topic: str) -> dict[str, Any]:
    """Return the declaration of the messages of a topic."""
    found: dict[str, Any] = declared()["components"]["messages"][topic]
    return found


@cache
def validator(topic: str, part: str) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of the payload, the headers or the key of a topic's messages."""
    message = message_of(topic)
    schema = message["bindings"]["kafka"]["key"] if part == "key" else message[part]
    return jsonschema_rs.Draft202012Validator({**schema, "components": declared()["components"]}, validate_formats=True)


def violations(topic: str, key: bytes | None, value: bytes, headers: dict[str, str]) -> Iterator[str]:
    """Yield how a record breaks the page."""
    if topic == "commands":
        yield from _accepted_and_undeclared(value)
        return
    try:
        payload = msgspec.json.decode(value)
    except msgspec.DecodeError:
        yield f"is no JSON: {value[:100]!r}"
        return
    parts = {"payload": payload, "key": key and key.decode()}
    if "headers" in message_of(topic):
        parts["headers"] = headers
    elif headers:
        yield f"has headers {headers}, none are declared"
    for part, found in parts.items():
        for error in validator(topic, part).iter_errors(found):
            yield f"{part}: {error.message} at {error.instance_path}"


def _accepted_and_undeclared(value: bytes) -> Iterator[str]:
    """Yield the commands that the engine accepts and the page does not declare. Tests send others, to see them refused."""
    try:
        pairs = zip(record_parts(value), parse_record(value), strict=True)
    except UnreadableError:
        return
    for part, command in pairs:
        if isinstance(command, Submitted) and not isinstance(command.command, InvalidCommand):
            for error in validator("commands", "payload").iter_errors(msgspec.json.decode(without_bom(part))):
                yield f"{part!r}: {error.message}"


def records(brokers: str, prefix: str) -> Iterator[tuple[str, Message]]:
    """Yield every record of the topics with a prefix, and its topic without it."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"{prefix}contract",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
    )
    try:
        topics = consumer.list_topics(timeout=10).topics
        parts = [
            TopicPartition(topic, number, OFFSET_BEGINNING)
            for topic, found in topics.items()
            if topic.startswith(prefix) and topic.removeprefix(prefix) in declared()["channels"]
            for number in found.partitions
        ]
        for part in parts:
            consumer.assign([part])
            while True:
                message = consumer.poll(10)
                assert message is not None, "the end is reached before"
                if (error := message.error()) is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    break
                yield part.topic.removeprefix(prefix), message
    finally:
        consumer.close()


def check_topics_of(brokers: str, prefix: str) -> None:
    """Fail if a record of the topics with a prefix breaks the page."""
    found = [
        f"{topic} {message.offset()}: {violation}"
        for topic, message in records(brokers, prefix)
        if STRANGER not in dict(message.headers() or ())
        for violation in violations(
            topic,
            message.key(),
            message.value() or b"",
            {name: (value or b"").decode() for name, value in message.headers() or ()},
        )
    ]
    assert not found, "\n".join(found[:10])
