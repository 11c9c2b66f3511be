"""Projectors and PostgreSQL are killed, paused and restarted under load from a real Kafka; the rows still match the log."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

import psycopg
import pytest

from consumers.kafka.gateway import KafkaGateway
from local.processes import polls
from projections.machine.store import connect
from projections.reading import projection_status
from projections.registry import PROJECTIONS
from settings import Settings, environment
from tests.consumers.checks import reading
from tests.consumers.exchange_fixtures import Market, open_market
from tests.consumers.processes import ROOT, EngineProcess, kafka_settings, pause

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.postgres import Postgres

TRADERS: Final = 4
RECOVER_SECONDS: Final = 60.0


class ProjectorProcess:
    """`tidings projector` with these settings."""

    def __init__(self, settings: Settings, output: Path) -> None:
        self._settings = settings
        self._output = output
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns at once."""
        with self._output.open("ab") as output:
            self._child = self._spawn(output)

    def _spawn(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "api", "projector"],
            cwd=ROOT,
            env=environment(self._settings),
            stdout=output,
            stderr=output,
        )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._child is not None, "start it first"
        self._child.send_signal(number)

    def end(self, number: signal.Signals) -> int:
        """Send it a signal that ends it, and return its exit code."""
        self.send(number)
        assert self._child is not None, "it was sent a signal"
        return self._child.wait(30)

    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.poll() is None


class Chaos:
    """A trading exchange on Kafka, two projectors, and a PostgreSQL that may be killed; each fault is a method."""

    def __init__(self, settings: Settings, postgres: Postgres, folder: Path, seed: int) -> None:
        self.settings = settings
        self.postgres = postgres
        self.chance = random.Random(seed)  # noqa: S311  repeatable
        self.projectors = [ProjectorProcess(settings, folder / f"projector{number}.txt") for number in range(2)]
        self.log: list[str] = []

    def round(self, fault: Fault) -> None:
        """Do one fault, and wait until every read model has passed where the log was then."""
        self.log.append(fault.__name__)
        fault(self)
        self.wait_for(self.head())

    def head(self) -> int:
        """Return the log's last position."""
        with reading(self.settings) as recorder:
            return recorder.max_notification_id() or 0

    def wait_for(self, position: int) -> None:
        """Wait until every read model has come to a position."""
        found: dict[str, int] = {}
        for _ in polls(RECOVER_SECONDS):
            found = self._positions()
            if set(found) == set(PROJECTIONS) and min(found.values()) >= position:
                return
        outputs = "".join(projector.output[-2000:] for projector in self.projectors)
        pytest.fail(f"after {self.log} the read models are at {found}, expected {position}\n{outputs}")

    def _positions(self) -> dict[str, int]:
        try:
            with connect(str(self.settings.dsn)) as connection:
                return {row.projection: row.position for row in projection_status(connection)}
        except psycopg.Error:  # it is just coming up
            return {}

    def kill_projector(self) -> None:
        """Kill -9, and start it again after a while."""
        projector = self.chance.choice(self.projectors)
        projector.end(signal.SIGKILL)
        self._let_pass(0.5)
        projector.start()

    def restart_projector(self) -> None:
        """Stop it as one does, and start it again."""
        projector = self.chance.choice(self.projectors)
        code = projector.end(signal.SIGTERM)
        assert code in {0, -signal.SIGTERM}, projector.output[-4000:]  # the latter while it is still starting
        projector.start()

    def pause_projector(self) -> None:
        """Stop it in the middle of whatever it does; the other one may not take its place meanwhile."""
        projector = self.chance.choice(self.projectors)
        projector.send(signal.SIGSTOP)
        self._let_pass(1.0)
        projector.send(signal.SIGCONT)

    def kill_both_projectors(self) -> None:
        """Kill -9 at the same moment."""
        for projector in self.projectors:
            projector.end(signal.SIGKILL)
        for projector in self.projectors:
            projector.start()

    def kill_postgresql(self) -> None:
        """Kill -9 of the server and all that belongs to it; what it had not written to disk yet is lost."""
        self.postgres.kill()
        self._let_pass(0.5)
        self.postgres.restart()

    def pause_postgresql(self) -> None:
        """Stop the server and all its sessions for a while."""
        pause(self.postgres, self.chance.uniform(0, 1.0))

    def kill_postgresql_and_projectors(self) -> None:
        """Everything at once: only the log is left."""
        self.postgres.kill()
        for projector in self.projectors:
            projector.end(signal.SIGKILL)
        for projector in self.projectors:
            projector.start()
        self._let_pass(1.0)
        self.postgres.restart()

    def _let_pass(self, seconds_max: float) -> None:
        threading.Event().wait(self.chance.uniform(0, seconds_max))


Fault = Callable[[Chaos], None]

FAULTS: Final[list[Fault]] = [
    Chaos.kill_projector,
    Chaos.pause_projector,
    Chaos.kill_postgresql,
    Chaos.restart_projector,
    Chaos.pause_postgresql,
    Chaos.kill_both_projectors,
    Chaos.kill_postgresql_and_projectors,
]


@contextmanager
def trading(gateway: KafkaGateway, market: Market) -> Iterator[list[int]]:
    """Keep orders coming inside the context; the list counts those that were answered."""
    ended = threading.Event()
    answered = [0] * TRADERS

    def trade(trader: int) -> None:
        while not ended.is_set():
            number = answered[trader]
            reply = gateway.submit_blocking(*market.buy(f"c-{trader}-{number}", number % 3, 10_000))
            assert reply.code is None, reply
            answered[trader] += 1

    threads = [threading.Thread(target=trade, args=[trader]) for trader in range(TRADERS)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def run(postgres: Postgres, settings: Settings, folder: Path, faults: list[Fault], seed: int) -> dict[str, Any]:
    """Trade, do these faults in some order, and compare: what `tidings verify` says, with numbers of the run."""
    settings = settings.model_copy(update={"dsn": postgres.database("tidings"), "log_level": "warning"})
    chaos = Chaos(settings, postgres, folder, seed)
    with EngineProcess(settings, folder / "engine.txt"), KafkaGateway(settings, retry_seconds=0.5) as gateway:
        market = open_market(gateway.submit_blocking)
        try:
            for projector in chaos.projectors:
                projector.start()
            with trading(gateway, market) as answered:
                for fault in chaos.chance.sample(faults, len(faults)):
                    chaos.round(fault)
            chaos.wait_for(chaos.head())
        finally:
            for projector in chaos.projectors:
                if projector.running():
                    projector.end(signal.SIGKILL)
    verified = subprocess.run(
        [sys.executable, "-m", "api", "verify", "--json"],
        cwd=ROOT, env=environment(settings), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert verified.stdout, verified.stderr
    return json.loads(verified.stdout) | {"orders": sum(answered), "code": verified.returncode}


def differences(found: dict[str, Any]) -> dict[str, Any]:
    """Return what differs from the log, by read model."""
    return {row["name"]: row["difference"] for row in found["compared"] if row["difference"] is not None}


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("lost_connections")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_row_is_lost_or_doubled(own_postgres: Postgres, kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """Both killed, each paused under load: every read model goes on by itself, and ends with the rows of the log."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    faults = [Chaos.pause_projector, Chaos.pause_postgresql, Chaos.kill_postgresql_and_projectors]
    found = run(own_postgres, settings, tmp_path, faults, seed=1)

    assert differences(found) == {}
    assert (found["code"], found["equal"], {row["name"] for row in found["compared"]}) == (
        0, True, {"ledger", *PROJECTIONS},
    )  # fmt: skip
    assert found["orders"] > 100, found


@pytest.mark.chaos
@pytest.mark.timeout(4 * 3600)
@pytest.mark.usefixtures("lost_connections")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_row_is_lost_or_doubled_in_many_rounds(
    own_postgres: Postgres, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """The same for long; `PROJECTOR_CHAOS_ROUNDS` and `PROJECTOR_CHAOS_SEED` vary it."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    rounds = int(os.environ.get("PROJECTOR_CHAOS_ROUNDS", "150"))
    faults = [FAULTS[number % len(FAULTS)] for number in range(rounds)]
    found = run(own_postgres, settings, tmp_path, faults, int(os.environ.get("PROJECTOR_CHAOS_SEED", "1")))

    assert differences(found) == {}
    assert found["equal"]
    assert found["orders"] > 20 * rounds
