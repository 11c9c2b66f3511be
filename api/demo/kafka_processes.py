"""The demo's distributed form: a local Kafka broker, and engine, projector and api as processes of their own."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final, Self

from local.kafka import Broker
from local.processes import StartError, end_with_us, free_port, last_lines
from settings import environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from settings import Settings

STOP_SECONDS: Final = 15
"""The time that a process has to stop before it is killed."""


class KafkaProcesses:
    """A broker and the three processes, on the port of the settings (0: any). A context manager.

    Their log lines are in files beside the data: `engine.log`, `projector.log`, `api.log`.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        port = settings.port or free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._settings = settings.model_copy(update={"port": port, "kafka_replication": 1, "log_format": "json"})
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._call_off: dict[str, Callable[[], None]] = {}

    def __enter__(self) -> Self:
        """Start a new broker, then the three processes."""
        with contextlib.ExitStack() as stack:
            for name in ("kafka", "index"):
                shutil.rmtree(self._folder / name, ignore_errors=True)
            broker = stack.enter_context(Broker(self._folder / "kafka"))
            self._settings = self._settings.model_copy(update={"kafka_brokers": broker.bootstrap})
            self._run("topics", "create")
            for name in ("engine", "projector", "api"):
                self._children[name] = self._start(name)
                stack.callback(self._stop, name)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all, the broker last."""
        self._stack.close()

    def problem(self) -> str | None:
        """Return which of the three processes has ended, with its last log lines, or None."""
        for name, child in self._children.items():
            if child.poll() is not None:
                return f"{name} ended with {child.returncode}:\n{last_lines(self._folder / f'{name}.log')}"
        return None

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("w") as log:
            child = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-m", "api", name],
                env=environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal reaches only us, and we stop them in order
            )
        self._call_off[name] = end_with_us(child.pid, signal.SIGTERM)
        return child

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603  our own program
            [sys.executable, "-m", "api", *arguments],
            env=environment(self._settings),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StartError(f"tidings {' '.join(arguments)} failed: {done.stderr}")

    def _stop(self, name: str) -> None:
        child = self._children[name]
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self._call_off[name]()
