"""A process application that is killed again and again: its counts at the end equal the events that it followed.

A follower, in a process of its own, runs the library's runner for event-sourced projections, with the counters of the
library's own cases: each event of the application increments a counter. If a follower ends, it is started again, whether it
was killed, fenced, or refused. Both applications are on Kafka, each with its own log.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eventsourcing.projection import EventSourcedProjectionRunner
from eventsourcing.tests.projection import Counters

from eventsourcing_kafka import Reader, Settings
from eventsourcing_kafka.library import EVENTS_HAVE_METADATA, OperationalError

if TYPE_CHECKING:
    from eventsourcing_kafka import Batch

SECONDS_MAX = 90
"""The longest time without progress. A process needs some seconds to start on a busy machine."""


def followed() -> tuple[Any, Any]:
    """Return the application that is followed, and its aggregate, as the installed release has them."""
    if EVENTS_HAVE_METADATA:
        application = import_module("eventsourcing.msgspec").AggregatesApplication
        return application, import_module("eventsourcing.tests.projection").Student
    return import_module("eventsourcing.application").Application, import_module("eventsourcing.domain").Aggregate


def environment(bootstrap: str, prefix: str, folder: Path) -> dict[str, str]:
    """Return the environment in which both applications find their logs."""
    application, _ = followed()
    return {
        "PERSISTENCE_MODULE": "eventsourcing_kafka",
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_REPLICATION_FACTOR": "1",
        "KAFKA_INDEX_FOLDER": str(folder),
        f"{application.__name__.upper()}_KAFKA_TOPIC": f"{prefix}followed",
        "COUNTERS_KAFKA_TOPIC": f"{prefix}counters",
    }


class Follower:
    """A process that follows, and that can be killed, paused and started again."""

    def __init__(self, env: dict[str, str], folder: Path, number: int) -> None:
        """Describe the process without starting it. Each has an index of its own."""
        self._env = os.environ | env | {"KAFKA_INDEX_FOLDER": str(folder / f"index-{number}")}
        self._log = folder / f"follower-{number}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process if it is not running."""
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as log:
                command = [sys.executable, "-W", "ignore", __file__]
                self._process = subprocess.Popen(command, env=self._env, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        """Send a signal if the process is running."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Counted:
    """What the followers have appended, followed by a reader."""

    def __init__(self, settings: Settings) -> None:
        """Begin at the start of the log."""
        self._reader = Reader(settings)
        self.batches: list[Batch] = []

    def await_batches(self, count: int, followers: list[Follower]) -> None:
        """Wait until so many batches count. Start again each follower that ends meanwhile."""
        deadline = monotonic() + SECONDS_MAX
        while len(self.batches) < count:
            for follower in followers:
                follower.start()
            try:
                found = self._reader.read(0.2)
            except OperationalError:  # the topic does not exist yet
                found = []
                sleep(0.2)
            self.batches += found
            if found:
                deadline = monotonic() + SECONDS_MAX
            elif monotonic() > deadline:
                raise TimeoutError(f"{len(self.batches)} of {count} events were processed")

    def close(self) -> None:
        """Disconnect."""
        self._reader.close()


def run(bootstrap: str, prefix: str, folder: Path, *, kills: int, followers: int, events_a_kill: int) -> None:
    """Kill, or pause if there are two followers, in the middle, each time that so many events have been processed."""
    chance = random.Random(kills)  # noqa: S311  # repeatable
    env = environment(bootstrap, prefix, folder)
    application, aggregate = followed()
    total = (kills + 1) * events_a_kill
    with application(env=env) as app:
        for _ in range(kills + 1):
            app.save(*[aggregate() for _ in range(events_a_kill)])
    settings = Settings(bootstrap_servers=bootstrap, topic=f"{prefix}counters", replication_factor=1)
    processes = [Follower(env, folder, number) for number in range(followers)]
    counted = Counted(settings)
    try:
        for kill in range(1, kills + 1):
            counted.await_batches(kill * events_a_kill - chance.randrange(events_a_kill // 2), processes)
            victim = chance.choice(processes)
            if followers > 1 and chance.random() < 0.5:  # as often as not
                victim.send(signal.SIGSTOP)
                counted.await_batches(len(counted.batches) + 1, [p for p in processes if p is not victim])
                victim.send(signal.SIGCONT)
            else:
                victim.kill()
        counted.await_batches(total, processes)
    finally:
        for process in processes:
            process.send(signal.SIGCONT)
            process.kill()
        counted.close()
    with Reader(settings) as reader:
        check(list(reader.read_to(reader.end())), total)


def check(batches: list[Batch], total: int) -> None:
    """Each event was processed once, in order, and its counter was incremented in the same record."""
    assert [list((batch.tracking or {}).values()) for batch in batches] == [[n] for n in range(1, total + 1)]
    for batch in batches:
        assert [topic.rpartition(".")[2] for _, _, topic, _ in batch.events][-1:] == ["Incremented"]
    increments = [row for batch in batches for row in batch.events if row[2].endswith("Incremented")]
    assert len(increments) == total


if __name__ == "__main__":
    with EventSourcedProjectionRunner(application_class=followed()[0], projection_class=Counters) as runner:
        runner.run_forever()
