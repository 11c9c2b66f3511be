"""The library's recorders for whoever follows other applications. A tracking is in the same record as its events.

A record is atomic, so each event that is followed has its effect exactly once, whatever fails: either the log has what came
of the event and the tracking that says so, or neither. Whoever starts again asks for ``max_tracking_id`` and reads on after
it. Two processes that follow the same application fence each other, and the tracking is compared after the claim; so the
slower one gets an error, and nothing of it is appended.
"""

from __future__ import annotations

from eventsourcing.persistence import ProcessRecorder, Tracking, TrackingRecorder

from eventsourcing_kafka.recorders import KafkaAggregateRecorder, KafkaApplicationRecorder

__all__ = ["KafkaProcessRecorder", "KafkaTrackingRecorder"]


class KafkaTrackingRecorder(TrackingRecorder, KafkaAggregateRecorder):
    """Keeps up to which position the events of other applications have been processed.

    A view on Kafka is a subclass that stores what it counts as events: ``insert_events(events, tracking=tracking)`` appends
    both or neither. ``max_tracking_id``, ``has_tracking_id`` and ``wait`` tell what the log says at its end.
    """

    keeps_tracking = True

    def insert_tracking(self, tracking: Tracking) -> None:
        """Append the tracking alone.

        Raises:
            IntegrityError: the log has a tracking of that application that is not below; nothing was appended.
            Fenced, InDoubt, UnsafeTopic, LogRolledBack, DataError: as ``insert_events``.
        """
        self.insert_events([], tracking=tracking)

    def max_tracking_id(self, application_name: str) -> int | None:
        """Return the position of the last event of that application that was processed, or None if none was.

        Raises:
            OperationalError: the broker does not answer in time.
        """
        return self._lookup.tracked([application_name]).get(application_name)


class KafkaProcessRecorder(KafkaTrackingRecorder, KafkaApplicationRecorder, ProcessRecorder):
    """The recorder of a process application: its events have positions, and each batch may hold a tracking."""
