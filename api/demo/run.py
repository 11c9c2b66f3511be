"""`tidings demo`: starts an exchange, plays ten weeks of trading on it, shows the result and goes on serving.

Every run starts with a new database (with `--kafka` also a new broker) under `TIDINGS_HOME/demo`. So the same seed gives the
same result however often it is played, on either store. Orders that somebody placed by hand in an earlier demo are lost.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from api import logs
from api.client import ClientError, HttpClient
from api.demo.kafka_processes import KafkaProcesses
from api.demo.play import Play
from api.demo.show import collect, show
from api.processes import Embedded
from api.stop_signals import wait_for_stop
from domain.money import MICRO
from local.postgres import Postgres, drop_database
from local.processes import free_port, locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from settings import Settings

DATABASE: Final = "demo"
"""The name of the demo's database."""


def run_demo(settings: Settings, *, kafka: bool, once: bool, as_json: bool, seed: int) -> int:
    """Run the demo and return its exit code: 1 when the ledger or the odds do not add up, 3 when the exchange failed."""
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
        running: KafkaProcesses | Embedded = KafkaProcesses(settings, folder) if kafka else Embedded(settings)
        stack.enter_context(running)
        client = stack.enter_context(contextlib.closing(HttpClient(running.url, key)))
        play = Play(client, seed, progress=_progress())
        try:
            play.run()
            result = collect(client, play)
        except (ClientError, OSError) as error:
            print(f"tidings: {running.problem() or error}", file=sys.stderr)
            return 3
        problems = _report(result, as_json=as_json)
        if once:
            return 1 if problems else 0
        print(
            f"\nServing at {running.url} (try {running.url}/docs) until interrupted.\nKey (operator, admin): {key}",
            file=sys.stderr if as_json else sys.stdout,
            flush=True,
        )
        problem = wait_for_stop(running.problem)
        if problem is not None:
            print(f"tidings: {problem}", file=sys.stderr)
            return 3
        return 0


def check(result: dict[str, Any]) -> list[str]:
    """Return what does not add up: the sum of the ledger, or the odds of a market."""
    problems = []
    if result["ledger_sum"] != "0.000000":
        problems.append(f"the ledger sums to {result['ledger_sum']}")
    for market in result["markets"]:
        micros = sum(int(row["price"].replace(".", "")) for row in market["outcomes"])
        if micros != MICRO:
            problems.append(f"the odds of {market['slug']} sum to {micros / MICRO}")
    return problems


def _report(result: dict[str, Any], *, as_json: bool) -> list[str]:
    """Print the result, and on stderr what does not add up; return the latter."""
    if as_json:
        print(json.dumps(result), flush=True)
    else:
        show(result, sys.stdout)
    problems = check(result)
    for line in problems:
        print(f"tidings: {line}", file=sys.stderr)
    return problems


def _fresh_database(folder: Path, stack: contextlib.ExitStack) -> str:
    """Return the DSN of an empty database, on a server that runs until the stack closes."""
    server = stack.enter_context(Postgres.start(folder / "postgres"))
    drop_database(server.dsn(), DATABASE)
    return server.database(DATABASE)


def _port(wanted: int) -> int:
    """Return the wanted port, or another when it is taken or 0."""
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", wanted)) as probe:
        return int(probe.getsockname()[1])
    return free_port()


def _progress() -> Callable[[str, float], None]:
    """Return a function that shows on a terminal how far the ten weeks are; elsewhere it shows nothing."""
    if not sys.stderr.isatty():
        return lambda _day, _part: None

    def progress(day: str, part: float) -> None:
        print(f"\r{day}  {part:4.0%} ", end="\n" if part >= 1 else "", file=sys.stderr, flush=True)

    return progress
