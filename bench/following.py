"""What following a log costs: folding a few events at a time into all read models, and reading a log in Kafka."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

from eventsourcing.persistence import ApplicationRecorder, StoredEvent

from bench.programs import settings_of
from consumers.wiring import open_recorder
from local.kafka import Broker
from projections.machine.advance import Member, advance_together
from projections.machine.batch import Batch
from projections.machine.log_reader import read_log
from projections.machine.store import connect, ensure, make_indexes
from projections.machine.workspace import Workspace
from projections.registry import PROJECTIONS

BEFORE: Final = 5_000
"""The number of events that are folded before."""

LIVE_EVENTS: Final = {1: 300, 2: 600, 20: 4_000, 200: 10_000}
"""The number of events that are folded in batches of each size."""

RECORD_EVENTS: Final = (3, 300)
"""The numbers of events in a record of Kafka."""


def live(models: str, log: ApplicationRecorder, server_seconds: Callable[[], float]) -> dict[str, dict[str, float]]:
    """Fold batches of each size, as a group of all read models does. Return CPU per event by the size of a batch."""
    (batch,) = read_log(log, 0, 0, BEFORE + sum(LIVE_EVENTS.values()))
    members = [Member(projection, Workspace(projection.tables)) for projection in PROJECTIONS.values()]
    found: dict[str, dict[str, float]] = {}
    with connect(models) as connection:
        ensure(connection, PROJECTIONS.values())
        advance_together(connection, members, Batch(0, batch.events[:BEFORE]))
        for projection in PROJECTIONS.values():
            make_indexes(connection, projection)
        at = BEFORE
        for size, events in LIVE_EVENTS.items():
            if at + events > len(batch.events):  # a short log
                break
            own, of_server = process_time(), server_seconds()
            for start in range(at, at + events, size):
                advance_together(connection, members, Batch(0, batch.events[start : start + size]))
            at += events
            found[str(size)] = {
                "python": round((process_time() - own) / events * 1e6, 1),
                "postgresql": round((server_seconds() - of_server) / events * 1e6, 1),
            }
            print(f"  together, {size} events in a batch: {found[str(size)]} us per event", flush=True)
    return found


def reading(log: ApplicationRecorder, events: int, server_seconds: Callable[[], float]) -> dict[str, dict[str, float]]:
    """Read a log in PostgreSQL as a projector does that catches up, and from Kafka in records of each size."""
    of_server = server_seconds()
    found = {"postgresql": _read(log, events)}
    found["postgresql"]["server_cpu_us"] = round((server_seconds() - of_server) / events * 1e6, 1)
    stored = [
        StoredEvent(one.originator_id, one.originator_version, one.topic, one.state)
        for start in range(1, events + 1, 10_000)
        for one in log.select_notifications(start, min(10_000, events + 1 - start))
    ]
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as folder, Broker(Path(folder) / "kafka") as broker:
        for size in RECORD_EVENTS:
            home = Path(folder) / str(size)
            home.mkdir()
            with open_recorder(settings_of(home, broker.bootstrap)) as recorder:
                for start in range(0, len(stored), size):
                    recorder.insert_events(stored[start : start + size], check_versions=False)
                found[f"kafka_{size}"] = _read(recorder, events)
    for name, figures in found.items():
        print(f"  {name} read: {figures}", flush=True)
    return found


def _read(log: ApplicationRecorder, events: int) -> dict[str, float]:
    began, own = perf_counter(), process_time()
    count = sum(len(batch.events) for batch in read_log(log, 0, 0, events))
    assert count == events, "the whole log is read"
    return {
        "events_per_s": round(events / (perf_counter() - began)),
        "cpu_us": round((process_time() - own) / events * 1e6, 1),
    }
