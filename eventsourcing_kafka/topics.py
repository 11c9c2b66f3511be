"""Creates the log's topic, and refuses a topic that could lose data."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

from eventsourcing_kafka.clients import connect
from eventsourcing_kafka.errors import UnsafeTopic, translate_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventsourcing_kafka.settings import Settings

__all__ = ["ensure_topic", "topic_config", "unsafe_settings"]

RECORD_BYTES = 8 * 1024 * 1024


def topic_config(replication_factor: int) -> dict[str, str]:
    """Return the settings that a log's topic must have."""
    return {
        "cleanup.policy": "delete",  # compaction would delete all records, because they have no key
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(RECORD_BYTES),
        "min.insync.replicas": str(
            replication_factor // 2 + 1
        ),  # so that an acknowledged record survives the loss of a disk
        "unclean.leader.election.enable": "false",
    }


def unsafe_settings(actual: Mapping[str, str], replication_factor: int, replicas: int) -> list[str]:
    """Return a sentence for each setting that could lose data or refuse a batch; an empty list if there is none."""
    wanted = topic_config(replication_factor)
    at_least = {"max.message.bytes", "min.insync.replicas"}
    problems = [
        f"{name} is {actual.get(name)}, must be {'at least ' if name in at_least else ''}{value}"
        for name, value in wanted.items()
        if (int(actual.get(name, "0")) < int(value) if name in at_least else actual.get(name) != value)
    ]
    if replicas < replication_factor:
        problems.append(f"replication factor is {replicas}, must be at least {replication_factor}")
    elif replicas > 1 and int(actual.get("min.insync.replicas", "1")) > replicas:
        problems.append(f"min.insync.replicas is over the replication factor {replicas}: nothing can be written")
    return problems


def ensure_topic(settings: Settings, *, create: bool | None = None) -> str:
    """Create the topic if it does not exist, check its settings, and return its unique id.

    ``create`` overrides ``Settings.create_topic``: if it is False, a missing topic is an error.

    Raises:
        UnsafeTopic: the topic does not exist, lacks the partition, or has a setting that could lose data.
        OperationalError: the broker cannot be reached, or refuses.
    """
    create = settings.create_topic if create is None else create
    with (
        translate_errors(f"Cannot ask for topic {settings.topic}"),
        closing(connect(KafkaAdminClient, settings.kafka_python_client())) as admin,
    ):
        found = _describe(admin, settings.topic)
        if found is None and create:
            _create(admin, settings)
            found = _describe(admin, settings.topic)
        if found is None:
            raise UnsafeTopic(f"Topic {settings.topic} does not exist")
        partition = next((p for p in found["partitions"] if p["partition_index"] == settings.partition), None)
        if partition is None:
            raise UnsafeTopic(f"Topic {settings.topic} has no partition {settings.partition}")
        described = admin.describe_configs([ConfigResource("topic", settings.topic)], config_filter="all")
        actual = {name: str(config["value"]) for name, config in described["topic"][settings.topic].items()}
        problems = unsafe_settings(actual, settings.replication_factor, len(partition["replica_nodes"]))
        if problems:
            raise UnsafeTopic(f"Topic {settings.topic} could lose data: {'; '.join(problems)}")
        return str(found.get("topic_id") or settings.topic)


def _describe(admin: Any, topic: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = admin.describe_topics([topic])[0]
    except UnknownTopicOrPartitionError:
        return None
    return found if found["error_code"] == 0 else None


def _create(admin: Any, settings: Settings) -> None:
    try:
        admin.create_topics(
            {
                settings.topic: {
                    "num_partitions": settings.partitions,
                    "replication_factor": settings.replication_factor,
                    "configs": topic_config(settings.replication_factor),
                }
            },
            wait_for_metadata=True,
        )
    except TopicAlreadyExistsError:  # another process has just created it
        admin.wait_for_topics([settings.topic])
