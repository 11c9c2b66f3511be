"""The infrastructure factory: makes recorders from the library's environment."""

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
    """Makes recorders from environment variables. ``PERSISTENCE_MODULE=eventsourcing_kafka`` selects this factory."""

    application_recorder_class = KafkaApplicationRecorder
    aggregate_recorder_class = KafkaAggregateRecorder

    def __init__(self, env: Environment) -> None:
        """Read the settings.

        Raises:
            InfrastructureFactoryError: a setting is missing or invalid; the message names the variable.
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
        return self._remember(recorder_class(self.settings))

    def aggregate_recorder(self, purpose: str = "events") -> KafkaAggregateRecorder:
        """Return a recorder without positions. For any purpose but "events" it has a topic of its own."""
        settings = self.settings
        if purpose != "events":
            settings = settings.for_topic(f"{settings.topic}_{purpose}")
        return self._remember(self.aggregate_recorder_class(settings))

    def tracking_recorder(self, tracking_recorder_class: type[TrackingRecorder] | None = None) -> NoReturn:  # noqa: ARG002
        """Refuse.

        Raises:
            NotSupportedError: always. A log has no rows to update: keep the view and its tracking records in a database,
                in one transaction.
        """
        raise NotSupportedError("Kafka keeps no tracking records: use a recorder of the database that holds the view")

    def process_recorder(self) -> ProcessRecorder:
        """Refuse.

        Raises:
            NotSupportedError: always, as ``tracking_recorder``.
        """
        raise NotSupportedError("Kafka keeps no tracking records with the events")

    def close(self) -> None:
        """Close all recorders that this factory has made."""
        for recorder in self._recorders:
            recorder.close()
        self._recorders.clear()

    def _remember(self, recorder: R) -> R:
        self._recorders.append(recorder)
        return recorder
