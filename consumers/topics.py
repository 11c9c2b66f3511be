"""The topics beside the log: commands, replies, dead letters. Made and checked here; the log's own is the library's.

| topic | holds | kept |
|---|---|---|
| `commands` | what services send; a partition for each partition of the log | 7 days: what has no outcome by then is lost |
| `replies` | outcomes, derived from the log | 1 day |
| `dead-letters` | what could not be understood or decided | for ever |
"""

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

from eventsourcing_kafka import UnsafeTopic

if TYPE_CHECKING:
    from settings import Settings

COMMANDS: Final = "commands"
REPLIES: Final = "replies"
DEAD_LETTERS: Final = "dead-letters"

_DAY_MS: Final = 24 * 3600 * 1000
_KEPT_MS: Final = {COMMANDS: 7 * _DAY_MS, REPLIES: _DAY_MS, DEAD_LETTERS: -1}
RECORD_BYTES_MAX: Final = 1024 * 1024
"""The largest record of these topics; the broker's default limit is a little above."""


def topic_name(settings: "Settings", topic: str) -> str:
    """Return the name of one of our topics on the broker."""
    return f"{settings.kafka_topic_prefix}{topic}"


def ensure_topics(settings: "Settings") -> None:
    """Create the topics that are missing, and check the settings of all.

    Raises:
        UnsafeTopic: a topic is set so that commands or dead letters could be lost; says which setting.
        KafkaError: the broker cannot be reached, or refuses.
    """
    with closing(KafkaAdminClient(**settings.kafka_client(), bootstrap_timeout_ms=10_000)) as admin:
        for topic in _KEPT_MS:
            name = topic_name(settings, topic)
            if not _exists(admin, name):
                _create(admin, settings, topic)
            problems = _problems(admin, settings, topic)
            if problems:
                raise UnsafeTopic(f"Topic {name} could lose data: {'; '.join(problems)}")


def _exists(admin: Any, name: str) -> bool:
    try:
        return bool(admin.describe_topics([name])[0]["error_code"] == 0)
    except UnknownTopicOrPartitionError:
        return False


def _config(settings: "Settings", topic: str) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(_KEPT_MS[topic]),
        "retention.bytes": "-1",
        "min.insync.replicas": str(settings.kafka_replication // 2 + 1),
        "unclean.leader.election.enable": "false",
    }


def _create(admin: Any, settings: "Settings", topic: str) -> None:
    name = topic_name(settings, topic)
    made = {
        "num_partitions": settings.partitions if topic == COMMANDS else 1,
        "replication_factor": settings.kafka_replication,
        "configs": _config(settings, topic),
    }
    try:
        admin.create_topics({name: made}, wait_for_metadata=True)
    except TopicAlreadyExistsError:  # another process was first
        admin.wait_for_topics([name])


def _problems(admin: Any, settings: "Settings", topic: str) -> list[str]:
    name = topic_name(settings, topic)
    described = admin.describe_configs([ConfigResource("topic", name)], config_filter="all")
    actual = {key: str(config["value"]) for key, config in described["topic"][name].items()}
    wanted = _config(settings, topic)
    problems = [
        f"{key} is {actual.get(key)}, must be {wanted[key]}"
        for key in ("cleanup.policy", "retention.bytes", "unclean.leader.election.enable")
        if actual.get(key) != wanted[key]
    ]
    kept, least = int(actual.get("retention.ms", "0")), _KEPT_MS[topic]
    if topic != REPLIES and kept != -1 and (least == -1 or kept < least):
        problems.append(f"retention.ms is {kept}, must be {'-1' if least == -1 else f'at least {least}'}")
    if int(actual.get("min.insync.replicas", "1")) < int(wanted["min.insync.replicas"]):
        problems.append(f"min.insync.replicas must be at least {wanted['min.insync.replicas']}")
    partitions = len(admin.describe_topics([name])[0]["partitions"])
    if topic == COMMANDS and partitions <= settings.partition:
        problems.append(f"it has {partitions} partitions, and this is partition {settings.partition}")
    return problems
