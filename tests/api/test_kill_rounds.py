"""PostgreSQL, engine and API are killed (-9) in turn while clients trade and others send nonsense: nothing acknowledged is lost.

pytest -m chaos tests/api/test_kill_rounds.py      the long form: 20 kills under 64 clients
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from random import Random
from time import sleep, time_ns
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
from pydantic import SecretStr

from consumers.wiring import open_recorder
from local.processes import free_port, polls
from messages.commands import order_command_id
from settings import Settings, environment
from tests.api.conftest import OPERATOR_KEY, Api, Exchange
from tests.api.hostile_requests import Hostile, Line, Request, problem_of
from tests.api.random_requests import world_of
from tests.api.test_hostile_requests import NO_RATES, ready
from tests.consumers.checks import check_log, recorded
from tests.consumers.processes import EngineProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.postgres import Postgres
    from tests.api.random_requests import World

RECOVER_SECONDS = 90


class System:
    """Engine, projector and API as processes, over Kafka and a PostgreSQL of their own."""

    def __init__(self, settings: Settings, postgres: Postgres, folder: Path) -> None:
        self.settings = settings
        self.postgres = postgres
        self.output = folder / "lines.txt"
        self._processes = {
            name: EngineProcess(settings, self.output, command=name, environment=environment(settings))
            for name in ("engine", "projector", "api")
        }

    def kill(self, name: str, chance: Random) -> None:
        """Kill one of them, and start it again a moment later."""
        if name == "postgresql":
            self.postgres.kill()
            sleep(chance.uniform(0, 1))
            self.postgres.restart()
            return
        self._processes[name].kill()
        sleep(chance.uniform(0, 1))
        self._processes[name].start()

    def keep_running(self) -> None:
        """Start what has ended by itself, as a supervisor would."""
        for process in self._processes.values():
            if not process.running:
                process.start()

    def __enter__(self) -> Self:
        for process in self._processes.values():
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()


class Crowd:
    """Clients in threads: three of four trade, each fourth one sends nonsense."""

    def __init__(self, world: World, keys: list[str], market: str, clients: int, seed: int) -> None:
        self.answers: list[dict[str, Any]] = []
        self.nonsense = 0
        self.problems: list[str] = []
        self._world, self._keys, self._market, self._seed = world, keys, market, seed
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_nonsense if number % 4 == 0 else self._trade, args=(number,))
            for number in range(clients)
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let them run inside the context."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join()

    def _send_nonsense(self, number: int) -> None:
        line, hostile = Line(self._world.url), Hostile(self._world, Random(self._seed + number))  # noqa: S311  repeatable
        while not self._ended.is_set():
            request = hostile.next()
            self.nonsense += 1
            try:
                self._note(problem_of(*line.send(request), Request(request.data, broken=True)), request)
            except ConnectionError:
                self._ended.wait(0.05)
            except TimeoutError:
                self._note("no answer in time", request)
            self._ended.wait(0.01)
        line.close()

    def _trade(self, number: int) -> None:
        line, count, key = Line(self._world.url), 0, self._keys[number % len(self._keys)]
        while not self._ended.is_set():
            count += 1
            order = {
                "market_id": self._market, "client_order_id": f"c-{number}-{count}", "outcome": "Yes", "side": "buy",
                "type": "market", "spend": "0.010000",
            }  # fmt: skip
            request = _post("/v1/orders", key, order)
            while not self._ended.is_set():
                try:
                    status, body = line.send(request)
                except OSError:
                    status, body = 0, b""
                if status == 201:
                    self.answers.append(json.loads(body))
                    break
                if status not in {0, 429, 503}:
                    self._note(f"{status}: {body!r}", request)
                self._ended.wait(0.05)
        line.close()

    def _note(self, problem: str | None, request: Request) -> None:
        if problem:
            self.problems.append(f"{problem}\n{request.data[:1_000]!r}")


def _post(path: str, key: str, body: dict[str, Any]) -> Request:
    content = json.dumps(body).encode()
    head = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
    ]
    return Request("\r\n".join([*head, f"Content-Length: {len(content)}", "", ""]).encode() + content)


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("size", [(8, 2), pytest.param((64, 20), marks=pytest.mark.chaos)])
def test_nothing_acknowledged_is_lost(
    own_postgres: Postgres, kafka: str, topic_prefix: str, server_folder: Path, size: tuple[int, int]
) -> None:
    """Each answer is in the log once, as it was given; no error of the server; `verify` is clean. `size`: clients and kills."""
    clients, rounds = size
    seed = int(os.environ.get("KILL_SEED", time_ns() % 1_000_000))
    chance = Random(seed)  # noqa: S311  repeatable
    settings = Settings(
        log="kafka", kafka_brokers=kafka, kafka_replication=1, kafka_topic_prefix=topic_prefix, reply_ms=5_000,
        dsn=own_postgres.database("tidings"), home=server_folder / "home", port=free_port(), log_level="error",
        operator_key=SecretStr(OPERATOR_KEY), header_ms=2_000, body_ms=4_000, wait_ms=20, wait_ms_max=50, **NO_RATES,
    )  # fmt: skip
    url = f"http://127.0.0.1:{settings.port}"
    _tidings(settings, "topics", "create")
    with ExitStack() as stack:
        system = stack.enter_context(System(settings, own_postgres, server_folder))
        ready(url)
        client = stack.enter_context(httpx.Client(base_url=url, timeout=30))
        exchange = Exchange(None, Api(client))  # type: ignore[arg-type]  # it runs elsewhere
        world, market = world_of(exchange, url), exchange.market()["market_id"]
        keys = [str(exchange.trader("1000").api.key) for _ in range(4)]
        crowd = Crowd(world, keys, market, clients, seed)
        with crowd.running():
            for number in range(rounds):
                victim = ("postgresql", "engine", "api")[(number + seed) % 3]
                before = len(crowd.answers)
                system.kill(victim, chance)
                for _ in polls(RECOVER_SECONDS):
                    system.keep_running()
                    if len(crowd.answers) > before + 2 * clients:
                        break
                else:
                    pytest.fail(f"nobody was answered after {victim} was killed:\n{system.output.read_text()[-4_000:]}")
        ready(url)
        assert not crowd.problems, "\n".join([*crowd.problems[:3], system.output.read_text()[-20_000:]])
        verified = json.loads(_tidings(settings, "verify", "--json"))
    assert verified["equal"], verified
    with open_recorder(settings) as recorder:
        check_log(recorder, [])
    with open_recorder(settings) as recorder:
        last = {event.command_id: event.position for event in recorded(recorder)}
    for answer in crowd.answers:
        command_id = order_command_id(answer["account_id"], answer["client_order_id"])
        assert last.get(command_id) == answer["position"], f"{command_id} was answered otherwise"
    print(f"seed {seed}, {rounds} kills, {len(crowd.answers)} orders, {crowd.nonsense} of nonsense")  # noqa: T201  for pytest -s


def _tidings(settings: Settings, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        env=environment(settings), capture_output=True, text=True, check=True, timeout=600,
    ).stdout  # fmt: skip
