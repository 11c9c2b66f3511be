"""The cost of long aggregates in Kafka, with and without snapshots.

    python -m bench aggregates [--bootstrap HOST:PORT] [--lengths 100,1000,10000]

Without `--bootstrap`, a broker is started on this machine. Each aggregate of the library's documented kind is loaded from the
log and changed, then again after a snapshot of it was taken.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from bench.parts import show
from local.kafka import Broker

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS: Final = {
    "load_ms": "least milliseconds to load an aggregate from its events, by the number of its events",
    "load_us_per_event": "`load_ms` divided by the number of events, in microseconds, for the longest one",
    "load_snapshot_ms": "least milliseconds to load it from a snapshot and the events after it",
    "change_ms": "least milliseconds to load it, change it and save it, without snapshots",
    "change_snapshot_ms": "the same, after a snapshot was taken",
    "snapshot_ms": "milliseconds to take a snapshot, loading included; the first one claims the snapshots' topic",
}


class Account(Aggregate):
    """An account with a balance."""

    @event("Opened")
    def __init__(self, name: str) -> None:
        self.name = name
        self.balance = 0

    @event("Credited")
    def credit(self, amount: int) -> None:
        """Add to the balance."""
        self.balance += amount


class Accounts(Application[UUID]):
    """The accounts of one measurement."""

    is_snapshotting_enabled = True


def milliseconds(work: Callable[[], Any], rounds: int) -> float:
    """Return the least time of the work: what else the machine does only adds to it."""
    times = []
    for _ in range(rounds):
        start = perf_counter()
        work()
        times.append((perf_counter() - start) * 1000)
    return round(min(times), 3)


def measure(application: Accounts, length: int, rounds: int) -> dict[str, float]:
    """Make an aggregate of this length and measure it."""
    account = Account("Ada")
    for number in range(length - 1):
        account.credit(number)
        if len(account.pending_events) == 500:
            application.save(account)
    application.save(account)

    def load() -> Account:
        found: Account = application.repository.get(account.id)
        return found

    def change() -> None:
        found = load()
        found.credit(1)
        application.save(found)

    figures = {"load_ms": milliseconds(load, rounds), "change_ms": milliseconds(change, rounds)}
    figures["snapshot_ms"] = milliseconds(lambda: application.take_snapshot(account.id), 1)
    figures |= {"load_snapshot_ms": milliseconds(load, rounds), "change_snapshot_ms": milliseconds(change, rounds)}
    print(length, "events", figures)
    return figures


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--lengths", default="100,1000,10000")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        bootstrap = arguments.bootstrap or stack.enter_context(Broker(Path(folder) / "kafka")).bootstrap
        os.environ |= {
            "PERSISTENCE_MODULE": "eventsourcing_kafka",
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "KAFKA_REPLICATION_FACTOR": "1",
            "KAFKA_TOPIC": f"bench-{uuid4().hex}",
            "KAFKA_INDEX_FOLDER": str(Path(folder) / "index"),
        }
        application = Accounts()
        stack.callback(application.close)
        lengths = [int(length) for length in arguments.lengths.split(",")]
        found = {length: measure(application, length, arguments.rounds) for length in lengths}
    figures: dict[str, Any] = {
        name: {length: measured[name] for length, measured in found.items()}
        for name in KEYS
        if name != "load_us_per_event"
    }
    show({**figures, "load_us_per_event": round(found[lengths[-1]]["load_ms"] * 1000 / lengths[-1], 1)}, KEYS)


if __name__ == "__main__":
    main()
