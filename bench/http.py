"""Orders per second over HTTP, singly and in batches, through the real processes: api, engine, broker, PostgreSQL.

    python -m bench http [--seconds N] [--warm-up N] [--clients 64] [--batch 50] [--batch-clients 8]

The clients are keep-alive connections of one process, each with its own account and key. All processes share this machine.
`bench.engine` explains the warm-up.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

import msgspec
import psutil
import psycopg

from api import key_store
from bench.engine import WARM_UP_SECONDS
from bench.http_client import Load, Result
from bench.parts import show
from bench.programs import cpu_seconds, running, settings_of
from consumers.kafka.gateway import KafkaGateway
from domain.account import DepositCash, OpenAccount
from domain.market import OpenMarket
from domain.money import MICRO
from domain.orders import SplitSets
from domain.story import PublishStory
from local.kafka import Broker
from local.postgres import Postgres
from local.processes import free_port, polls

MARKETS = 5
CLOSE = 4_000_000_000 * MICRO

KEYS: Final = {
    "single": "`POST /v1/orders`: `orders_per_s`, `p50_ms` and `p99_ms` of a request, `cpu_us_per_order` by process",
    "batch": "`POST /v1/orders/batch`: the same; times are per request, rates and CPU per order",
    "clients": "number of connections for single orders",
    "batch_clients": "number of connections for batches",
    "batch_orders": "orders in each batch",
}


def set_up(gateway: KafkaGateway, dsn: str, clients: int) -> tuple[list[str], list[str]]:
    """Open the accounts and the markets, and create a key for each account. Return the keys and the ids of the markets."""
    opening = [
        OpenMarket("", "", f"m-{i}", "Will it be?", ("No", "Yes"), 100_000 * MICRO, CLOSE, "News")
        for i in range(MARKETS)
    ]
    story = gateway.submit_blocking("s", PublishStory("", "story", "Story", "Body", "world", 0, None, tuple(opening)))
    markets = [str(market) for market in story.result["market_ids"]]
    keys: list[str] = []
    with psycopg.connect(dsn) as connection:
        for number in range(clients):
            opened = gateway.submit_blocking(f"a{number}", OpenAccount("", f"T{number}"))
            account = str(opened.result["account_id"])
            gateway.submit_blocking(f"d{number}", DepositCash(account, 10_000_000 * MICRO))
            for market in markets:
                gateway.submit_blocking(f"p{number}-{market}", SplitSets(account, market, 100_000 * MICRO))
            key, _ = key_store.create(connection, key_store.NewKey(("trader",), account))
            keys.append(str(key))
    return keys, markets


def wait_until_it_listens(port: int) -> None:
    """Wait until the server accepts connections."""
    for _ in polls(60):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            continue
        return
    raise TimeoutError("the api has not started")


def measure(load: Load, watched: dict[str, psutil.Process]) -> dict[str, Any]:
    """Run a client. Print and return the figures."""
    cpu = cpu_seconds(watched)
    done = subprocess.run(
        [sys.executable, "-m", "bench.http_client"],
        input=msgspec.json.encode(load),
        stdout=subprocess.PIPE,
        check=True,
        timeout=load.seconds + 30,
    )
    result = msgspec.json.decode(done.stdout, type=Result)
    used = {name: now - cpu[name] for name, now in cpu_seconds(watched).items()} | {"client": result.cpu_seconds}
    figures = {
        "orders_per_s": round(result.orders / result.seconds),
        "p50_ms": round(result.p50_ms, 2),
        "p99_ms": round(result.p99_ms, 2),
        "cpu_us_per_order": {name: round(value / result.orders * 1e6, 1) for name, value in used.items()},
    }
    print(f"{'batches of ' + str(load.batch) if load.batch else 'single orders'}: {figures}", flush=True)
    return figures


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="for single orders, and again for batches")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_SECONDS)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--batch", type=int, default=50, help="orders in a batch")
    parser.add_argument("--batch-clients", type=int, default=8)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-bench-")))
        folder.chmod(0o755)  # for PostgreSQL's user
        broker = stack.enter_context(Broker(folder / "kafka", quick_start=False))
        server = stack.enter_context(Postgres.start(folder / "postgres", own=folder, end_with_process=True))
        settings = settings_of(folder, broker.bootstrap, dsn=server.database("http"), port=free_port())
        engine = stack.enter_context(running("engine", settings))
        api = stack.enter_context(running("api", settings))
        wait_until_it_listens(settings.port)  # its tables exist then
        with KafkaGateway(settings, timeout_seconds=60) as gateway:
            keys, markets = set_up(gateway, str(settings.dsn), max(arguments.clients, arguments.batch_clients))
        watched = {"api": api, "engine": engine, "broker": psutil.Process(broker.pid)}

        def load(clients: int, batch: int, seconds: float) -> Load:
            return Load(settings.port, keys[:clients], markets, uuid4().hex[:8], seconds, batch)

        began = perf_counter()
        measure(load(arguments.clients, 0, arguments.warm_up), watched)
        print(f"the warm-up took {perf_counter() - began:.1f} s")
        single = measure(load(arguments.clients, 0, arguments.seconds), watched)
        batch = measure(load(arguments.batch_clients, arguments.batch, arguments.seconds), watched)
    sizes = {
        "clients": arguments.clients,
        "batch_clients": arguments.batch_clients,
        "batch_orders": arguments.batch,
    }
    show({"single": single, "batch": batch, **sizes}, KEYS)


if __name__ == "__main__":
    main()
