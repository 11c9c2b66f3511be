"""`tidings demo`: starts an exchange, plays the ten weeks on it, shows what came of it, and goes on serving.

Every run begins afresh, in a database (with `--kafka`: a broker) of its own under `TIDINGS_HOME/demo`: the same seed gives
the same result however often it is run, on either store. What was traded in an earlier demo by hand is gone then.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import SecretStr

from api import logs
from api.cli.client import Client, ClientError
from api.demo.play import Play
from api.demo.show import collect, show
from api.processes import Embedded, Stop, wait_for_stop
from local.kafka import Broker
from local.postgres import Postgres, drop_database
from local.processes import StartError, end_with_us, last_lines, locked
from settings import environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from settings import Settings

DATABASE: Final = "demo"
STOP_SECONDS: Final = 15


def run_demo(settings: Settings, *, kafka: bool, once: bool, as_json: bool, seed: int) -> int:
    """Run the demo and return its exit code: 1 when what came of it does not add up."""
    folder = settings.home / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    key = f"tdg_{secrets.token_urlsafe(32)}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(folder / "lock", timeout_seconds=2))
        settings = settings.model_copy(
            update={
                "dsn": _fresh_database(folder, stack),
                "clock": "command",
                "log": "kafka" if kafka else "postgres",
                "operator_key": SecretStr(key),
                "host": "127.0.0.1",
                "port": 0 if once else _port(settings.port),
                "home": folder,
                "public_reads": True,
            }
        )
        logs.configure(settings, level="warning")
        if kafka:
            processes = stack.enter_context(Processes(settings, folder))
            url, wait, broken = processes.url, processes.wait_for_stop, processes.broken
        else:
            running = stack.enter_context(Embedded(settings))
            url, wait, broken = running.url, lambda: wait_for_stop(running), running.broken
        client = stack.enter_context(contextlib.closing(Client(url, key)))
        play = Play(client, seed, told=_progress())
        try:
            play.run()
            found = collect(client, play)
        except (ClientError, OSError) as error:
            print(f"tidings: {broken() or error}", file=sys.stderr)
            return 3
        if as_json:
            print(json.dumps(found), flush=True)
        else:
            show(found, sys.stdout)
        problems = check(found)
        for line in problems:
            print(f"tidings: {line}", file=sys.stderr)
        if once:
            return 1 if problems else 0
        out = sys.stderr if as_json else sys.stdout
        print(
            f"\nServing at {url} (try {url}/docs) until interrupted.\nKey (operator, admin): {key}",
            file=out,
            flush=True,
        )
        problem = wait()
        if problem is not None:
            print(f"tidings: {problem}", file=sys.stderr)
            return 3
        return 0


def check(found: dict[str, Any]) -> list[str]:
    """Return what does not add up: the ledger's sum, or a market's odds."""
    problems = []
    if found["ledger_sum"] != "0.000000":
        problems.append(f"the ledger sums to {found['ledger_sum']}")
    for market in found["markets"]:
        micros = sum(int(row["price"].replace(".", "")) for row in market["outcomes"])
        if micros != 1_000_000:
            problems.append(f"the odds of {market['slug']} sum to {micros / 1_000_000}")
    return problems


class Processes:
    """A local broker, and engine, projector and api as processes of their own. A context manager.

    Their log lines are in files beside the data: `engine.log`, `projector.log`, `api.log`.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        port = settings.port or _port(0)
        self.url = f"http://127.0.0.1:{port}"
        self._settings = settings.model_copy(update={"port": port, "kafka_replication": 1, "log_format": "json"})
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._call_off: dict[str, Callable[[], None]] = {}

    def __enter__(self) -> Self:
        """Start a new broker, then the three."""
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

    def broken(self) -> str | None:
        """Return which of the three has ended, with its last lines, or None."""
        for name, child in self._children.items():
            if child.poll() is not None:
                return f"{name} ended with {child.returncode}:\n{last_lines(self._folder / f'{name}.log')}"
        return None

    def wait_for_stop(self) -> str | None:
        """Wait for SIGINT or SIGTERM, or until one of them has ended; return which."""
        with Stop() as stop:
            while not stop.wait(1.0):
                problem = self.broken()
                if problem is not None:
                    return problem
        return None

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("w") as log:
            child = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-m", "api", name],
                env=environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for us; we stop them in order
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


def _fresh_database(folder: Path, stack: contextlib.ExitStack) -> str:
    server = stack.enter_context(Postgres.start(folder / "postgres"))
    drop_database(server.dsn(), DATABASE)
    return server.database(DATABASE)


def _port(wanted: int) -> int:
    """Return the port that is wanted, or any other when it is taken."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as probe:
            return int(probe.getsockname()[1])
    raise StartError("no free port")


def _progress() -> Callable[[str, float], None]:
    """Return what shows on a terminal how far the ten weeks are, and elsewhere nothing."""
    if not sys.stderr.isatty():
        return lambda _text, _part: None

    def tell(day: str, part: float) -> None:
        print(f"\r{day}  {part:4.0%} ", end="\n" if part >= 1 else "", file=sys.stderr, flush=True)

    return tell
