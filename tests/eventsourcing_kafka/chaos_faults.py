"""The servers and writers of the chaos test, and the faults that they suffer."""

from __future__ import annotations

import resource
import shutil
import signal
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from kafka import KafkaAdminClient

from eventsourcing_kafka import Settings, ensure_topic
from local.kafka import Broker, Cluster
from local.processes import free_port
from tests.eventsourcing_kafka.chaos_writers import WriterProcess, settings_of
from tests.eventsourcing_kafka.proxy import Proxy
from tests.stepped_clock import SteppedClock, has_compiler

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

REFUSED_SECONDS = 120
"""The longest time until a recorder gets on, and until it refuses a log that was rolled back."""


class Fault(NamedTuple):
    """Something that goes wrong for a while."""

    name: str
    begin: Callable[[], object]
    end: Callable[[], object]


class Stage:
    """One broker or three, and three writers: a direct one whose clock begins two hours ahead, one whose network fails, and
    a recorder, whose network and disk fail.
    """

    def __init__(self, folder: Path, nodes: int, topic: str, chance: random.Random, stack: ExitStack) -> None:
        """Start the brokers, and make the topic. The writers are not started."""
        self._folder = folder
        self._chance = chance
        self.nodes = Cluster(folder / "cluster", size=nodes).nodes
        self._inner = [free_port() for _ in self.nodes]
        self._outer = [free_port() for _ in self.nodes]
        for node, inner, outer in zip(self.nodes, self._inner, self._outer, strict=True):
            node._properties = _with_proxied_listener(node, inner, outer)
        stack.callback(self.kill_brokers)
        self.start_brokers()
        pairs = zip(self._outer, self._inner, strict=True)
        self._proxies = [stack.enter_context(Proxy(outer, inner)) for outer, inner in pairs]
        direct = ",".join(node.bootstrap for node in self.nodes)
        proxied = ",".join(f"127.0.0.1:{port}" for port in self._outer)
        self.settings = settings_of(direct, topic, nodes)
        ensure_topic(self.settings)
        indexed = settings_of(proxied, topic, nodes, str(folder / "index"))
        self.writers = [
            self._writer("writer", "a", self.settings),
            self._writer("writer", "b", settings_of(proxied, topic, nodes)),
            self._writer("recorder", "c", indexed),
        ]
        if (clock := self.writers[0].clock) is not None:
            clock.step(7200)
        self.recorder = self.writers[-1]
        stack.callback(self.kill_writers)

    def _writer(self, kind: str, name: str, settings: Settings) -> WriterProcess:
        clock = SteppedClock(self._folder / f"clock-{name}") if has_compiler() else None
        return WriterProcess(kind, name, settings, self._folder, clock)

    def start_brokers(self) -> None:
        """Start those that are not running, and wait until all are in service."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_ready(timeout_seconds=120)

    def kill_brokers(self) -> None:
        """Kill all."""
        for node in self.nodes:
            node.kill()

    def start_writers(self) -> None:
        """Start those that are not running."""
        for writer in self.writers:
            writer.start()

    def kill_writers(self) -> None:
        """Kill all."""
        for writer in self.writers:
            writer.kill()

    def last_notes(self) -> str:
        """Return the last lines of each journal, to see who was stuck."""
        found = {writer.name: writer.journal.read_text().splitlines()[-4:] for writer in self.writers}
        return f"the journals end with {found}"

    def faults(self, names: list[str]) -> list[Fault]:
        """Return the faults of these names, each with somebody chosen at random who suffers it."""
        return [self._fault(name) for name in names if name != "step clock" or has_compiler()]

    def choose(self) -> list[str]:
        """Return the names of one fault, or of two that happen at the same time."""
        writer, network, broker = (
            ["kill writer", "pause writer", "disk full"],
            ["cut", "delay", "blackhole", "deaf"],
            [],
        )
        if self.writers[0].clock is not None:
            writer += ["step clock"] * 2
        broker = ["kill broker", "pause broker", "broker's disk full"]
        chosen = self._chance.choices([writer, network, broker], [5, 4, 1], k=2)
        count = 2 if chosen[0] is not chosen[1] and self._chance.random() < 0.4 else 1
        return [self._chance.choice(kind) for kind in chosen[:count]]

    def _fault(self, name: str) -> Fault:
        if "broker" in name:
            leader = self._leader()
            begin = {
                "kill broker": leader.kill,
                "pause broker": leader.pause,
                "broker's disk full": lambda: _fill_disk(leader, self.settings.topic),
            }[name]
            return Fault(name, begin, leader.resume if name == "pause broker" else lambda: self._restart(leader))
        if name in {"cut", "delay", "blackhole", "deaf"}:
            return Fault(name, lambda: self._break_network(name), lambda: [proxy.heal() for proxy in self._proxies])
        writer = self._chance.choice(self.writers)
        if name == "disk full":
            size = self.recorder.index.stat().st_size if self.recorder.index.exists() else 0
            return Fault(name, lambda: self.recorder.limit_files(size), lambda: self.recorder.limit_files(-1))
        if name == "step clock":
            assert writer.clock is not None, "chosen only with a compiler"
            seconds = self._chance.choice([-60, -60, -3600, 3600, 60])
            step = writer.clock.step
            return Fault(f"{name} of {writer.name} by {seconds}", lambda: step(seconds), lambda: None)
        if name == "kill writer":
            return Fault(f"{name} {writer.name}", writer.kill, writer.start)
        pause = [lambda: writer.send(signal.SIGSTOP), lambda: writer.send(signal.SIGCONT)]
        return Fault(f"{name} {writer.name}", *pause)

    def _break_network(self, how: str) -> None:
        for proxy in self._proxies:
            if how == "cut":
                proxy.cut()
            elif how == "delay":
                proxy.delay(self._chance.uniform(0.05, 0.8))
            else:
                proxy.lose(*(["answers"] if how == "deaf" else ["requests", "answers"]))

    def _restart(self, node: Broker) -> None:
        node.kill()
        node.start(timeout_seconds=120)

    def _leader(self) -> Broker:
        if len(self.nodes) == 1:
            return self.nodes[0]
        admin = KafkaAdminClient(bootstrap_servers=self.settings.bootstrap_servers.split(","))
        try:
            leader = admin.describe_topics([self.settings.topic])[0]["partitions"][0]["leader_id"]
        finally:
            admin.close()
        return next((node for node in self.nodes if node.node_id == leader), self.nodes[0])

    def roll_back(self) -> list[str]:
        """Restore the brokers' disks from a backup for a while; return what is wrong: the recorder must refuse this log."""
        for writer in self.writers[:-1]:
            writer.kill()
        self.kill_brokers()
        for node in self.nodes:
            shutil.rmtree(node.folder / "backup", ignore_errors=True)
            shutil.copytree(node.folder / "data", node.folder / "backup")
        before = self.recorder.noted()
        self.start_brokers()
        self._await_read(before)
        self.kill_brokers()
        for node in self.nodes:
            (node.folder / "data").rename(node.folder / "true")
            (node.folder / "backup").rename(node.folder / "data")
        sleep(2 * self.settings.append_timeout)  # until the clients of the true log have been told
        before = self.recorder.noted()
        self.start_brokers()
        problems = self._await_refusal(before)
        self.kill_brokers()
        for node in self.nodes:
            shutil.rmtree(node.folder / "data")
            (node.folder / "true").rename(node.folder / "data")
        self.start_brokers()
        return problems

    def _await_read(self, before: int) -> None:
        """Wait until the recorder was told of an event that the backup lacks, and has read it."""
        deadline = monotonic() + REFUSED_SECONDS
        while True:
            noted = self.recorder.journal.read_bytes()[before:].decode()
            if "\nread " in noted.partition("told ")[2]:
                return
            if monotonic() > deadline:
                raise TimeoutError("The recorder did not get on")
            sleep(0.05)

    def _await_refusal(self, before: int) -> list[str]:
        deadline = monotonic() + REFUSED_SECONDS
        while True:
            noted = self.recorder.journal.read_bytes()[before:].decode()
            told = [line for line in noted.splitlines() if line.startswith(("told", "read"))]
            if told:
                return [f"a log that was rolled back was accepted: {told[0]}"]
            if "LogRolledBack" in noted:
                return []
            if monotonic() > deadline:
                return [f"a log that was rolled back was not refused within {REFUSED_SECONDS} s"]
            sleep(0.05)


def _with_proxied_listener(node: Broker, inner: int, outer: int) -> dict[str, str]:
    own, controller = f"PLAINTEXT://127.0.0.1:{node.port}", f"CONTROLLER://127.0.0.1:{node.controller_port}"
    return {
        "listeners": f"{own},PROXIED://127.0.0.1:{inner},{controller}",
        "advertised.listeners": f"{own},PROXIED://127.0.0.1:{outer}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
    }


def _fill_disk(node: Broker, topic: str) -> None:
    """Refuse the broker's writes beyond the present size of the log: it stops."""
    segment = max((node.folder / "data" / f"{topic}-0").glob("*.log"))
    assert node.pid is not None
    with suppress(ProcessLookupError):
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (segment.stat().st_size + 100, -1))
