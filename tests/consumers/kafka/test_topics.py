"""The topics: made with safe settings, and refused by name where they could lose data."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from api.cli.main import main
from consumers.engine.engine import Engine
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.event_publisher import EventPublisher
from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.topics import (
    COMMANDS,
    DEAD_LETTERS,
    EVENTS,
    FEED,
    REPLIES,
    TOPICS,
    check_topics,
    ensure_topics,
    grow_topics,
)
from consumers.kafka.topics import unsafe_settings as unsafe
from consumers.wiring import open_log
from domain.account import OpenAccount
from eventsourcing_kafka import UnsafeTopic
from settings import Settings
from tests.consumers.processes import kafka_settings

ALL = (*(topic for topic, spec in TOPICS.items() if not spec.of_several), EVENTS)


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> Settings:
    """The settings of a fresh log on the run's broker."""
    return kafka_settings(tmp_path, kafka, topic_prefix)


@pytest.fixture
def admin(settings: Settings) -> Iterator[Any]:
    """Kafka's own tool."""
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka_brokers)) as client:
        yield client


def alter(admin: Any, settings: Settings, topic: str, **config: str) -> None:
    """Change settings of one of our topics, `retention_ms` for retention.ms."""
    named = {name.replace("_", "."): value for name, value in config.items()}
    admin.alter_configs([ConfigResource("topic", f"{settings.kafka_topic_prefix}{topic}", named)])


def test_what_is_missing_is_named_and_then_made(settings: Settings) -> None:
    """`topics check` makes nothing; `topics create` makes all, safely."""
    missing = check_topics(settings)

    assert {f"Topic {settings.kafka_topic_prefix}{topic} does not exist" for topic in ALL} == set(missing)
    assert missing == check_topics(settings)
    ensure_topics(settings)
    assert check_topics(settings) == []


def test_topics_grow_and_never_shrink(settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """All that has a partition for each of the log's gets more, while an engine runs; what is missing is made. Twice is once."""
    for name in ("home", "log", "kafka_brokers", "kafka_topic_prefix", "kafka_replication"):
        monkeypatch.setenv(f"TIDINGS_{name.upper()}", str(getattr(settings, name)))
    engine = Engine(open_log(settings), KafkaCommandSource(settings))
    engine.start()
    try:
        engine.wait_until_ready(30)
        assert main(["topics", "grow", "3"]) == 0
        with KafkaGateway(settings) as gateway:
            assert gateway.submit_blocking("open", OpenAccount("", "Ada")).code is None
    finally:
        engine.stop()
    assert "TIDINGS_PARTITIONS=3 for every process: first for engines" in capsys.readouterr().out
    three = [settings.model_copy(update={"partitions": 3, "partition": each}) for each in range(3)]
    assert [check_topics(each) for each in three] == [[], [], []]
    assert grow_topics(settings, 3) == []
    monkeypatch.setenv("TIDINGS_PARTITIONS", "2")
    assert main(["topics", "grow", "2"]) == 1
    assert "has 3 partitions" in capsys.readouterr().err
    assert main(["topics", "grow", "1"]) == 2


@pytest.mark.parametrize(
    ("topic", "config", "complaint"),
    [
        (COMMANDS, {"retention_ms": "1000"}, "retention.ms is 1000, must be at least 604800000"),
        (COMMANDS, {"cleanup_policy": "compact"}, "cleanup.policy is compact, must be delete"),
        (COMMANDS, {"retention_bytes": "1000000"}, "retention.bytes is 1000000, must be -1"),
        (COMMANDS, {"compression_type": "gzip"}, "compression.type is gzip, must be uncompressed"),
        (COMMANDS, {"max_message_bytes": "1000"}, "max.message.bytes is 1000, must be at least 1114112"),
        (REPLIES, {"cleanup_policy": "compact"}, "cleanup.policy is compact, must be delete"),
        (DEAD_LETTERS, {"retention_ms": "604800000"}, "retention.ms is 604800000, must be -1"),
        (DEAD_LETTERS, {"max_message_bytes": "1048588"}, "max.message.bytes is 1048588, must be at least 2097152"),
        (FEED, {"unclean_leader_election_enable": "true"}, "unclean.leader.election.enable is true, must be false"),
        (
            COMMANDS,
            {"message_timestamp_type": "CreateTime"},
            "message.timestamp.type is CreateTime, must be LogAppendTime",
        ),
        (EVENTS, {"retention_ms": "1000"}, "retention.ms is 1000, must be -1"),
    ],
)
def test_each_unsafe_setting_is_refused_by_name(
    settings: Settings, admin: Any, topic: str, config: dict[str, str], complaint: str
) -> None:
    """The message names the topic, the setting, its value, and what it must be."""
    ensure_topics(settings)
    alter(admin, settings, topic, **config)

    (line,) = check_topics(settings)

    assert f"Topic {settings.kafka_topic_prefix}{topic} could lose data" in line
    assert complaint in line
    with pytest.raises(UnsafeTopic, match=complaint):
        ensure_topics(settings)


def test_derived_topics_are_kept_as_the_operator_likes(settings: Settings, admin: Any) -> None:
    """Replies and feed can be made again from the log."""
    ensure_topics(settings)
    for topic in (REPLIES, FEED):
        alter(admin, settings, topic, retention_ms="60000", retention_bytes="100000000")

    assert check_topics(settings) == []


def test_copies_and_partitions_are_counted() -> None:
    """Too few copies, more copies needed than there are, and a missing partition."""
    config = TOPICS[COMMANDS].config(3)

    assert unsafe(COMMANDS, config, replication=3, replicas=3, partitions=2, partition=1) == []
    assert unsafe(COMMANDS, config, replication=3, replicas=2, partitions=2, partition=1) == [
        "replication factor is 2, must be at least 3"
    ]
    assert unsafe(COMMANDS, config, replication=1, replicas=1, partitions=2, partition=2) == [
        "min.insync.replicas is over the replication factor 1: nothing can be written",
        "it has 2 partitions, and this is partition 2",
    ]
    assert unsafe(
        COMMANDS, config | {"min.insync.replicas": "1"}, replication=3, replicas=3, partitions=1, partition=0
    ) == ["min.insync.replicas is 1, must be at least 2"]


def test_nothing_starts_on_an_unsafe_topic(settings: Settings, admin: Any) -> None:
    """Neither engine nor gateway nor event publisher, whichever topic it is; each names it."""
    ensure_topics(settings)
    alter(admin, settings, DEAD_LETTERS, retention_ms="1000")
    name = f"{settings.kafka_topic_prefix}dead-letters"

    with pytest.raises(UnsafeTopic, match=name):
        KafkaGateway(settings).start()
    with pytest.raises(UnsafeTopic, match=name):
        EventPublisher(settings).run()
    with pytest.raises(Exception, match=name):
        Engine(open_log(settings), KafkaCommandSource(settings)).run()


def test_the_command_line_says_it(
    settings: Settings, admin: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 and a line for each topic that is missing or unsafe; 0 when all is well."""
    for name in ("log", "kafka_brokers", "kafka_replication", "kafka_topic_prefix", "home"):
        monkeypatch.setenv(f"TIDINGS_{name.upper()}", str(getattr(settings, name)))

    assert main(["topics", "check"]) == 1
    assert len(ALL) == capsys.readouterr().err.count("does not exist")
    assert main(["topics", "create"]) == 0
    assert main(["topics", "check"]) == 0
    alter(admin, settings, COMMANDS, retention_ms="1000")
    alter(admin, settings, DEAD_LETTERS, retention_ms="1000")
    capsys.readouterr()
    assert main(["topics", "check"]) == 1
    assert capsys.readouterr().err.count("retention.ms is 1000") == 2
