"""The infrastructure factory: makes recorders from the library's environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.utils import resolve_topic

from eventsourcing_kafka.library import InfrastructureFactoryError
from eventsourcing_kafka.processing import KafkaProcessRecorder, KafkaTrackingRecorder
from eventsourcing_kafka.recorders import KafkaAggregateRecorder, KafkaApplicationRecorder
from eventsourcing_kafka.settings import Settings

if TYPE_CHECKING:
    from eventsourcing.utils import Environment

__all__ = ["KafkaFactory"]

R = TypeVar("R", bound=KafkaAggregateRecorder)


class KafkaFactory(InfrastructureFactory[KafkaTrackingRecorder]):
    """Makes recorders from environment variables. ``PERSISTENCE_MODULE=eventsourcing_kafka`` selects this factory."""

    application_recorder_class = KafkaApplicationRecorder
    aggregate_recorder_class = KafkaAggregateRecorder
    tracking_recorder_class = KafkaTrackingRecorder
    process_recorder_class = KafkaProcessRecorder

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
        return self._made(self.APPLICATION_RECORDER_TOPIC, self.application_recorder_class, self.settings)

    def aggregate_recorder(self, purpose: str = "events") -> KafkaAggregateRecorder:
        """Return a recorder without positions. For any purpose but "events" it has a topic of its own."""
        settings = self.settings
        if purpose != "events":
            settings = settings.for_topic(f"{settings.topic}_{purpose}")
        return self._made("", self.aggregate_recorder_class, settings)

    def tracking_recorder(
        self, tracking_recorder_class: type[KafkaTrackingRecorder] | None = None
    ) -> KafkaTrackingRecorder:
        """Return a recorder of trackings, and of the events of a view. It has a topic of its own, as there is one writer."""
        settings = self.settings.for_topic(f"{self.settings.topic}_tracking")
        topic = "" if tracking_recorder_class else self.TRACKING_RECORDER_TOPIC
        return self._made(topic, tracking_recorder_class or self.tracking_recorder_class, settings)

    def process_recorder(self) -> KafkaProcessRecorder:
        """Return a recorder of the application's log that keeps trackings with the events."""
        return self._made(self.PROCESS_RECORDER_TOPIC, self.process_recorder_class, self.settings)

    def close(self) -> None:
        """Close all recorders that this factory has made."""
        for recorder in self._recorders:
            recorder.close()
        self._recorders.clear()

    def _made(self, variable: str, default: type[R], settings: Settings) -> R:
        """Return a recorder of the class that the variable names."""
        topic = self.env.get(variable) if variable else None
        recorder_class: type[R] = resolve_topic(topic) if topic else default
        recorder = recorder_class(settings)
        self._recorders.append(recorder)
        return recorder
