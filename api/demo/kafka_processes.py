"""The demo's distributed form: a local Kafka broker, and the parts of the exchange as processes of their own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final, Self

from api.child_process import ChildProcess
from local.kafka import Broker
from local.processes import StartError, free_port, last_lines, polls
from settings import environment
from tidings_client import Client, UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from settings import Settings

PROCESSES: Final = ("engine", "projector", "feed", "webhooks", "api")
"""The commands that run beside the broker."""

READY_SECONDS: Final = 120
"""The longest wait for the first answer of the server."""


class KafkaProcesses:
    """A broker and the processes of an exchange, on the port of the settings (0: any). A context manager.

    Their log lines are in files beside the data, such as `engine.log`. Once started, `settings` name the broker.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        port = settings.port or free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.settings = settings.model_copy(update={"port": port, "kafka_replication": 1, "log_format": "json"})
        self._children: dict[str, ChildProcess] = {}

    def __enter__(self) -> Self:
        """Start a new broker, then the processes, and wait until the server answers."""
        with contextlib.ExitStack() as stack:
            shutil.rmtree(self._folder / "kafka", ignore_errors=True)
            broker = stack.enter_context(Broker(self._folder / "kafka"))
            self.settings = self.settings.model_copy(update={"kafka_brokers": broker.bootstrap})
            self._run("topics", "create")
            for name in PROCESSES:
                self._children[name] = self._start(name, stack)
            self._wait_until_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all, the broker last."""
        self._stack.close()

    def problem(self) -> str | None:
        """Return which of the processes has ended, with its last log lines, or None."""
        for name, child in self._children.items():
            if child.exit_code is not None:
                return f"{name} ended with {child.exit_code}:\n{last_lines(self._folder / f'{name}.log')}"
        return None

    def _wait_until_ready(self) -> None:
        for _ in polls(READY_SECONDS):
            if problem := self.problem():
                raise StartError(problem)
            with contextlib.suppress(UnreachableError), Client(self.url, wait_for_server=False) as client:
                client.get_health()
                return
        raise StartError(f"api did not answer in {READY_SECONDS} s:\n{last_lines(self._folder / 'api.log')}")

    def _start(self, name: str, stack: contextlib.ExitStack) -> ChildProcess:
        with (self._folder / f"{name}.log").open("w") as log:
            # One process can have the port of the settings: it is the API.
            settings = self.settings if name == "api" else self.settings.model_copy(update={"ops_port": None})
            child = ChildProcess(name, settings, output=log)
        stack.callback(child.stop)
        return child

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603  our own program
            [sys.executable, "-P", "-m", "api", *arguments],  # -P: not from the user's folder
            env=environment(self.settings),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StartError(f"tidings {' '.join(arguments)} failed: {done.stderr}")
