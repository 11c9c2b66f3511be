"""Measures the whole system at once, in both forms: all processes, all read models, orders over HTTP.

    python -m bench whole [--seconds N] [--warm-up N] [--clients 1,8,64] [--batch 50] [--batch-clients 8] [--forms serve,kafka]

`serve` is the exchange as one command, with its log in PostgreSQL; `kafka` has an engine, an HTTP server and a projector of
their own, and a broker. Each client is a keep-alive connection with an account and a key of its own. While the clients trade,
the positions of the read models are looked up every few milliseconds. How far a read model lags is told by the clock: the time
since a client was told of the first position that it has not folded. All processes share this machine, the clients too.
"""

import argparse
import subprocess
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Final, NamedTuple
from uuid import uuid4

import msgspec
import psutil
import psycopg
from pydantic import SecretStr

from bench.http import wait_until_it_listens
from bench.http_client import Load, Result, percentiles
from bench.parts import show
from bench.programs import running, settings_of, tree_cpu_seconds
from domain.money import MICRO
from local.kafka import Broker
from local.postgres import Postgres
from local.processes import free_port, polls
from messages.wire import format_time
from projections.machine.store import SCHEMA
from projections.registry import PROJECTIONS
from settings import Settings
from tidings_client import Client
from tidings_client.models import OpenMarket

MARKETS: Final = 5
CLOSE: Final = 4_000_000_000 * MICRO
OPERATOR_KEY: Final = "bench-operator-key-0123456789"

LOOK_SECONDS: Final = 0.01
"""The time from one look at the read models to the next."""

CATCH_UP_SECONDS: Final = 600.0
"""The longest wait for the read models after a run."""

PACED_ORDERS_PER_S: Final = 1_000
"""The rate of the paced run."""

FORMS: Final = ("serve", "kafka")

_EACH: Final = (
    "`single` by number of clients, `batch` (times per request, rates and CPU per order), `paced` (64 clients, 1,000 orders "
    "per second at most) and `mixed` (8 clients, ten reads to one order; `by_kind_ms` has p50 and p99 of each kind of request, "
    "`cpu_us_per_order` includes the reads), each with `orders_per_s`, `p50_ms`, `p99_ms`, `cpu_us_per_order` by process, "
    "`lag_p50_ms` and `lag_p99_ms` (how long ago a client was told of what the slowest read model does not show yet) and "
    "`caught_up_seconds` (from the last reply until all read models show it)"
)
KEYS: Final = {
    "serve": f"the exchange as one command: {_EACH}; `idle_cpu_percent` by process, in percent of one CPU, without requests",
    "kafka": "the same of the form with a broker, an engine, an HTTP server and a projector",
}


class Form(NamedTuple):
    """A form of the whole that runs: where it listens, its database, its processes by name."""

    settings: Settings
    processes: dict[str, psutil.Process]


@contextmanager
def serve_form(folder: Path, server: Postgres, **more: Any) -> Iterator[Form]:
    """Run `tidings serve`, with these settings too."""
    folder.mkdir()
    settings = Settings(
        home=folder, dsn=server.database("serve"), port=free_port(), operator_key=SecretStr(OPERATOR_KEY), **more
    )
    with running("serve", settings) as process:
        wait_until_it_listens(settings.port)
        yield Form(settings, {"serve": process, "postgres": psutil.Process(server.pid)})


@contextmanager
def kafka_form(folder: Path, server: Postgres) -> Iterator[Form]:
    """Run a broker, an engine, an HTTP server and a projector."""
    folder.mkdir()
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(folder / "kafka", quick_start=False))
        dsn = server.database("kafka")
        settings = settings_of(folder, broker.bootstrap, dsn=dsn, port=free_port(), operator_key=OPERATOR_KEY)
        names = ("engine", "api", "projector")
        processes = {name: stack.enter_context(running(name, settings)) for name in names}
        wait_until_it_listens(settings.port)
        servers = {"broker": psutil.Process(broker.pid), "postgres": psutil.Process(server.pid)}
        yield Form(settings, processes | servers)


class Traders(NamedTuple):
    """Keys, their accounts, and the markets to trade."""

    keys: list[str]
    accounts: list[str]
    markets: list[str]


def set_up(url: str, clients: int) -> Traders:
    """Publish a story with markets, open the accounts, and create a key for each."""
    with Client(url, OPERATOR_KEY) as client:
        terms: dict[str, Any] = {"outcomes": ["No", "Yes"], "subsidy": "100000", "resolution_source": "News"}
        opening = [
            OpenMarket(slug=f"m-{i}", question="Will it be?", close_time=format_time(CLOSE), **terms)
            for i in range(MARKETS)
        ]
        published = client.publish_story(
            title="Story", body="Body", category="world", published_at=format_time(0), markets=opening
        )
        markets = [market.market_id for market in published.markets]

        def open_account(number: int) -> str:
            with Client(url, OPERATOR_KEY) as client:
                name = f"t{number}"
                client.open_account(name)
                client.deposit(name, "10000000")
                for market in markets:
                    client.split_sets(market, "100000", account=name)
                return str(client.create_key(roles=["trader"], account=name).key)

        with ThreadPoolExecutor(8) as threads:
            keys = list(threads.map(open_account, range(clients)))
        return Traders(keys, [f"t{number}" for number in range(clients)], markets)


class Lag(NamedTuple):
    """How far the read models were behind."""

    p50_ms: float
    p99_ms: float
    caught_up_seconds: float


def lags_ms(looks: Sequence[tuple[float, int]], replies: Sequence[tuple[float, int]]) -> list[float]:
    """Return for each look how long ago a client was told of the first position that the read models do not show, or 0.

    Both are times in seconds with positions, in order.
    """
    positions = [position for _, position in replies]
    found = []
    for now, position in looks:
        told = bisect_right(positions, position)
        found.append(max(0.0, now - replies[told][0]) * 1000 if told < len(replies) else 0.0)
    return found


class Watch:
    """Looks at the position of the slowest read model all the time, in the caller's thread."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)

    def position(self) -> int:
        """Return the position that all read models have folded."""
        query = f"SELECT min(position), count(*) FROM {SCHEMA}.projection_positions"
        position, count = self._connection.execute(query, prepare=True).fetchone() or (0, 0)
        return int(position) if count == len(PROJECTIONS) else 0

    def follow(self, run: "Future[Result]") -> Lag:
        """Look until the run is over, and then until the read models have caught up."""
        looks: list[tuple[float, int]] = []
        while not run.done():
            looks.append((perf_counter(), self.position()))
            sleep(LOOK_SECONDS)
        replies = run.result().replies
        ended, last = replies[-1]
        for _ in polls(CATCH_UP_SECONDS):
            if self.position() >= last:
                break
        else:
            raise TimeoutError(f"the read models have not reached position {last}")
        caught_up = max(0.0, perf_counter() - ended)
        return Lag(*percentiles(lags_ms(looks, replies)), caught_up)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def send(load: Load) -> Result:
    """Run the clients in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.http_client"],
        input=msgspec.json.encode(load),
        stdout=subprocess.PIPE,
        check=True,
        timeout=load.seconds + 60,
    )
    return msgspec.json.decode(done.stdout, type=Result)


def measure(form: Form, name: str, load: Load) -> dict[str, Any]:
    """Run the clients and watch the read models. Print and return the figures."""
    before = tree_cpu_seconds(form.processes)
    with closing(Watch(str(form.settings.dsn))) as watch, ThreadPoolExecutor(1) as thread:
        run = thread.submit(send, load)
        lag = watch.follow(run)
        result = run.result()
    used = {each: now - before[each] for each, now in tree_cpu_seconds(form.processes).items()}
    used["client"] = result.cpu_seconds
    figures: dict[str, Any] = {
        "orders_per_s": round(result.orders / result.seconds),
        "p50_ms": round(result.p50_ms, 2),
        "p99_ms": round(result.p99_ms, 2),
        "cpu_us_per_order": {each: round(seconds / result.orders * 1e6, 1) for each, seconds in used.items()},
        "lag_p50_ms": round(lag.p50_ms, 1),
        "lag_p99_ms": round(lag.p99_ms, 1),
        "caught_up_seconds": round(lag.caught_up_seconds, 2),
    }
    if load.accounts:
        figures["by_kind_ms"] = {
            kind: [round(value, 2) for value in times] for kind, times in sorted(result.by_kind_ms.items())
        }
    print(f"{name}: {figures}", flush=True)
    return figures


def idle(form: Form, seconds: float) -> dict[str, float]:
    """Return the CPU that each process uses without requests, in percent of one CPU."""
    before = tree_cpu_seconds(form.processes)
    sleep(seconds)
    after = tree_cpu_seconds(form.processes)
    used = {name: round((after[name] - before[name]) / seconds * 100, 2) for name in after}
    print(f"idle, percent of a CPU: {used}", flush=True)
    return used


def measure_form(form: Form, arguments: argparse.Namespace) -> dict[str, Any]:
    """Make all measurements of one form that runs."""
    single = [int(clients) for clients in arguments.clients.split(",")]
    most = max(*single, arguments.batch_clients)
    traders = set_up(f"http://127.0.0.1:{form.settings.port}", most)

    def load(clients: int, seconds: float, batch: int = 0, **more: Any) -> Load:
        run = uuid4().hex[:8]
        return Load(form.settings.port, traders.keys[:clients], traders.markets, run, seconds, batch, **more)

    seconds = arguments.seconds
    measure(form, "warm-up", load(most, arguments.warm_up))
    figures: dict[str, Any] = {
        "single": {str(n): measure(form, f"{n} clients", load(n, seconds)) for n in single},
        "batch": measure(form, "batches", load(arguments.batch_clients, seconds, arguments.batch)),
        "paced": measure(form, "paced", load(most, seconds, orders_per_s=PACED_ORDERS_PER_S)),
    }
    readers = min(8, most)
    figures["mixed"] = measure(form, "mixed", load(readers, seconds, accounts=traders.accounts[:readers]))
    figures["idle_cpu_percent"] = idle(form, arguments.idle_seconds)
    return figures


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each run")
    parser.add_argument("--warm-up", type=float, default=8.0)
    parser.add_argument("--idle-seconds", type=float, default=10.0)
    parser.add_argument("--clients", default="1,8,64", help="numbers of clients with single orders")
    parser.add_argument("--batch", type=int, default=50, help="orders in a batch")
    parser.add_argument("--batch-clients", type=int, default=8)
    parser.add_argument("--forms", default=",".join(FORMS), help="the forms to measure; those left out are null")
    arguments = parser.parse_args()
    figures: dict[str, Any] = dict.fromkeys(FORMS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-bench-")))
        folder.chmod(0o755)  # for PostgreSQL's user
        server = stack.enter_context(Postgres.start(folder / "postgres", end_with_process=True))
        for name in arguments.forms.split(","):
            with {"serve": serve_form, "kafka": kafka_form}[name](folder / name, server) as form:
                print(f"-- {name}", flush=True)
                figures[name] = measure_form(form, arguments)
    show(figures, KEYS)


if __name__ == "__main__":
    main()
