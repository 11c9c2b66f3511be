"""200 cuts of each reader while processes are killed and servers paused under a market that trades. Only `make chaos` runs it.

    pytest -m chaos -s tests/api/stream/test_stream_chaos.py

In the form with Kafka the engine, the HTTP server, the projector and PostgreSQL are killed (-9) and the broker is paused; with
PostgreSQL, `tidings serve` and the database are killed. Each reader then has each message of the log once, in order, and they are
the rows of the read models.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from random import Random
from time import monotonic, sleep, time_ns
from typing import TYPE_CHECKING

import httpx
import pytest
from pydantic import SecretStr

from consumers.kafka.topics import ensure_topics
from consumers.wiring import open_recorder
from local.processes import free_port, polls
from settings import Settings, environment
from tests.api.conftest import OPERATOR_KEY, Api, Exchange
from tests.api.stream.cutting import COLLECTORS, CuttingProxy, rows_in, rows_of
from tests.api.stream.test_cut_connections import NO_LIMITS, told_by
from tests.api.test_hostile_requests import NO_RATES, ready
from tests.consumers.processes import EngineProcess, pause
from tidings_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local.kafka import Broker
    from local.postgres import Postgres

CUTS = 200
FAULTS_MIN = 8
SECONDS_MAX = 1_200


class System:
    """The processes of one form, and what may be done to them."""

    def __init__(self, settings: Settings, postgres: Postgres, broker: Broker | None, folder: Path) -> None:
        self.settings = settings
        self.url = f"http://127.0.0.1:{settings.port}"
        names = ("engine", "projector", "api") if broker else ("serve",)
        self.processes = {
            name: EngineProcess(settings, folder / f"{name}.txt", command=name, environment=environment(settings))
            for name in names
        }
        self._postgres, self._broker = postgres, broker
        self.faults: list[Callable[[Random], None]] = [self.kill_database, self.pause_server]
        self.faults += [lambda chance, name=name: self.kill(name, chance) for name in names]  # type: ignore[misc]

    def kill(self, name: str, chance: Random) -> None:
        """Kill a process, and start it again a moment later."""
        self.processes[name].kill()
        sleep(chance.uniform(0, 1))
        self.processes[name].start()

    def kill_database(self, chance: Random) -> None:
        """Kill PostgreSQL, and start it again a moment later."""
        self._postgres.kill()
        sleep(chance.uniform(0, 1))
        self._postgres.restart()

    def pause_server(self, chance: Random) -> None:
        """Freeze the broker, or PostgreSQL where the log is there."""
        if self._broker is None:
            pause(self._postgres, chance.uniform(1, 3))
            return
        self._broker.pause()
        sleep(chance.uniform(1, 3))
        self._broker.resume()

    def keep_running(self) -> None:
        """Start what has ended by itself, as a supervisor would."""
        for process in self.processes.values():
            if not process.running:
                process.start()

    def end(self) -> None:
        """Kill all."""
        for process in self.processes.values():
            process.kill()


@pytest.fixture(params=["postgres", "kafka"])
def system(
    request: pytest.FixtureRequest, own_postgres: Postgres, server_folder: Path, topic_prefix: str
) -> Iterator[System]:
    """The form with the log in PostgreSQL, and the one with the log in Kafka, on servers of their own."""
    broker: Broker | None = request.getfixturevalue("own_kafka") if request.param == "kafka" else None
    of_kafka = {
        "log": "kafka", "kafka_brokers": broker.bootstrap, "kafka_replication": 1, "kafka_topic_prefix": topic_prefix,
    } if broker else {}  # fmt: skip
    settings = Settings(
        dsn=own_postgres.database("tidings"), home=server_folder / "home", port=free_port(), reply_ms=5_000,
        operator_key=SecretStr(OPERATOR_KEY), log_level="error", **NO_RATES | NO_LIMITS | of_kafka,
    )  # fmt: skip
    if broker:
        ensure_topics(settings)
    found = System(settings, own_postgres, broker, server_folder)
    found.keep_running()
    ready(found.url)
    yield found
    found.end()


@pytest.mark.chaos
@pytest.mark.timeout(2 * SECONDS_MAX)
def test_no_fault_adds_or_takes_a_message(system: System) -> None:
    """Neither over event streams nor over WebSocket, whatever is killed, paused and cut meanwhile."""
    seed = int(os.environ.get("STREAM_SEED", time_ns() % 1_000_000))
    chance, end, ended = Random(seed), Future[int](), threading.Event()  # noqa: S311  repeatable
    faults = orders = 0
    with ExitStack() as stack:
        api = Api(stack.enter_context(httpx.Client(base_url=system.url, timeout=30)))
        exchange = Exchange(None, api)  # type: ignore[arg-type]  # it runs elsewhere
        market, trader = exchange.market(), exchange.trader("1000")
        proxies = {
            name: stack.enter_context(CuttingProxy(system.url, Random(seed + number), CUTS))  # noqa: S311
            for number, name in enumerate(COLLECTORS)
        }
        readers = {name: COLLECTORS[name](proxy.url, market["slug"], 0) for name, proxy in proxies.items()}

        def trade() -> None:
            nonlocal orders
            with Client(system.url, trader.api.key) as client:
                while not ended.is_set():
                    outcome = ("Yes", "No")[orders % 2]
                    client.place_order(
                        market_id=market["slug"], outcome=outcome, side="buy", type="market", quantity="0.01"
                    )
                    orders += 1

        pool = stack.enter_context(ThreadPoolExecutor(4))
        collecting = [pool.submit(reader.collect, end, SECONDS_MAX) for reader in readers.values()]
        trading, began = pool.submit(trade), monotonic()
        while faults < FAULTS_MIN or any(proxy.cuts_left for proxy in proxies.values()):
            assert monotonic() - began < SECONDS_MAX, {name: proxy.cuts_left for name, proxy in proxies.items()}
            before = orders
            chance.choice(system.faults)(chance)
            faults += 1
            for _ in polls(90):
                system.keep_running()
                if orders > before + 20:
                    break
        ended.set()
        trading.result()
        ready(system.url)
        with Client(system.url, OPERATOR_KEY) as client:
            halted = client.halt_market(market["slug"]).position
        assert halted is not None
        end.set_result(halted)
        for each in collecting:
            each.result()
        shown = rows_of(api, market["slug"], halted)
    with open_recorder(system.settings) as log:
        told = told_by(log, market["market_id"])
    for reader in readers.values():
        assert reader.seen == told
        assert rows_in(reader.seen) == shown
    connections = {name: reader.connections for name, reader in readers.items()}
    print(f"seed {seed}, {faults} faults, {orders} orders, {len(told)} messages, connections {connections}")  # noqa: T201
