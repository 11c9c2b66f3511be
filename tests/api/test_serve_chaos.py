"""`tidings serve` and its PostgreSQL are killed, paused and started twice under load, many times. Only `make chaos` runs it.

It claims what the chaos runs of the log in Kafka claim (tests/eventsourcing_kafka/chaos.py): every answer is in the log
once, as it was given.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from pydantic import SecretStr

from consumers.engine.postgres_log import postgres_recorder
from local.processes import free_port, polls
from messages.commands import order_command_id
from settings import Settings, environment
from tests.api.conftest import OPERATOR_KEY, Api, Exchange, start_another
from tests.consumers.checks import check_log, recorded
from tests.consumers.processes import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local.postgres import Postgres

TRADERS = 4
RECOVER_SECONDS = 60


class Server:
    """`tidings serve` as a process, and its database. Each fault that a test can inject is a method."""

    def __init__(self, settings: Settings, postgres: Postgres, output: Path, seed: int) -> None:
        self.settings = settings
        self.postgres = postgres
        self.chance = random.Random(seed)  # noqa: S311  repeatable
        self._output = output
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns at once."""
        with self._output.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "api", "serve"], env=environment(self.settings), stdout=output, stderr=output
            )

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def wait_until_ready(self) -> None:
        """Wait until it takes orders; if it has ended by itself, start it again, as a supervisor would."""
        for _ in polls(RECOVER_SECONDS):
            if self._child is None or self._child.poll() is not None:
                self.start()
            try:
                if httpx.get(f"http://127.0.0.1:{self.settings.port}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                continue
        pytest.fail(f"not ready after {RECOVER_SECONDS} s:\n{self._output.read_text()[-4000:]}")

    def kill(self) -> None:
        """Kill -9, and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Pause it in the middle of its work."""
        assert self._child is not None, "it was started"
        self._child.send_signal(signal.SIGSTOP)
        self._let_pass(2.0)
        self._child.send_signal(signal.SIGCONT)

    def kill_postgresql(self) -> None:
        """Kill -9 the database server."""
        self.postgres.kill()
        self._let_pass(0.5)
        self.postgres.restart()

    def pause_postgresql(self) -> None:
        """Pause the database server with all its sessions, long enough to leave appends in doubt."""
        pause(self.postgres, self.chance.uniform(0, 3.0))

    def kill_all(self) -> None:
        """Kill both at once."""
        self.postgres.kill()
        self.stop()
        self.postgres.restart()
        self.start()

    def start_another(self) -> None:
        """Start a second server by mistake: it ends with the reason, and the first one goes on."""
        self.wait_until_ready()
        another = start_another(self.settings)
        assert (another.returncode, "tidings: another engine is running" in another.stderr) == (3, True), another.stderr
        assert self._child is not None, "it was started"
        assert self._child.poll() is None, "the first one goes on"

    def _let_pass(self, seconds_max: float) -> None:
        threading.Event().wait(self.chance.uniform(0, seconds_max))


FAULTS: Final[list[Callable[[Server], None]]] = [
    Server.kill,
    Server.kill_postgresql,
    Server.start_another,
    Server.pause,
    Server.pause_postgresql,
    Server.kill_all,
]


@contextmanager
def trading(url: str, keys: list[str], market: str) -> Iterator[list[dict[str, Any]]]:
    """Place orders inside the context, sending each again until it is answered; the list has the answers."""
    ended = threading.Event()
    answers: list[dict[str, Any]] = []

    def trade(key: str, trader: int) -> None:
        with httpx.Client(base_url=url, timeout=10) as client:
            api, number = Api(client, key), 0
            while not ended.is_set():
                number += 1
                body = {
                    "market_id": market, "client_order_id": f"c-{trader}-{number}", "outcome": "Yes", "side": "buy",
                    "type": "market", "spend": "0.010000",
                }  # fmt: skip
                while (answer := sent(api, body)) is None:
                    ended.wait(0.05)
                answers.append(answer)

    threads = [threading.Thread(target=trade, args=(key, trader)) for trader, key in enumerate(keys)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def sent(api: Api, body: dict[str, Any]) -> dict[str, Any] | None:
    """The answer to an order, or None when it must be sent again; a refusal of the order fails the test."""
    try:
        response = api.post("/orders", body)
    except httpx.TransportError:
        return None
    assert response.status_code in {201, 429, 500, 503, 504}, response.text
    return response.json() if response.status_code == 201 else None


@pytest.mark.chaos
@pytest.mark.timeout(4 * 3600)
def test_every_answer_is_in_the_log_once(own_postgres: Postgres, server_folder: Path) -> None:
    """After a hundred faults, each answer is in the log. `SERVE_CHAOS_ROUNDS` and `SERVE_CHAOS_SEED` vary the run."""
    rounds, seed = (
        int(os.environ.get(f"SERVE_CHAOS_{name}", default)) for name, default in (("ROUNDS", 100), ("SEED", 1))
    )
    dsn = own_postgres.database("tidings")
    settings = Settings(
        dsn=dsn, home=server_folder / "home", port=free_port(), operator_key=SecretStr(OPERATOR_KEY), log_level="error"
    )
    url = f"http://127.0.0.1:{settings.port}"
    server = Server(settings, own_postgres, server_folder / "serve.txt", seed)
    faults = [FAULTS[number % len(FAULTS)] for number in range(rounds)]
    try:
        server.start()
        server.wait_until_ready()
        with httpx.Client(base_url=url, timeout=10) as client:
            exchange = Exchange(None, Api(client))  # type: ignore[arg-type]  # it runs elsewhere
            market = exchange.market()
            traders = [exchange.trader("1000") for _ in range(TRADERS)]
        with trading(url, [trader.api.key for trader in traders], market["market_id"]) as answers:
            for fault in server.chance.sample(faults, len(faults)):
                before = len(answers)
                fault(server)
                server.wait_until_ready()
                for _ in polls(RECOVER_SECONDS):
                    if len(answers) > before + TRADERS:
                        break
                assert len(answers) > before + TRADERS, f"nobody was answered after {fault.__name__}"
        verified = subprocess.run(
            [sys.executable, "-m", "api", "verify", "--json"],
            env=environment(settings), capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
    finally:
        server.stop()

    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert json.loads(verified.stdout)["equal"]
    with postgres_recorder(dsn, 0) as recorder:
        check_log(recorder, [])
        last = {event.command_id: event.position for event in recorded(recorder)}
    for answer in answers:
        command_id = order_command_id(answer["account_id"], answer["client_order_id"])
        assert last.get(command_id) == answer["position"], f"{command_id} was answered otherwise"
    assert len(answers) > 20 * rounds
