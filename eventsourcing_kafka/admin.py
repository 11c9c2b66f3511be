"""Asks a cluster about its topics, and creates topics. For the log's own topic, and for those beside it."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from eventsourcing_kafka.clients import new_client
from eventsourcing_kafka.errors import translate_errors
from eventsourcing_kafka.library import OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from eventsourcing_kafka.settings import Settings

__all__ = ["Admin", "TopicDescription"]

_ANSWER_SECONDS = 1.0
"""The time that we wait longer for an answer than the client, which gives up by itself."""
_AGAIN_SECONDS = 0.02
_UNREACHABLE = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001  public names
_BITS = (1 << 64) - 1


class TopicDescription(NamedTuple):
    """A topic as its cluster has it."""

    id: str
    """Another one if the topic is made anew under its name."""
    replicas: dict[int, int]
    """The number of replicas of each partition."""


class Admin:
    """Asks and creates. Connects when it is first used, and disconnects when it is dropped.

    All methods raise ``OperationalError`` if no broker answers within ``connect_timeout``, or if it refuses.
    """

    def __init__(self, settings: Settings) -> None:
        """Raise ProgrammingError if the settings do not fit together."""
        self._settings = settings
        self._seconds = settings.connect_timeout
        self._client = new_client(AdminClient, settings.rdkafka_client())

    def describe(self, names: Iterable[str]) -> dict[str, TopicDescription]:
        """Return those of these topics that exist."""
        asked = self._client.describe_topics(TopicCollection(list(names)), request_timeout=self._seconds)
        found = {}
        for name, future in asked.items():
            try:
                topic = self._answer(future, f"Cannot ask for topic {name}")
            except OperationalError as error:
                if _code_of(error) != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                continue
            replicas = {partition.id: len(partition.replicas) for partition in topic.partitions}
            found[name] = TopicDescription(_uuid(topic.topic_id), replicas)
        return found

    def configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the settings of these topics, which must exist."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        if not resources:
            return {}
        asked = self._client.describe_configs(resources, request_timeout=self._seconds)
        return {
            resource.name: {
                name: str(entry.value)
                for name, entry in self._answer(future, f"Cannot ask for the settings of {resource.name}").items()
            }
            for resource, future in asked.items()
        }

    def create(self, name: str, *, partitions: int, replication: int, config: Mapping[str, str]) -> None:
        """Create a topic, unless another process has just done so, and wait until every partition can be used."""
        topic = NewTopic(name, partitions, replication, config=dict(config))
        future = self._client.create_topics([topic], request_timeout=self._seconds)[name]
        try:
            self._answer(future, f"Cannot create topic {name}")
        except OperationalError as error:
            if _code_of(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        self._wait_until_usable(name, partitions)

    def _wait_until_usable(self, name: str, partitions: int) -> None:
        deadline = monotonic() + self._seconds
        while not self._can_be_used(name, partitions):
            if monotonic() > deadline:
                raise OperationalError(f"Topic {name} was created, and cannot be used after {self._seconds} s")
            sleep(_AGAIN_SECONDS)

    def add_partitions(self, name: str, partitions: int) -> None:
        """Give a topic this many partitions, more than it has, and wait until every partition can be used."""
        future = self._client.create_partitions([NewPartitions(name, partitions)], request_timeout=self._seconds)[name]
        self._answer(future, f"Cannot add partitions to topic {name}")
        self._wait_until_usable(name, partitions)

    def _can_be_used(self, name: str, partitions: int) -> bool:
        found = self.describe([name]).get(name)
        if found is None or len(found.replicas) < partitions:
            return False
        latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        ends = {TopicPartition(name, number): latest for number in found.replicas}
        for future in self._client.list_offsets(ends, request_timeout=self._seconds).values():
            try:
                self._answer(future, f"Cannot find the end of {name}")
            except OperationalError as error:
                if _code_of(error) in _UNREACHABLE or _code_of(error) is None:
                    raise
                return False
        return True

    def _answer(self, future: Any, doing: str) -> Any:
        try:
            with translate_errors(doing):
                return future.result(self._seconds + _ANSWER_SECONDS)
        except OperationalError as error:
            if isinstance(error.__cause__, TimeoutError) or _code_of(error) in _UNREACHABLE:
                raise OperationalError(
                    f"Cannot connect to {self._settings.bootstrap_servers}: {error}"
                ) from error.__cause__
            raise


def _code_of(error: OperationalError) -> int | None:
    cause = error.__cause__
    return cause.args[0].code() if isinstance(cause, KafkaException) else None


def _uuid(found: Any) -> str:
    """Return a topic's id as Kafka's tools write it elsewhere: in hexadecimal. Empty if the broker gives none."""
    high, low = (found.get_most_significant_bits(), found.get_least_significant_bits()) if found else (0, 0)
    return str(UUID(int=(high & _BITS) << 64 | (low & _BITS))) if high or low else ""
