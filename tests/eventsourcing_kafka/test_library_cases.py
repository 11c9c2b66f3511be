"""The library's own conformance cases, unmodified, on a real broker. README.md lists the cases that cannot apply."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.tests import (
    application,
    persistence,
    projection,
)  # the modules: pytest collects what is imported by name

from eventsourcing_kafka import KafkaAggregateRecorder, KafkaApplicationRecorder, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eventsourcing.persistence import Tracking


class OnKafka:
    """Gives each case a recorder of a fresh log, and closes it afterwards."""

    @pytest.fixture(autouse=True)
    def _log(self, settings: Settings) -> Iterator[None]:
        self.settings = settings
        self.recorders: list[KafkaAggregateRecorder] = []
        yield
        for recorder in self.recorders:
            recorder.close()

    def application_recorder(self) -> KafkaApplicationRecorder:
        """Return a recorder of the log."""
        recorder = KafkaApplicationRecorder(self.settings)
        self.recorders.append(recorder)
        return recorder

    def aggregate_recorder(self) -> KafkaAggregateRecorder:
        """Return a recorder without positions."""
        recorder = KafkaAggregateRecorder(self.settings)
        self.recorders.append(recorder)
        return recorder


class TestAggregateRecorder(OnKafka, persistence.AggregateRecorderTestCase):
    """Events of aggregates."""

    def create_recorder(self) -> KafkaAggregateRecorder:
        """Return the recorder under test."""
        return self.aggregate_recorder()


class TestAggregateRecorderWithTextIds(TestAggregateRecorder):
    """The same with ids that are text."""

    def new_originator_id(self) -> str:
        """Return a text id."""
        return f"aggregate-{uuid4()}"


class TestApplicationRecorder(OnKafka, persistence.ApplicationRecorderTestCase[KafkaApplicationRecorder]):
    """Events with positions, and the subscription, which is optional in the library."""

    def create_recorder(self) -> KafkaApplicationRecorder:
        """Return the recorder under test."""
        return self.application_recorder()

    def test_insert_subscribe(self) -> None:
        """A subscription returns present and future events, and ends if it is stopped."""
        self.optional_test_insert_subscribe()


class TestApplicationRecorderWithTextIds(TestApplicationRecorder):
    """The same with ids that are text."""

    def new_originator_id(self) -> str:
        """Return a text id."""
        return f"aggregate-{uuid4()}"


class TestNonInterleavingNotificationIDs(OnKafka, persistence.NonInterleavingNotificationIDsBaseCase):
    """The positions of one call are consecutive, even with concurrent calls."""

    def create_recorder(self) -> KafkaApplicationRecorder:
        """Return the recorder under test."""
        return self.application_recorder()


class WithEnvironment:
    """Lets the library's applications find the broker by environment variables."""

    expected_factory_topic = "eventsourcing_kafka.factory:KafkaFactory"

    @pytest.fixture(autouse=True)
    def _environment(self, kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PERSISTENCE_MODULE", "eventsourcing_kafka")
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka)
        monkeypatch.setenv("KAFKA_TOPIC", f"{topic_prefix}events")
        monkeypatch.setenv("KAFKA_REPLICATION_FACTOR", "1")
        monkeypatch.setenv("KAFKA_INDEX_FOLDER", str(tmp_path))


@pytest.mark.filterwarnings("default::DeprecationWarning")  # it asserts that the library's own deprecations warn
class TestApplication(WithEnvironment, application.ApplicationTestCase):
    """The library's application, with its cipher, compressor, caches and notification log."""


class TestExampleApplication(WithEnvironment, application.ExampleApplicationTestCase):
    """The library's bank accounts, with snapshots."""


class EventCounters(POPOTrackingRecorder, projection.EventCountersView):
    """The view of the library's projection cases. A view lives in a database of its own; here in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._created = self._subsequent = 0

    def get_created_event_counter(self) -> int:
        """Return how many aggregates were created."""
        return self._created

    def get_subsequent_event_counter(self) -> int:
        """Return how many events followed."""
        return self._subsequent

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        """Count a creation, together with its position."""
        with self._database_lock:
            self.insert_tracking(tracking)
            self._created += 1

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        """Count another event, together with its position."""
        with self._database_lock:
            self.insert_tracking(tracking)
            self._subsequent += 1


class TestProjection(WithEnvironment, projection.AggregateEventCountersProjectionTestCase):
    """The library's projection runner follows the log by a subscription."""

    view_class = EventCounters

    @pytest.fixture(autouse=True)
    def _view(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EVENTCOUNTERS_PERSISTENCE_MODULE", "eventsourcing.popo")
