"""The log in Kafka: the reader and writer of `eventsourcing_kafka`, with its index only for looking up old outcomes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eventsourcing.persistence import Notification, OperationalError, PersistenceError, StoredEvent
from eventsourcing.utils import Environment

import eventsourcing_kafka as es_kafka
from consumers.log import Append, Apply, Fenced, InDoubt, kafka_environment

if TYPE_CHECKING:
    from settings import Settings


class KafkaAppend:
    """A batch that has been sent."""

    def __init__(self, sent: es_kafka.Append) -> None:
        self._sent = sent

    def result(self) -> range:
        """Wait until the batch is known to count, and return its positions."""
        try:
            return self._sent.result()
        except es_kafka.Fenced as error:
            raise Fenced(str(error)) from error
        except PersistenceError as error:
            raise InDoubt(str(error)) from error


class KafkaLog:
    """One partition of the events topic. Positions are 1, 2, 3, ..., without a gap."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = es_kafka.Settings.from_env(Environment("", kafka_environment(settings)))
        self._checked = False
        self._writer: es_kafka.Writer | None = None
        self._recorder: es_kafka.KafkaApplicationRecorder | None = None

    def take_over(self, apply: Apply) -> None:
        """Claim the partition and read it up to the claim."""
        self._drop_writer()

        def apply_batch(batch: es_kafka.Batch) -> None:
            for position, (stream, version, topic, state) in enumerate(batch.events, batch.first):
                apply(position, stream, version, topic, bytes(state))

        try:
            if not self._checked:
                es_kafka.ensure_topic(self._settings)
                self._checked = True
            with es_kafka.Reader(self._settings) as reader:
                self._writer = es_kafka.Writer.take_over(reader, apply_batch)
        except es_kafka.Fenced as error:
            raise Fenced(str(error)) from error
        except OperationalError as error:
            raise InDoubt(str(error)) from error

    def begin(self, events: Sequence[StoredEvent]) -> Append:
        """Send the events as one record."""
        assert self._writer is not None, "take over first"
        try:
            return KafkaAppend(self._writer.begin(events))
        except es_kafka.Fenced as error:
            raise Fenced(str(error)) from error
        except PersistenceError as error:
            raise InDoubt(str(error)) from error

    def read(self, first: int, limit: int) -> Sequence[Notification]:
        """Return events from a position on; the first call brings the local index up to date."""
        try:
            if self._recorder is None:
                self._recorder = es_kafka.KafkaApplicationRecorder(self._settings)
            return self._recorder.select_notifications(first, limit)
        except PersistenceError as error:
            raise InDoubt(str(error)) from error

    def close(self) -> None:
        """Let the producer and the index go. The claim stays until the next one."""
        self._drop_writer()
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
