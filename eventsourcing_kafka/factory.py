"""The infrastructure factory: the library's environment -> recorders."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar

from eventsourcing.persistence import (
    InfrastructureFactory,
    InfrastructureFactoryError,
    NotSupportedError,
    ProcessRecorder,
    TrackingRecorder,
)
from eventsourcing.utils import resolve_topic

from eventsourcing_kafka.recorders import KafkaAggregateRecorder, KafkaApplicationRecorder
from eventsourcing_kafka.settings import Settings

if TYPE_CHECKING:
    from eventsourcing.utils import Environment

__all__ = ["KafkaFactory"]

R = TypeVar("R", bound=KafkaAggregateRecorder)


class KafkaFactory(InfrastructureFactory[TrackingRecorder]):
    """Makes recorders as the environment says; ``PERSISTENCE_MODULE=eventsourcing_kafka`` selects it."""

    application_recorder_class = KafkaApplicationRecorder
    aggregate_recorder_class = KafkaAggregateRecorder

    def __init__(self, env: Environment) -> None:
        """Read the settings.

        Raises:
            InfrastructureFactoryError: a setting is missing or cannot be understood; it names the variable.
        """
        super().__init__(env)
        try:
            self.settings = Settings.from_env(self.env)
        except OSError as error:
            raise InfrastructureFactoryError(str(error)) from error
        self._recorders: list[KafkaAggregateRecorder] = []

    def application_recorder(self) -> KafkaApplicationRecorder:
        """Return a recorder of the application's log."""
        topic = self.env.get(self.APPLICATION_RECORDER_TOPIC)
        recorder_class: type[KafkaApplicationRecorder] = (
            resolve_topic(topic) if topic else self.application_recorder_class
        )
        return self._made(recorder_class(self.settings))

    def aggregate_recorder(self, purpose: str = "events") -> KafkaAggregateRecorder:
        """Return a recorder without positions; for another purpose than events on a topic of its own."""
        settings = self.settings
        if purpose != "events":
            settings = settings.for_topic(f"{settings.topic}_{purpose}")
        return self._made(self.aggregate_recorder_class(settings))

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> NoReturn:  # noqa: ARG002
        """Refuse.

        Raises:
            NotSupportedError: a log has no table to update; keep a view in a database, in one transaction with its
                tracking.
        """
        raise NotSupportedError("Kafka keeps no tracking records: use a recorder of the database that holds the view")

    def process_recorder(self) -> ProcessRecorder:
        """Refuse.

        Raises:
            NotSupportedError: as ``tracking_recorder``.
        """
        raise NotSupportedError("Kafka keeps no tracking records with the events")

    def close(self) -> None:
        """Close all recorders made here."""
        for recorder in self._recorders:
            recorder.close()
        self._recorders.clear()

    def _made(self, recorder: R) -> R:
        self._recorders.append(recorder)
        return recorder
