"""Creates the log's topic, and refuses a topic that could lose data."""

from __future__ import annotations

from contextlib import closing
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from eventsourcing.persistence import OperationalError, PersistenceError
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from eventsourcing_kafka.clients import connect
from eventsourcing_kafka.errors import LogRolledBack, UnsafeTopic, translate_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eventsourcing_kafka.settings import Settings

__all__ = ["TopicWatch", "ensure_topic", "refuse_another_topic", "topic_config", "unsafe_settings"]

RECORD_BYTES = 8 * 1024 * 1024
STOP_SECONDS = 1.0
CONFIRM_SECONDS = 1.0
LOOK_SECONDS = 60.0
"""The time between two looks at the settings of a topic that is written."""


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
        "message.timestamp.type": "LogAppendTime",  # a broker refuses records of a writer whose clock is an hour ahead
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


def refuse_another_topic(settings: Settings, topic_id: str) -> None:
    """Check the topic again, as ``ensure_topic`` does without creating it.

    Raises:
        LogRolledBack: the topic was made anew: it has another id.
        UnsafeTopic, OperationalError: as ``ensure_topic``.
    """
    found = ensure_topic(settings, create=False)
    if found != topic_id:
        raise LogRolledBack(f"Topic {settings.topic} was made anew: its id is {found}, it was {topic_id}")


class TopicWatch:
    """Looks at a topic again and again, in a thread of its own, so that no append waits for it. Keeps what it finds.

    A topic that is compacted or expires while it is written loses what was acknowledged, without any error.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        """Begin. ``look`` raises ``UnsafeTopic`` or ``LogRolledBack``; other errors of the broker mean: look again later."""
        self._look = look
        self._stopping = Event()
        self._problem: PersistenceError | None = None
        self._thread = Thread(target=self._watch, name="topic-watch", daemon=True)
        self._thread.start()

    def raise_if_unsafe(self) -> None:
        """Raise what was found, if anything was. Never waits."""
        if self._problem is not None:
            raise self._problem

    def stop(self) -> None:
        """End. A look that waits for the broker ends by itself."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):  # by the monotonic clock
            # A broker that has just started may not know the topic yet: what is found counts if it is found again.
            if self._found() and not self._stopping.wait(CONFIRM_SECONDS) and (problem := self._found()):
                self._problem = problem
                return

    def _found(self) -> PersistenceError | None:
        try:
            self._look()
        except (UnsafeTopic, LogRolledBack) as error:
            return error
        except (OperationalError, KafkaError):
            pass  # whoever appends notices that no broker answers
        return None


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
