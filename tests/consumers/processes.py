"""Engines as processes that a test may kill, pause and start again."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import sleep
from typing import Self

import psutil

from local.postgres import Postgres
from settings import Settings

ROOT = Path(__file__).parent.parent.parent


def kafka_settings(home: Path, brokers: str, prefix: str) -> Settings:
    """Return the settings of a log in Kafka on one machine."""
    return Settings(
        home=home,
        log="kafka",
        kafka_brokers=brokers,
        kafka_replication=1,
        kafka_topic_prefix=prefix,
        append_ms=2_000,
        reply_ms=60_000,
    )


def pause(postgres: Postgres, seconds: float) -> None:
    """Stop a database server and all its sessions for so long."""
    assert postgres.pid is not None, "it runs"
    server = psutil.Process(postgres.pid)
    paused = [server, *server.children(recursive=True)]
    for process in paused:
        process.suspend()
    sleep(seconds)
    for process in reversed(paused):
        process.resume()


class EngineProcess:
    """`tidings engine` with these settings, or another command."""

    def __init__(
        self,
        settings: Settings,
        output: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        command: str = "engine",
    ) -> None:
        self._output = output
        self._options = (command, *options)
        self._env = os.environ | {
            "TIDINGS_HOME": str(settings.home),
            "TIDINGS_LOG": "kafka",
            "TIDINGS_KAFKA_BROKERS": settings.kafka_brokers,
            "TIDINGS_KAFKA_REPLICATION": "1",
            "TIDINGS_KAFKA_TOPIC_PREFIX": settings.kafka_topic_prefix,
            "TIDINGS_APPEND_MS": str(settings.append_ms),
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it; returns at once."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "api", *self._options],
                cwd=ROOT,
                env=self._env,
                stdout=output,
                stderr=output,
            )
        return self

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        """Whether it has been started and not ended."""
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal. After SIGSTOP, all its threads stand."""
        assert self._process is not None, "start it first"
        self._process.send_signal(number)
        if number is signal.SIGSTOP:
            os.waitpid(self._process.pid, os.WUNTRACED)

    def wait(self, seconds: float = 30) -> int:
        """Wait for its end and return its exit code."""
        assert self._process is not None, "start it first"
        return self._process.wait(seconds)

    def kill(self) -> None:
        """Kill it (-9)."""
        if self._process is not None and self.running:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
