"""The topics and their settings. A topic that is missing is made; one that could lose data is refused.

| topic | holds | kept |
|---|---|---|
| `commands` | commands of other services; a partition for each partition of the log | 7 days: older ones are lost |
| `orders` | signed orders, cancels and amendments of trading services; partitions as the log | 7 days |
| `events` | the log; `eventsourcing_kafka` makes and checks it | for ever |
| `replies` | replies to commands, derived from the log; partitions as the log, by receiver | 1 day, as the operator likes |
| `dead-letters` | values that are no commands, commands that nobody could decide, decisions about them | for ever |
| `feed` | one record an event, derived from the log; partitions as the log | for ever, as the operator likes |
| `heartbeats` | heartbeats of engines and standbys; partitions as the log | 1 hour, as the operator likes |
| `transfers` | cash between partitions, written by engines; partitions as the log; none if that has one | 7 days |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import eventsourcing_kafka as es_kafka
from consumers.kafka.log_settings import log_settings
from eventsourcing_kafka import UnsafeTopic

if TYPE_CHECKING:
    from settings import Settings

COMMANDS: Final = "commands"
ORDERS: Final = "orders"
EVENTS: Final = "events"
REPLIES: Final = "replies"
DEAD_LETTERS: Final = "dead-letters"
FEED: Final = "feed"
HEARTBEATS: Final = "heartbeats"
TRANSFERS: Final = "transfers"

RECORD_BYTES_MAX: Final = 1024 * 1024
"""The largest value of a record of commands or replies."""

_DAY_MS: Final = 24 * 3600 * 1000
_ENVELOPE_BYTES: Final = 64 * 1024
"""Room for what Kafka puts around a value."""


@dataclass(frozen=True, slots=True)
class _Topic:
    """The settings that a topic must have."""

    kept_ms: int
    derived: bool = False
    """True if it is made from the log: then the operator chooses how long it is kept."""
    by_partition: bool = False
    """True if it has a partition for each partition of the log."""
    of_several: bool = False
    """True if there is none where the log has one partition."""
    bytes_max: int = RECORD_BYTES_MAX + _ENVELOPE_BYTES
    compression: str = "uncompressed"
    """The broker decompresses what comes: engines read it whatever codec its sender uses, and no small record of a stranger
    becomes a large one in a reader's memory."""

    def config(self, replication: int) -> dict[str, str]:
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self.kept_ms),
            "retention.bytes": "-1",
            "max.message.bytes": str(self.bytes_max),
            "compression.type": self.compression,
            "min.insync.replicas": str(replication // 2 + 1),
            "unclean.leader.election.enable": "false",
            # By the broker's clock: it refuses records of a sender whose clock is ahead, and expires those of one in the past.
            "message.timestamp.type": "LogAppendTime",
        }


TOPICS: Final[Mapping[str, _Topic]] = {
    COMMANDS: _Topic(7 * _DAY_MS, by_partition=True),
    ORDERS: _Topic(7 * _DAY_MS, by_partition=True),
    REPLIES: _Topic(_DAY_MS, derived=True, by_partition=True),
    DEAD_LETTERS: _Topic(-1, bytes_max=2 * RECORD_BYTES_MAX),
    FEED: _Topic(-1, derived=True, by_partition=True, bytes_max=2 * RECORD_BYTES_MAX, compression="producer"),
    HEARTBEATS: _Topic(_DAY_MS // 24, derived=True, by_partition=True),
    TRANSFERS: _Topic(7 * _DAY_MS, by_partition=True, of_several=True),
}
"""All topics except the log."""


def topic_name(settings: "Settings", topic: str) -> str:
    """Return the name of one of our topics on the broker."""
    return f"{settings.kafka_topic_prefix}{topic}"


def ensure_topics(settings: "Settings", *, create: bool = True) -> None:
    """Create missing topics, the log's included, and check the settings of all.

    Raises:
        UnsafeTopic: a topic is missing (without `create`), or a setting could lose data; names every such setting.
        OperationalError: no broker answers, or it refuses.
    """
    problems = check_topics(settings, create=create)
    if problems:
        raise UnsafeTopic("\n".join(problems))


def topic_id(settings: "Settings", topic: str) -> str:
    """Return the unique id of one of our topics; a topic made anew under its name has another one.

    Raises:
        UnsafeTopic: it does not exist.
        OperationalError: as `ensure_topics`.
    """
    name = topic_name(settings, topic)
    found = es_kafka.Admin(log_settings(settings)).describe([name])
    if name not in found:
        raise UnsafeTopic(f"Topic {name} does not exist")
    return found[name].id


@lru_cache(maxsize=8)
def ensure_topics_once(settings: "Settings") -> None:
    """Call `ensure_topics` once in a process, because each part of an engine asks for it. A failure is not remembered."""
    ensure_topics(settings)


def check_topics(settings: "Settings", *, create: bool = False) -> list[str]:
    """Return a line for each topic that is missing or could lose data; it lists all that is wrong with the topic."""
    found = []
    try:
        es_kafka.ensure_topic(log_settings(settings), create=create)
    except UnsafeTopic as error:
        found.append(str(error))
    admin = es_kafka.Admin(log_settings(settings))
    several = settings.partitions > 1
    names = {topic: topic_name(settings, topic) for topic, spec in TOPICS.items() if several or not spec.of_several}
    described = admin.describe(names.values())
    missing = [topic for topic, name in names.items() if name not in described]
    if missing and create:
        for topic in missing:
            admin.create(
                names[topic],
                partitions=settings.partitions if TOPICS[topic].by_partition else 1,
                replication=settings.kafka_replication,
                config=TOPICS[topic].config(settings.kafka_replication),
            )
        described = admin.describe(names.values())
    configs = admin.configs(described)
    for topic, name in names.items():
        if name not in described:
            found.append(f"Topic {name} does not exist")
        elif problems := _problems(settings, topic, described[name].replicas, configs[name]):
            found.append(f"Topic {name} could lose data: {'; '.join(problems)}")
    return found


def grow_topics(settings: "Settings", partitions: int) -> list[str]:
    """Give every topic that has a partition for each of the log's this many, and make those that are missing.

    Returns the names of the topics that grew. Partitions are never taken away: ids say where things live.

    Raises:
        UnsafeTopic: a topic has more partitions, or a setting could lose data. Then no topic has grown.
        OperationalError: as `ensure_topics`. Some topics may have grown; the same call goes on.
    """
    wanted = settings.model_copy(update={"partitions": partitions})
    admin = es_kafka.Admin(log_settings(settings))
    names = [topic_name(settings, topic) for topic, spec in TOPICS.items() if spec.by_partition]
    names.append(topic_name(settings, EVENTS))
    found = admin.describe(names)
    if larger := [
        f"Topic {name} has {len(topic.replicas)} partitions"
        for name, topic in found.items()
        if len(topic.replicas) > partitions
    ]:
        raise UnsafeTopic("\n".join(larger))
    ensure_topics(wanted)
    smaller = [name for name, topic in admin.describe(names).items() if len(topic.replicas) < partitions]
    for name in smaller:
        admin.add_partitions(name, partitions)
    return smaller


def _problems(settings: "Settings", topic: str, replicas: Mapping[int, int], actual: Mapping[str, str]) -> list[str]:
    return unsafe_settings(
        topic,
        actual,
        replication=settings.kafka_replication,
        replicas=min(replicas.values()),
        partitions=len(replicas),
        partition=settings.partition,
    )


def unsafe_settings(
    topic: str, actual: Mapping[str, str], *, replication: int, replicas: int, partitions: int, partition: int
) -> list[str]:
    """Return a sentence for each setting that could lose data or stop the engine, none if all are safe."""
    spec = TOPICS[topic]
    wanted = spec.config(replication)
    equal = ["cleanup.policy", "unclean.leader.election.enable", "message.timestamp.type"]
    equal += [] if spec.derived else ["retention.bytes"]
    equal += ["compression.type"] if spec.compression == "uncompressed" else []
    problems = [f"{key} is {actual.get(key)}, must be {wanted[key]}" for key in equal if actual.get(key) != wanted[key]]
    kept = int(actual.get("retention.ms", "0"))
    if not spec.derived and kept != -1 and (spec.kept_ms == -1 or kept < spec.kept_ms):
        problems.append(f"retention.ms is {kept}, must be {'-1' if spec.kept_ms == -1 else f'at least {spec.kept_ms}'}")
    problems += [
        f"{key} is {actual.get(key)}, must be at least {wanted[key]}"
        for key in ("max.message.bytes", "min.insync.replicas")
        if int(actual.get(key, "0")) < int(wanted[key])
    ]
    if replicas < replication:
        problems.append(f"replication factor is {replicas}, must be at least {replication}")
    elif int(actual.get("min.insync.replicas", "0")) > replicas:
        problems.append(f"min.insync.replicas is over the replication factor {replicas}: nothing can be written")
    if spec.by_partition and partitions <= partition:
        problems.append(f"it has {partitions} partitions, and this is partition {partition}")
    return problems
