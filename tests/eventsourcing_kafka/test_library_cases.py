"""The library's own conformance cases, unmodified, on a real broker: all that concern what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar
from uuid import uuid4

import pytest
from eventsourcing.tests import (
    application,
    persistence,
    projection,
)  # the modules: pytest collects what is imported by name

from eventsourcing_kafka import (
    KafkaAggregateRecorder,
    KafkaApplicationRecorder,
    KafkaProcessRecorder,
    KafkaTrackingRecorder,
    Settings,
)
from eventsourcing_kafka.library import EVENTS_HAVE_METADATA
from tests.eventsourcing_kafka.events import stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eventsourcing.persistence import Tracking

R = TypeVar("R", bound=KafkaAggregateRecorder)


class OnKafka:
    """Gives each case a recorder of a fresh log, and closes it afterwards."""

    @pytest.fixture(autouse=True)
    def _log(self, settings: Settings) -> Iterator[None]:
        self.settings = settings
        self.recorders: list[KafkaAggregateRecorder] = []
        yield
        for recorder in self.recorders:
            recorder.close()

    def made(self, recorder_class: type[R]) -> R:
        """Return a recorder of the log."""
        recorder = recorder_class(self.settings)
        self.recorders.append(recorder)
        return recorder


class TestAggregateRecorder(OnKafka, persistence.AggregateRecorderTestCase):
    """Events of aggregates."""

    def create_recorder(self) -> KafkaAggregateRecorder:
        """Return the recorder under test."""
        return self.made(KafkaAggregateRecorder)


class TestAggregateRecorderWithTextIds(TestAggregateRecorder):
    """The same with ids that are text."""

    def new_originator_id(self) -> str:
        """Return a text id."""
        return f"aggregate-{uuid4()}"


class TestApplicationRecorder(OnKafka, persistence.ApplicationRecorderTestCase[KafkaApplicationRecorder]):
    """Events with positions, and the subscription, which is optional in the library."""

    def create_recorder(self) -> KafkaApplicationRecorder:
        """Return the recorder under test."""
        return self.made(KafkaApplicationRecorder)

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
        return self.made(KafkaApplicationRecorder)


class TestTrackingRecorder(OnKafka, persistence.TrackingRecorderTestCase):
    """Trackings without events."""

    def create_recorder(self) -> KafkaTrackingRecorder:
        """Return the recorder under test."""
        return self.made(KafkaTrackingRecorder)


class TestProcessRecorder(OnKafka, persistence.ProcessRecorderTestCase):
    """Events and their tracking in one record."""

    def create_recorder(self) -> KafkaProcessRecorder:
        """Return the recorder under test."""
        return self.made(KafkaProcessRecorder)


class TestProcessRecorderWithTextIds(TestProcessRecorder):
    """The same with ids that are text."""

    def new_originator_id(self) -> str:
        """Return a text id."""
        return f"aggregate-{uuid4()}"


class TestProcessRecorderOfAggregates(TestAggregateRecorder):
    """A process recorder is an application recorder, too; only that it returns positions."""

    def create_recorder(self) -> KafkaAggregateRecorder:
        """Return the recorder under test."""
        return self.made(KafkaTrackingRecorder)


class TestProcessRecorderOfApplications(TestApplicationRecorder):
    """A process recorder is an application recorder, too."""

    def create_recorder(self) -> KafkaApplicationRecorder:
        """Return the recorder under test."""
        return self.made(KafkaProcessRecorder)


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


class EventCounters(KafkaTrackingRecorder, projection.EventCountersView):
    """The view of the library's projection cases. Each count is an event, in the same record as its tracking."""

    def _count(self, name: str) -> int:
        last = self.select_events(name, desc=True, limit=1)
        return last[0].originator_version if last else 0

    def _add(self, name: str, tracking: Tracking) -> None:
        self.insert_events([stored(name, self._count(name) + 1, "Counted", b"{}")], tracking=tracking)

    def get_created_event_counter(self) -> int:
        """Return how many aggregates were created."""
        return self._count("created")

    def get_subsequent_event_counter(self) -> int:
        """Return how many events followed."""
        return self._count("subsequent")

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        """Count a creation, together with its position."""
        self._add("created", tracking)

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        """Count another event, together with its position."""
        self._add("subsequent", tracking)

    # The names of these four since release 10.0.
    get_student_registered_counter = get_created_event_counter
    get_student_name_changed_counter = get_subsequent_event_counter
    incr_student_registered_counter = incr_created_event_counter
    incr_student_name_changed_counter = incr_subsequent_event_counter


class TestEventCountersView(OnKafka, projection.EventCountersViewTestCase):
    """A view whose counts are events, tracked exactly once."""

    def construct_event_counters_view(self) -> EventCounters:
        """Return the view under test."""
        return self.made(EventCounters)


class TestProjection(WithEnvironment, projection.AggregateEventCountersProjectionTestCase):
    """The library's projection runner follows the log by a subscription. Its view is on Kafka, too."""

    view_class = EventCounters


DECISIONS = "DecisionCountersProjectionTestCase" if EVENTS_HAVE_METADATA else "TaggedDecisionCountersProjectionTestCase"


class TestProjectionOfDecisions(WithEnvironment, getattr(projection, DECISIONS)):  # type: ignore[misc]
    """The view is on Kafka; the application has dynamic consistency boundaries, and is in memory."""

    view_class = EventCounters
    env: ClassVar[dict[str, str]] = {
        "PERSISTENCE_MODULE": "eventsourcing.dcb.popo" + (":InMemoryDcbFactory" if EVENTS_HAVE_METADATA else ""),
        "EVENTCOUNTERS_PERSISTENCE_MODULE": "eventsourcing_kafka",
        "DECISIONCOUNTERSPROJECTION_PERSISTENCE_MODULE": "eventsourcing_kafka",  # since release 10.0
    }
    if not EVENTS_HAVE_METADATA:
        env["MAPPER_TOPIC"] = "eventsourcing.dcb.msgpack:MessagePackMapper"


class TestEventSourcedProjection(WithEnvironment, projection.EventSourcedProjectionTestCase):
    """An application whose events come of the events of another one, and are tracked with them. Each has its own log."""

    @pytest.fixture(autouse=True)
    def _own_log(self, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COUNTERS_KAFKA_TOPIC", f"{topic_prefix}counters")
