"""What a reader may see of a leader that was deposed and does not know it yet: what was true before, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent
from kafka import KafkaAdminClient

from eventsourcing_kafka import InDoubt, KafkaApplicationRecorder, Settings
from eventsourcing_kafka.library import OperationalError
from local.kafka import Broker, Cluster
from tests.eventsourcing_kafka.events import stored

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 1
"""The number of leaders that are deposed."""


def event(version: int) -> StoredEvent:
    """Return an event of the only aggregate."""
    return stored("a", version, "Made", b"{}")


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # see `lost_connections`
@pytest.mark.usefixtures("lost_connections")
def test_a_deposed_leader_answers_from_before_and_a_position_can_be_waited_for(tmp_path: Path) -> None:
    """The leader is paused, another one takes what is inserted, and then the first one answers a read that waited.

    The read may lack the new event, so reads are not linearizable. Once the recorder has seen the event's position, every
    read has it. And whoever decides on an old read inserts nothing: the version exists.
    """
    old_reads = 0
    with Cluster(tmp_path / "cluster") as cluster:
        settings = Settings(bootstrap_servers=cluster.bootstrap, topic="events", read_timeout=5.0)
        writing = KafkaApplicationRecorder(replace(settings, index_folder=str(tmp_path / "writer")))
        reading = KafkaApplicationRecorder(replace(settings, index_folder=str(tmp_path / "reader")))
        written = {1: insert(writing, 1)}
        for version in range(2, ROUNDS + 2):
            await_position(reading, written[version - 1])
            leader = leader_of(cluster, settings)
            leader.pause()
            written[version] = insert(writing, version)
            with ThreadPoolExecutor(1) as pool:
                read = pool.submit(lambda: [found.originator_version for found in reading.select_events("a")])
                sleep(0.3)  # the question waits at the paused leader
                leader.resume()
                seen = read.result(60)
            assert seen in (list(range(1, version)), list(range(1, version + 1)))
            if seen[-1] < version:
                old_reads += 1
                with pytest.raises((IntegrityError, OperationalError)):
                    reading.insert_events([event(version)])
            await_position(reading, written[version])
            assert [found.originator_version for found in reading.select_events("a")] == list(range(1, version + 1))
            cluster.start()  # waits until all are in service
        assert [n.originator_version for n in reading.select_notifications(1, 100)] == list(written)
        assert list(written.values()) == list(range(1, ROUNDS + 2))
        reading.close()
        writing.close()
    print(f"{old_reads} of {ROUNDS} reads were old")  # noqa: T201  which of the two was seen is a matter of milliseconds


def insert(recorder: KafkaApplicationRecorder, version: int) -> int:
    """Insert the event of this version, again until it is certain; return its position."""
    deadline = monotonic() + 120
    while True:
        try:
            return (recorder.insert_events([event(version)]) or [0])[0]
        except IntegrityError:  # an attempt that was in doubt has succeeded
            return recorder.max_notification_id() or 0
        except (InDoubt, OperationalError):
            assert monotonic() < deadline


def await_position(recorder: KafkaApplicationRecorder, position: int) -> None:
    """Wait until the recorder has seen an event."""
    deadline = monotonic() + 120
    while True:
        error: Exception | None = None
        try:
            if (recorder.max_notification_id() or 0) >= position:
                return
        except OperationalError as found:  # between two leaders nobody answers
            error = found
        assert monotonic() < deadline, error
        sleep(0.05)


def leader_of(cluster: Cluster, settings: Settings) -> Broker:
    """Return the node that leads the partition."""
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers.split(","))
    try:
        leader = admin.describe_topics([settings.topic])[0]["partitions"][0]["leader_id"]
    finally:
        admin.close()
    return next(node for node in cluster.nodes if node.node_id == leader)
