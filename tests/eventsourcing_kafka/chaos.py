"""Faults on real brokers: compares what two duelling writers told their clients with the log.

    python tests/eventsourcing_kafka/chaos.py --rounds 200 [--seed 1] [--nodes 1|3]

Two writer processes append to one log, and take it over from each other. Each round makes one fault: kill -9 or SIGSTOP of
a writer or of a broker (with three nodes: of the leader), or a cut of the network between one writer and the broker. Then
the fault is repaired, and the log must make progress. Each writer keeps a journal of what it told its clients. At the end:

- each acknowledged event is in the log once, at the position that its client was told;
- no event that was refused as fenced is there, and each event that is there was sent by a writer;
- no event is there twice, and positions have no gap;
- a reader that followed from the start, one that reads everything now, and one that starts in the middle agree.

The last line is a JSON object. The exit code is 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kafka import KafkaAdminClient

from eventsourcing_kafka import Checkpoint, Fenced, InDoubt, Reader, Settings, Writer, ensure_topic
from eventsourcing_kafka.library import PersistenceError
from local.kafka import Broker, Cluster
from local.processes import free_port
from tests.eventsourcing_kafka.events import stored
from tests.eventsourcing_kafka.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRESS_SECONDS = 60
"""The longest time without progress after a repaired fault. Three nodes need up to 10 s for a new leader."""

FAULTS_FIRST = ("pause writer", "cut", "pause broker", "kill writer", "kill broker", "cut", "pause writer")
"""The first faults, so that a short run has each kind; later ones are random."""


def settings_of(bootstrap: str, topic: str, nodes: int = 1) -> Settings:
    """Return settings with short waits."""
    return Settings(
        bootstrap_servers=bootstrap,
        topic=topic,
        replication_factor=nodes,
        connect_timeout=2.0,
        append_timeout=1.0,
        read_timeout=2.0,
    )


# --- a writer, in a process of its own ---


def write_for_ever(settings: Settings, name: str, journal: Path, pause: float) -> None:
    """Take over and append for ever. Note each event before it is sent, and what its client is told."""
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: str, event: str, position: int = 0) -> None:
        os.write(file, f"{what} {event} {position}\n".encode())

    checkpoint = Checkpoint()
    number = 0
    while True:
        with Reader(settings, checkpoint) as reader:
            try:
                writer = Writer.take_over(reader)
            except PersistenceError as error:
                note("out", type(error).__name__)
                checkpoint = reader.checkpoint
                sleep(random.uniform(0, pause))  # noqa: S311  # a random time, so that one of two duelling writers wins
                continue
        note("won", writer.checkpoint.writer)
        try:
            while True:
                batch = [f"{name}.{os.getpid()}.{number + i}" for i in range(random.randint(1, 3))]  # noqa: S311
                number += len(batch)
                for event in batch:
                    note("sent", event)
                what, first = append(writer, batch)
                for i, event in enumerate(batch):
                    note(what, event, first + i)
                if what != "told":
                    break
        finally:
            checkpoint = writer.checkpoint
            writer.close()
        sleep(random.uniform(0, pause))  # noqa: S311


def append(writer: Writer, batch: list[str]) -> tuple[str, int]:
    """Append events with these names. Return what their clients are told, and the first position."""
    try:
        return "told", writer.append([stored(name, 1, "Made", b"{}") for name in batch]).start
    except Fenced:
        return "refused", 0
    except InDoubt:
        return "doubt", 0


class WriterProcess:
    """A writer that can be killed, paused and started again."""

    def __init__(self, name: str, settings: Settings, folder: Path, pause: float) -> None:
        """Describe the process without starting it."""
        self.name = name
        self.journal = folder / f"{name}.journal"
        self._log = folder / f"{name}.log"
        self._arguments = [
            *(sys.executable, __file__, "--writer", name, "--journal", str(self.journal), "--pause", str(pause)),
            *("--bootstrap", settings.bootstrap_servers, "--topic", settings.topic),
            *("--nodes", str(settings.replication_factor)),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process if it is not running."""
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def pause(self) -> None:
        """Freeze the process."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the process continue."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


# --- the referee ---


class Referee:
    """Follows the log from the start, and compares it with the journals at the end."""

    def __init__(self, settings: Settings) -> None:
        """Begin at the start of the log."""
        self._settings = settings
        self._reader = Reader(settings)
        self.found: list[tuple[int, str]] = []
        self.middle = Checkpoint()

    def follow(self, seconds: float) -> bool:
        """Wait at most `seconds` for batches; return whether there are new ones that count."""
        try:
            batches = self._reader.read(seconds)
        except PersistenceError:
            return False
        self.found += positions(iter(batches))
        return bool(batches)

    def await_progress(self) -> None:
        """Wait until a new batch counts; raise TimeoutError if none does."""
        while self.follow(0):
            pass
        deadline = monotonic() + PROGRESS_SECONDS
        while not self.follow(0.2):
            if monotonic() > deadline:
                raise TimeoutError(f"No writer got on within {PROGRESS_SECONDS} s")

    def mark_middle(self) -> None:
        """Store the checkpoint, for a reader that starts in the middle."""
        self.middle = self._reader.checkpoint

    def problems(self, journals: list[Path]) -> tuple[list[str], dict[str, int]]:
        """Read the whole log again. Return the broken promises, and counts of what happened."""
        with Reader(self._settings) as reader:
            end = reader.end()
            truth = list(positions(reader.read_to(end)))
        with Reader(self._settings, self.middle) as reader:
            rest = list(positions(reader.read_to(end)))
        self.found += positions(self._reader.read_to(end))
        self._reader.close()
        position_of = {event: position for position, event in truth}
        problems, counts = differences(journals, position_of)
        if len(position_of) < len(truth):
            problems.append("an event is there twice")
        if [position for position, _ in truth] != list(range(1, len(truth) + 1)):
            problems.append("positions have a gap")
        if self.found != truth:
            problems.append("a reader that followed from the start saw something else")
        if truth[len(truth) - len(rest) :] != rest or (rest and rest[0][0] != self.middle.next):
            problems.append("a reader that started in the middle saw something else")
        return problems, counts | {"events": len(truth), "records": end}


def differences(journals: list[Path], position_of: dict[str, int]) -> tuple[list[str], dict[str, int]]:
    """Compare what clients were told with the positions in the log. Return the differences, and counts by kind."""
    counts: Counter[str] = Counter()
    problems = []
    sent = set()
    for line in (line for journal in journals for line in journal.read_text().splitlines(keepends=True)):
        if not line.endswith("\n"):
            continue  # killed while writing this line: no client was told
        what, event, position = line.split()
        counts[what] += 1
        if what == "sent":
            sent.add(event)
        elif what == "told" and position_of.get(event) != int(position):
            problems.append(f"{event} was acknowledged at {position} and is at {position_of.get(event)}")
        elif what == "refused" and event in position_of:
            problems.append(f"{event} was refused and is at {position_of[event]}")
    if strangers := position_of.keys() - sent:
        problems.append(f"nobody sent {sorted(strangers)[:3]}")
    return problems, dict(counts)


def positions(batches: Iterator[Any]) -> Iterator[tuple[int, str]]:
    """Yield the position and name of each event."""
    for batch in batches:
        for position, row in enumerate(batch.events, batch.first):
            yield position, row[0]


def run(
    rounds: int, seed: int, nodes: int = 1, *, folder: Path, say: Callable[[str], object] = print
) -> tuple[list[str], dict[str, int]]:
    """Make one fault in each round. Return the broken promises, and counts of what happened."""
    chance = random.Random(seed)  # noqa: S311  # repeatable
    with ExitStack() as stack:
        brokers, direct, proxied, proxy = _servers(folder, nodes, stack)
        settings = settings_of(direct, f"chaos-{seed}", nodes)
        ensure_topic(settings)
        first = WriterProcess("a", settings, folder, pause=0.5)
        second = WriterProcess("b", settings_of(proxied, settings.topic, nodes), folder, pause=0.5)
        writers = [first, second]
        stack.callback(lambda: [writer.kill() for writer in writers])
        referee = Referee(settings)
        faults = ["kill writer", "pause writer", "kill broker", "pause broker"] + (["cut"] if proxy else [])
        faults = [fault for fault in faults for _ in range(1 if "broker" in fault else 3)]
        for writer in writers:
            writer.start()
        referee.await_progress()
        for number in range(rounds):
            fault = FAULTS_FIRST[number] if number < len(FAULTS_FIRST) else chance.choice(faults)
            seconds = chance.uniform(0.2, 2.5)
            say(f"round {number + 1}: {fault}, {seconds:.1f} s")
            writer = chance.choice(writers)
            if fault == "kill writer":
                writer.kill()
                _pass(seconds / 4, referee)
            else:
                broker = _leader(brokers, settings)
                begin, end = {
                    "pause writer": (writer.pause, writer.resume),
                    "cut": (proxy.cut, proxy.heal) if proxy else (broker.pause, broker.resume),
                    "pause broker": (broker.pause, broker.resume),
                    "kill broker": (broker.kill, broker.start),
                }[fault]
                begin()
                _pass(seconds, referee)
                end()
            for each in writers:
                each.start()
            referee.await_progress()
            _pass(chance.uniform(0.2, 1.5), referee)  # long enough for the two to fence each other
            if number == rounds // 2:
                referee.mark_middle()
        for each in writers:
            each.kill()
        return referee.problems([each.journal for each in writers if each.journal.exists()])


def _pass(seconds: float, referee: Referee) -> None:
    """Let the fault last, and follow the log meanwhile."""
    deadline = monotonic() + seconds
    while (left := deadline - monotonic()) > 0:
        referee.follow(left)


def _servers(folder: Path, nodes: int, stack: ExitStack) -> tuple[list[Broker], str, str, Proxy | None]:
    """Start the brokers. Return them, two addresses of them, and the proxy at the second address if there is one."""
    if nodes > 1:
        cluster = stack.enter_context(Cluster(folder / "cluster", size=nodes))
        return cluster.nodes, cluster.bootstrap, cluster.bootstrap, None
    port, inner, outer, controller = free_port(), free_port(), free_port(), free_port()
    listeners = f"PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{inner}"
    broker = Broker(
        folder / "broker",
        port=port,
        properties={
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{outer}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        },
    )
    stack.callback(broker.kill)
    broker.start()
    proxy = stack.enter_context(Proxy(outer, inner))
    return [broker], broker.bootstrap, f"127.0.0.1:{outer}", proxy


def _leader(brokers: list[Broker], settings: Settings) -> Broker:
    if len(brokers) == 1:
        return brokers[0]
    admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers.split(","))
    try:
        leader = admin.describe_topics([settings.topic])[0]["partitions"][0]["leader_id"]
    finally:
        admin.close()
    return next(broker for broker in brokers if broker.node_id == leader)


def main() -> int:
    """Run as a writer, or as the referee."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=1)
    for name in ("--writer", "--journal", "--bootstrap", "--topic"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--pause", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.writer:
        settings = settings_of(arguments.bootstrap, arguments.topic, arguments.nodes)
        write_for_ever(settings, arguments.writer, Path(arguments.journal), arguments.pause)
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        problems, counts = run(arguments.rounds, arguments.seed, arguments.nodes, folder=Path(folder))
    for problem in problems:
        print(f"BROKEN: {problem}")  # noqa: T201
    print(json.dumps({"rounds": arguments.rounds, "broken": len(problems)} | counts))  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
