"""Looking after the dead letters of the commands: which are open, send one again, pass over one for ever.

    with DeadLetters(settings) as letters:
        for found in letters.open(): ...
        letters.retry(found.number)

What is decided about a letter is a record of the same topic, so it is kept beside it.
"""

from collections.abc import Iterator
from time import monotonic
from typing import Any, Final, NamedTuple, Self

from eventsourcing.persistence import OperationalError
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from consumers.topics import DEAD_LETTERS, RECORD_BYTES_MAX, topic_name
from domain.money import Time
from eventsourcing_kafka.clients import connected
from eventsourcing_kafka.errors import translated
from messages.dead_letters import DeadLetter, Decision, dump_letter, parse_letter
from settings import Settings

READ_SECONDS: Final = 10.0


class Found(NamedTuple):
    """A letter with its number (its offset in the topic) and when it was written."""

    number: int
    time: Time
    letter: DeadLetter


class DeadLetters:
    """The topic `dead-letters`. A context manager; every method raises OperationalError when the broker does not answer."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected before it is entered."""
        self._settings = settings
        self._topic = TopicPartition(topic_name(settings, DEAD_LETTERS), 0)
        self._consumer: Any = None
        self._producer: Any = None

    def __enter__(self) -> Self:
        client = self._settings.kafka_client() | {
            "bootstrap_timeout_ms": 10_000,
            "metrics_enabled": False,
            "allow_auto_create_topics": False,
        }
        reading = {"group_id": None, "enable_auto_commit": False, "auto_offset_reset": "none"}
        self._consumer = connected(KafkaConsumer, client | reading)
        self._consumer.assign([self._topic])
        self._producer = connected(
            KafkaProducer, client | {"acks": "all", "max_request_size": 4 * RECORD_BYTES_MAX, "max_block_ms": 10_000}
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close(timeout=1)
        self._consumer.close(autocommit=False, timeout_ms=0)

    def open(self) -> list[Found]:
        """Return the letters about which nothing is decided; of one that was written twice, the first."""
        found: dict[tuple[str, int, int, int | None], Found] = {}
        places: dict[int, tuple[str, int, int, int | None]] = {}
        decided = set()
        for record in self._records():
            item = parse_letter(record.value)
            if isinstance(item, Decision):
                if item.letter in places:
                    decided.add(places[item.letter])
            else:
                places[record.offset] = item.place
                found.setdefault(item.place, Found(record.offset, record.timestamp * 1_000, item))
        return [each for place, each in found.items() if place not in decided]

    def find(self, number: int) -> Found:
        """Return an open letter. Raises LookupError."""
        for found in self.open():
            if found.number == number:
                return found
        raise LookupError(f"there is no open dead letter {number}")

    def retry(self, number: int) -> None:
        """Send what the letter holds to the engine again: with the same ids, so that nothing happens twice.

        Raises:
            LookupError: there is no such letter.
            ValueError: it does not hold the whole value.
        """
        letter = self.find(number).letter
        value = letter.raw
        if value is None:
            raise ValueError(f"dead letter {number} holds only the beginning of its value")
        self._send(letter.topic, letter.partition, value)
        self._decide(Decision(number, "retried", ""))

    def skip(self, number: int, reason: str) -> None:
        """Decide that nothing more is done about a letter; it stays in the topic, with the reason. Raises LookupError."""
        self.find(number)
        self._decide(Decision(number, "skipped", reason))

    def _decide(self, decision: Decision) -> None:
        self._send(self._topic.topic, self._topic.partition, dump_letter(decision))

    def _send(self, topic: str, partition: int, value: bytes) -> None:
        with translated(f"Cannot write to {topic}"):
            self._producer.send(topic, value=value, partition=partition).get(timeout=READ_SECONDS)

    def _records(self) -> Iterator[Any]:
        with translated(f"Cannot read {self._topic.topic}"):
            end = self._consumer.end_offsets([self._topic])[self._topic]
            self._consumer.seek_to_beginning(self._topic)
            deadline = monotonic() + READ_SECONDS
            while self._consumer.position(self._topic) < end:
                for record in self._consumer.poll(timeout_ms=500).get(self._topic, ()):
                    deadline = monotonic() + READ_SECONDS
                    yield record
                if monotonic() > deadline:
                    raise OperationalError(f"{self._topic.topic} cannot be read in time")
