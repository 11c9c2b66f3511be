"""The log in Kafka: the reader and writer of `eventsourcing_kafka`, and marks by which an old event is found again."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eventsourcing.persistence import Notification, OperationalError, PersistenceError, StoredEvent
from eventsourcing.utils import Environment

import eventsourcing_kafka as es_kafka
from consumers.engine.log import (
    START,
    Append,
    Checkpoint,
    EventBatch,
    EventHandler,
    Fenced,
    InDoubt,
    StaleCheckpoint,
    checkpoint_before,
)
from eventsourcing_kafka.reader import Fetcher

if TYPE_CHECKING:
    from settings import Settings

MARKS_MAX: Final = 8_192
"""So many places are remembered; with more every other one is forgotten: in a log of 10^9 events they are 10^5 apart."""


class KafkaAppend:
    """A batch that has been sent."""

    def __init__(self, sent: es_kafka.Append, confirmed: Callable[[], None]) -> None:
        self._sent = sent
        self._confirmed = confirmed

    def done(self) -> bool:
        """Return whether the broker has answered."""
        return self._sent.done()

    def result(self) -> range:
        """Wait until the batch is known to count, and return its positions."""
        try:
            positions = self._sent.result()
        except es_kafka.Fenced as error:
            raise Fenced(str(error)) from error
        except PersistenceError as error:
            raise InDoubt(str(error)) from error
        self._confirmed()
        return positions


class Marks:
    """Places spread over the log, bounded in number: behind the last one before an event reading soon comes to it."""

    def __init__(self) -> None:
        self.places: list[Checkpoint] = []
        self._apart = 1

    def note(self, place: Checkpoint) -> None:
        """Remember a place, unless the last one is near; they come in order, and those that came before change nothing."""
        places = self.places
        if places and place.position < places[-1].position + self._apart:
            return
        places.append(place)
        if len(places) > MARKS_MAX:
            del places[1::2]
            self._apart = max(2 * self._apart, places[-1].position // MARKS_MAX)

    def before(self, position: int) -> Checkpoint:
        """Return the last place known from which the event is still ahead."""
        return checkpoint_before(self.places, position)

    def recall(self, places: Iterable[Checkpoint]) -> None:
        """Take over what was kept with a snapshot."""
        self.places = list(places)
        if self.places:
            self._apart = max(1, self.places[-1].position // MARKS_MAX)


class KafkaLog:
    """One partition of the events topic. Positions are 1, 2, 3, ..., without a gap."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = es_kafka.Settings.from_env(Environment("", kafka_environment(settings)))
        self._identity = ""
        self._writer: es_kafka.Writer | None = None
        self._reader: es_kafka.Reader | None = None
        self._read_to: Checkpoint | None = None
        self._old: es_kafka.Reader | None = None
        self._ahead: es_kafka.Producer | None = None  # what a standby has connected ahead
        self._marks = Marks()

    @property
    def epoch(self) -> int:
        """The epoch of the claim that won."""
        assert self._writer is not None, "take over first"
        return self._writer.checkpoint.epoch

    @property
    def place(self) -> Checkpoint:
        """Where a reader goes on that knows all this writer has taken over and confirmed."""
        assert self._read_to is not None, "take over first"
        return self._read_to

    @property
    def marks(self) -> list[Checkpoint]:
        """Places by which `read` finds old events quickly; a snapshot keeps them."""
        return self._marks.places

    @marks.setter
    def marks(self, places: Iterable[Checkpoint]) -> None:
        self._marks.recall(places)

    def identity(self) -> str:
        """Return the topic's id, which a topic made anew does not have. Makes and checks the topic."""
        if not self._identity:
            try:
                topic_id = es_kafka.ensure_topic(self._settings)
            except OperationalError as error:
                raise InDoubt(str(error)) from error
            self._identity = f"kafka-{topic_id}-{self._settings.partition}"
        return self._identity

    def follow(self, apply: EventHandler, after: Checkpoint, timeout_seconds: float) -> None:
        """Pass the batches that have come behind the place."""
        self.identity()
        try:
            if self._ahead is None:
                self._ahead = es_kafka.Producer(self._settings)
            for batch in self._reading(after).read(timeout_seconds):
                self._pass(batch, apply)
        except PersistenceError as error:
            self._drop_reader()
            raise _translated(error) from error

    def take_over(self, apply: EventHandler, after: Checkpoint = START) -> None:
        """Claim the partition and read it up to the claim."""
        self._drop_writer()
        self.identity()
        try:
            reader = self._reading(after)
            ahead, self._ahead = self._ahead, None
            self._writer = es_kafka.Writer.take_over(reader, lambda batch: self._pass(batch, apply), producer=ahead)
        except es_kafka.Fenced as error:
            raise Fenced(str(error)) from error
        except PersistenceError as error:
            self._drop_reader()
            raise _translated(error) from error

    def begin(self, events: Sequence[StoredEvent]) -> Append:
        """Send the events as one record."""
        assert self._writer is not None, "take over first"
        try:
            return KafkaAppend(self._writer.begin(events, states_are_json=True), self._note)
        except es_kafka.Fenced as error:
            raise Fenced(str(error)) from error
        except PersistenceError as error:
            raise InDoubt(str(error)) from error

    def read(self, first: int, limit: int) -> Sequence[Notification]:
        """Return events from a position on."""
        found: list[Notification] = []
        at = self._marks.before(first)
        try:
            if self._old is None:
                self._old = es_kafka.Reader(self._settings)
            self._old.seek(_checkpoint(at))
            for batch in self._old.read_to(self._old.end()):
                if batch.last >= first:
                    found += batch.notifications()[max(0, first - batch.first) :]
                if len(found) >= limit:
                    break
        except PersistenceError as error:
            self._drop_old()
            raise InDoubt(str(error)) from error
        return found[:limit]

    def close(self) -> None:
        """Let the clients go. The claim stays until the next one."""
        self._drop_writer()
        self._drop_reader()
        self._drop_old()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()

    def _reading(self, after: Checkpoint) -> es_kafka.Reader:
        """Return the reader, at this place; what it has fetched already stays when it is there."""
        if self._reader is None:
            self._reader = es_kafka.Reader(self._settings, _checkpoint(after))  # it begins to fetch from there
            self._read_to = None
        if after != self._read_to:
            self._check(after, self._reader.end())
            self._reader.seek(_checkpoint(after))
            self._read_to = after
        return self._reader

    def _check(self, place: Checkpoint, end: int) -> None:
        """Raise StaleCheckpoint unless the record before the place is the batch that it stands behind."""
        if place == START:
            return
        if place.offset > end:
            raise StaleCheckpoint(f"the log ends at offset {end}, before {place.offset}")
        with closing(Fetcher(self._settings)) as fetcher:
            batch = fetcher.get([place.offset - 1]).get(place.offset - 1)
        if batch is None or (batch.epoch, batch.writer, batch.last) != (place.epoch, place.writer, place.position):
            raise StaleCheckpoint(f"the record before offset {place.offset} is another one")

    def _pass(self, batch: es_kafka.Batch, apply: EventHandler) -> None:
        place = Checkpoint(batch.last, batch.offset + 1, batch.epoch, batch.writer)
        apply(EventBatch(range(batch.first, place.position + 1), batch.events, place))
        self._read_to = place
        self._marks.note(place)

    def _note(self) -> None:
        """Note how far the writer has come."""
        assert self._writer is not None, "it has just written"
        at = self._writer.checkpoint
        self._read_to = Checkpoint(at.next - 1, at.offset, at.epoch, at.writer)
        self._marks.note(self._read_to)

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _drop_reader(self) -> None:
        reader, self._reader, self._read_to = self._reader, None, None
        if reader is not None:
            reader.close()

    def _drop_old(self) -> None:
        reader, self._old = self._old, None
        if reader is not None:
            reader.close()


def _checkpoint(place: Checkpoint) -> es_kafka.Checkpoint:
    return es_kafka.Checkpoint(place.offset, place.epoch, place.writer, place.position + 1)


def _translated(error: PersistenceError) -> Exception:
    """Return our error for one of the library's; one that says our use is wrong stays as it is."""
    if isinstance(error, es_kafka.LogTruncated):
        return StaleCheckpoint(str(error))
    return InDoubt(str(error)) if isinstance(error, OperationalError) else error


def kafka_environment(settings: "Settings") -> dict[str, str]:
    """Return our settings as the environment of `eventsourcing_kafka`."""
    folder = Path(settings.home) / "index"
    password = settings.kafka_password.get_secret_value() if settings.kafka_password else ""
    return {
        "PERSISTENCE_MODULE": "eventsourcing_kafka",
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_brokers,
        "KAFKA_TOPIC": f"{settings.kafka_topic_prefix}events",
        "KAFKA_PARTITION": str(settings.partition),
        "KAFKA_PARTITIONS": str(settings.partitions),
        "KAFKA_REPLICATION_FACTOR": str(settings.kafka_replication),
        "KAFKA_INDEX_FOLDER": str(folder),
        "KAFKA_APPEND_TIMEOUT": str(settings.append_ms / 1000),
        "KAFKA_SECURITY_PROTOCOL": settings.kafka_security_protocol,
        "KAFKA_SASL_MECHANISM": settings.kafka_sasl_mechanism or "",
        "KAFKA_SASL_USERNAME": settings.kafka_username or "",
        "KAFKA_SASL_PASSWORD": password,
        "KAFKA_SSL_CAFILE": str(settings.kafka_ca_file or ""),
    }
