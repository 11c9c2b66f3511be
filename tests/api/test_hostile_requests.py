"""Hostile requests over HTTP: each is answered or hung up on in time, never by an error of the server; others go on.

pytest -m chaos tests/api/test_hostile_requests.py      the long form: a million requests, for tens of minutes
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from random import Random
from time import perf_counter, time_ns
from typing import TYPE_CHECKING

import httpx
import pytest
from pydantic import SecretStr

from local.processes import free_port, polls
from settings import Settings, environment
from tests.api.conftest import OPERATOR_KEY, Api, Exchange, Trader
from tests.api.hostile_requests import Hostile, Line, problem_of
from tests.api.random_requests import World, world_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.postgres import Postgres

SENDERS = 8
GOOD_SECONDS = 20.0
"""The longest time for an order of somebody else. The machines of tests are busy; a hang lasts for ever."""

NO_RATES = {
    f"{name}_per_second": 0
    for name in (
        "key_writes",
        "key_reads",
        "key_costly_reads",
        "refusals",
        "failed_keys",
        "address_writes",
        "address_reads",
    )
} | {"address_costly_reads_per_second": 0, "address_connections_max": 4_096}
"""Otherwise nearly all requests would be refused before anybody reads them."""


def bombard(world: World, requests: int, seed: int, problems: list[str], statuses: Counter[int]) -> None:
    """Send requests until there are enough or something is wrong."""
    line, hostile = Line(world.url), Hostile(world, Random(seed))  # noqa: S311  repeatable
    for number in range(requests):
        request = hostile.next()
        try:
            status, body = line.send(request)
            problem = problem_of(status, body, request)
            statuses[status] += 1
        except OSError as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            problems.append(f"request {number} of seed {seed}: {problem}\n{request.data[:2_000]!r}")
        if problems:
            break
    line.close()


@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("requests", [2_000, pytest.param(1_000_000, marks=pytest.mark.chaos)])
def test_hostile_requests_hurt_nobody(own_postgres: Postgres, server_folder: Path, requests: int) -> None:
    """Orders of others are answered meanwhile, all threads live, and the log and the read models agree afterwards.

    `HOSTILE_REQUESTS` and `HOSTILE_SEED` vary the long run.
    """
    seed = int(os.environ.get("HOSTILE_SEED", time_ns() % 1_000_000))
    if requests > 2_000:
        requests = int(os.environ.get("HOSTILE_REQUESTS", requests))
    settings = Settings(
        dsn=own_postgres.database("tidings"), home=server_folder / "home", port=free_port(), log_level="error",
        operator_key=SecretStr(OPERATOR_KEY), header_ms=2_000, body_ms=4_000, wait_ms=20, wait_ms_max=50, **NO_RATES,
    )  # fmt: skip
    output = server_folder / "serve.txt"
    with output.open("wb") as lines:
        server = subprocess.Popen(
            [sys.executable, "-m", "api", "serve"], env=environment(settings), stdout=lines, stderr=lines
        )
    try:
        url = f"http://127.0.0.1:{settings.port}"
        ready(url)
        with httpx.Client(base_url=url, timeout=GOOD_SECONDS) as client:
            exchange = Exchange(None, Api(client))  # type: ignore[arg-type]  # it runs elsewhere
            world = world_of(exchange, url)
            market, trader = exchange.market()["market_id"], exchange.trader("1000")
            positions = while_bombarded(world, requests, seed, lambda: order(trader, market))
            ready(url)
            caught_up(exchange, positions[-1])
            for position in positions[-50:]:
                assert exchange.api.data("/events", limit=1, after=position - 1)[0]["position"] == position
            assert [row for row in exchange.api.data("/status")["projections"] if row["parked"]] == []
        assert server.poll() is None
        verified = subprocess.run(
            [sys.executable, "-m", "api", "verify", "--json"],
            env=environment(settings), capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
        assert json.loads(verified.stdout)["equal"], verified.stdout + verified.stderr
    finally:
        server.terminate()
        ended = server.wait(60)
    assert ended == 0, output.read_text()[-4_000:]
    assert "Traceback" not in output.read_text(), output.read_text()[-4_000:]


def while_bombarded(world: World, requests: int, seed: int, act: Callable[[], int]) -> list[int]:
    """Send the requests over several connections, and act meanwhile; return the positions of what was done."""
    problems: list[str] = []
    statuses: Counter[int] = Counter()
    threads = [
        threading.Thread(target=bombard, args=(world, requests // SENDERS, seed + number, problems, statuses))
        for number in range(SENDERS)
    ]
    for thread in threads:
        thread.start()
    positions: list[int] = []
    slowest = 0.0
    while any(thread.is_alive() for thread in threads) or not positions:
        began = perf_counter()
        positions.append(act())
        slowest = max(slowest, perf_counter() - began)
        threads[0].join(0.05)
    print(f"seed {seed}, statuses {sorted(statuses.items())}, {len(positions)} orders, slowest {slowest:.2f} s")  # noqa: T201  for pytest -s
    assert problems == []
    assert slowest < GOOD_SECONDS
    return positions


def order(trader: Trader, market: str) -> int:
    """Place an order that must be accepted; return its position."""
    position: int = trader.place(market, quantity="0.01")["position"]
    return position


def caught_up(exchange: Exchange, position: int) -> None:
    """Wait until the read models show a position: the server of this test waits for a few milliseconds only."""
    for _ in polls(120):
        if exchange.api.get("/events", limit=1, min_position=position, wait_ms=50).status_code == 200:
            return
    pytest.fail("the read models have not caught up in time")


def ready(url: str) -> None:
    """Wait until the server takes orders."""
    for _ in polls(60):
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            continue
    pytest.fail("not ready in time")
