"""`tidings serve` as a process: first start, kill -9 under load and start again, a clean stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import httpx
import psutil
from pydantic import SecretStr

from local.processes import free_port, polls
from settings import Settings, environment
from tests.api.conftest import Api, Exchange, start_another

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def served(settings: Settings, log: IO[str] | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A ready server in a process of its own, and the first line that it printed; its log lines go to `log`."""
    child = subprocess.Popen(
        [sys.executable, "-m", "api", "serve"], env=environment(settings), stdout=subprocess.PIPE, stderr=log, text=True
    )
    assert child.stdout is not None
    printed = child.stdout.readline()
    try:
        for _ in polls(60):
            assert child.poll() is None
            try:
                if httpx.get(f"http://127.0.0.1:{settings.port}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                continue
        yield child, printed
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_the_first_start_shows_a_key_and_a_later_one_does_not(server_folder: Path) -> None:
    """The key has the roles operator and admin; SIGTERM ends with 0; the second start prints no key."""
    settings = Settings(home=server_folder, port=free_port(), log_level="error")
    with served(settings) as (child, _):
        assert child.stdout is not None
        key = child.stdout.readline().split()[-1]
        with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}") as client:
            Api(client, key).done("/accounts", {"name": "ada"})
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0

    with served(settings) as (child, _):
        child.send_signal(signal.SIGINT)
        assert child.stdout is not None
        assert child.stdout.read() == ""
        assert child.wait(30) == 0


def test_nothing_that_was_answered_is_lost_by_a_kill(database: str, server_folder: Path) -> None:
    """After kill -9 under load and a restart, each answered order is there once; the others are placed when sent again.

    A second server that somebody starts by mistake is then refused in one sentence.
    """
    key = "operator-key-of-the-tests-0123456789"
    settings = Settings(
        dsn=database, home=server_folder, port=free_port(), operator_key=SecretStr(key), log_level="error"
    )
    url = f"http://127.0.0.1:{settings.port}"
    answers: dict[str, Any] = {}

    def send(api: Api, body: dict[str, Any]) -> None:
        try:
            response = api.post("/orders", body)
        except httpx.TransportError:
            return
        if response.status_code == 201:
            answers[body["client_order_id"]] = response.json()

    with served(settings) as (child, _), httpx.Client(base_url=url, timeout=10) as client:
        exchange = Exchange(None, Api(client, key))  # type: ignore[arg-type]  # it runs elsewhere
        market, trader = exchange.market(), exchange.trader("1000")
        bodies = [trader.order(market["market_id"]) for _ in range(200)]

        def load(part: list[dict[str, Any]]) -> None:
            for body in part:
                send(trader.api, body)

        threads = [threading.Thread(target=load, args=(bodies[i::4],)) for i in range(4)]
        for thread in threads:
            thread.start()
        for _ in polls(30):
            if len(answers) >= 40:
                break
        os.kill(child.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()

    answered = dict(answers)
    assert 40 <= len(answered) < 200
    with served(settings), httpx.Client(base_url=url, timeout=10) as client:
        api = Api(client, trader.api.key)
        again = [api.done("/orders", body) for body in bodies]
        fills = api.data(f"/accounts/{trader.account_id}/fills", limit=1000, min_position=again[-1]["position"])
        ledger = Api(client, key).data("/ledger")
        second = start_another(settings)
        assert api.done("/orders", bodies[0]) == again[0], "the first one goes on"

    assert (second.returncode, "tidings: another engine is running" in second.stderr) == (3, True), second.stderr
    assert "Traceback" not in second.stderr
    assert {name: answer for name, answer in ((a["client_order_id"], a) for a in again) if name in answered} == answered
    assert sorted(fill["order_id"] for fill in fills) == sorted(answer["order_id"] for answer in again)
    assert ledger["sum"] == "0.000000"


def projector_of(server: subprocess.Popen[str]) -> psutil.Process:
    """The child process that folds the log for this server."""
    return next(child for child in psutil.Process(server.pid).children() if child.cmdline()[-1:] == ["projector"])


def has_ended(process: psutil.Process) -> bool:
    """Whether the process ends within seconds."""
    gone, _ = psutil.wait_procs([process], timeout=20)
    return bool(gone)


def test_the_server_and_its_projector_end_together(database: str, server_folder: Path) -> None:
    """When one is killed, or told to stop, the other stops in order: also when it is the server that is killed.

    Ctrl-C in a terminal reaches the server alone, because its projector has a session of its own.
    """
    settings = Settings(dsn=database, home=server_folder, port=free_port(), log_level="error")
    with served(settings) as (server, _):
        projector = projector_of(server)
        assert os.getsid(projector.pid) == projector.pid
        projector.kill()
        assert server.wait(30) == 3

    with served(settings) as (server, _):
        projector = projector_of(server)
        server.kill()
        assert has_ended(projector)

    with served(settings) as (server, _):
        projector = projector_of(server)
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert not projector.is_running()


def test_a_request_leaves_one_line_without_secrets(database: str, server_folder: Path) -> None:
    """The line has ids, position, status and milliseconds, but neither key nor body."""
    key = "operator-key-of-the-tests-0123456789"
    settings = Settings(dsn=database, home=server_folder, port=free_port(), operator_key=SecretStr(key))
    url, headers = f"http://127.0.0.1:{settings.port}", {"x-request-id": "mine-1", "idempotency-key": "once"}
    with (
        (server_folder / "log").open("w") as log,
        served(settings, log),
        httpx.Client(base_url=url) as client,
    ):
        opened = Api(client, key).done("/accounts", {"name": "somebody"}, headers=headers)
        for _ in polls(30):  # the line is written when the answer is out
            if '"mine-1"' in (server_folder / "log").read_text():
                break

    text = (server_folder / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "mine-1"]
    assert (line["command_id"], line["position"], line["status"]) == ("OpenAccount:once", opened["position"], 201)
    assert line["ms"] > 0
    assert key not in text
    assert "somebody" not in text
