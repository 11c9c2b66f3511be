"""What streams cost: orders beside a thousand of them, how late they hear of a trade, CPU and memory of each.

    python -m bench stream [--connections 1000] [--seconds 12] [--rounds 2] [--orders-per-s 10] [--warm-up 4]
        [--resume-events 100000]

Eight clients place orders at a steady rate, in turn without streams and beside them. All streams hear of all markets. Then one
reader that has seen nothing yet reads a log of so many events. Many streams: `--connections 10000 --orders-per-s 2 --rounds 1`.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, sleep
from typing import Any, Final
from uuid import uuid4

import msgspec

from bench.http_client import Load, percentiles
from bench.parts import show
from bench.programs import tree_cpu_seconds
from bench.stream_readers import Delivered
from bench.whole import Form, Traders, send, serve_form, set_up
from local.postgres import Postgres

CLIENTS: Final = 8
FILL_SECONDS: Final = 5.0
"""The time for which a log is filled before it is long enough, or filled again."""
NO_LIMITS: Final[dict[str, Any]] = {
    "stream_connections_max": 20_000,
    "stream_owner_connections_max": 20_000,
    "connections_max": 20_000,
    "address_connections_max": 20_000,
    "address_reads_per_second": 0,
    "address_costly_reads_per_second": 0,
}

KEYS: Final = {
    "alone": "orders without streams: `p50_ms` and `p99_ms` of all rounds",
    "beside": "the same beside the streams",
    "times": "`p99_ms` beside divided by alone",
    "delivery_p50_ms": "median time from the decision of a trade, before its append, to its arrival at a stream",
    "delivery_p99_ms": "99th percentile of the same",
    "cpu_us_per_delivery": "CPU of the server beside streams, less that alone, by delivery: a trade with its prices",
    "kb_per_stream": "growth of the server's resident memory by stream",
    "held_max_ms": "longest answer to GET /healthz, asked 50 times a second beside the streams: how long the loop was held",
    "connections": "number of streams",
    "deliveries": "number of deliveries",
    "missed": "trades that some stream has and another lacks, and streams that ended",
    "resumed": "the reader of the whole log: `events`, `events_per_s`, and `memory_mb`, the growth of the server's memory",
}


@contextmanager
def streams(port: int, count: int, found: list[Delivered]) -> Iterator[None]:
    """Keep streams open, and add what was delivered to them."""
    with subprocess.Popen(  # noqa: S603  our own module
        [sys.executable, "-m", "bench.stream_readers", str(port), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        if process.stdout.readline() != b"open\n":
            raise RuntimeError("the streams could not be opened")
        yield
        output, _ = process.communicate(timeout=60)
        found.append(msgspec.json.decode(output, type=Delivered))


@contextmanager
def probed(port: int, found: list[float]) -> Iterator[None]:
    """Ask for the health 50 times a second, and add the milliseconds of each answer."""
    ended = Event()

    def probe() -> None:
        with closing(HTTPConnection("127.0.0.1", port)) as connection:
            while not ended.wait(0.02):
                began = perf_counter()
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                found.append((perf_counter() - began) * 1000)

    thread = Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def resume(form: Form, traders: Traders, events: int) -> dict[str, float]:
    """Make a log of so many events, and let a reader that has seen nothing read it; return its figures."""
    port, serve = form.settings.port, form.processes["serve"]
    head = 0
    while head < events:
        load = Load(port, traders.keys, traders.markets, uuid4().hex[:8], FILL_SECONDS, batch=50)
        head = send(load).replies[-1][1]
    with closing(HTTPConnection("127.0.0.1", port)) as connection:  # the trades of the past come from the read models
        status = 0
        while status != 200:
            connection.request("GET", f"/v1/trades?limit=1&min_position={head}&wait_ms=30000")
            answer = connection.getresponse()
            answer.read()
            status = answer.status
    before = serve.memory_info().rss
    command = [sys.executable, "-m", "bench.stream_readers", str(port), "1", str(head)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603  our own module
        most = before
        while process.poll() is None:
            most = max(most, serve.memory_info().rss)
            sleep(0.2)
        assert process.stdout is not None, "it is a pipe"
        seconds = float(process.stdout.read())
    return {"events": head, "events_per_s": round(head / seconds), "memory_mb": round((most - before) / 1e6, 1)}


class Round:
    """Orders at a steady rate, their times in milliseconds, and the CPU of the server meanwhile."""

    def __init__(self, form: Form, keys: list[str], markets: list[str], seconds: float, rate: float) -> None:
        port, run = form.settings.port, uuid4().hex[:8]
        before = tree_cpu_seconds({"serve": form.processes["serve"]})["serve"]
        load = Load(port, keys, markets, run, seconds, orders_per_s=rate, timed=True)
        self.took = [seconds * 1000 for _, seconds in send(load).took]
        self.cpu = tree_cpu_seconds({"serve": form.processes["serve"]})["serve"] - before


def figures_of(rounds: list[Round]) -> dict[str, float]:
    """Return the percentiles of all rounds together."""
    p50, p99 = percentiles([each for one in rounds for each in one.took])
    return {"p50_ms": round(p50, 2), "p99_ms": round(p99, 2)}


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--orders-per-s", type=float, default=10.0)
    parser.add_argument("--warm-up", type=float, default=4.0)
    parser.add_argument("--resume-events", type=int, default=100_000, help="0: no such reader")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    alone: list[Round] = []
    beside: list[Round] = []
    delivered: list[Delivered] = []
    held: list[float] = []
    resumed: dict[str, float] = {}
    grown = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-bench-")))
        folder.chmod(0o755)  # for PostgreSQL's user
        server = stack.enter_context(Postgres.start(folder / "postgres", own=folder, end_with_process=True))
        form = stack.enter_context(serve_form(folder / "serve", server, **NO_LIMITS))
        port, serve = form.settings.port, form.processes["serve"]
        traders = set_up(f"http://127.0.0.1:{port}", CLIENTS)

        def orders(seconds: float, rate: float) -> Round:
            return Round(form, traders.keys, traders.markets, seconds, rate)

        with streams(port, 10, []):
            orders(arguments.warm_up, 200)
        for _ in range(arguments.rounds):
            alone.append(orders(arguments.seconds, arguments.orders_per_s))
            before = serve.memory_info().rss
            with streams(port, arguments.connections, delivered):
                sleep(1)
                grown = grown or serve.memory_info().rss - before
                with probed(port, held):
                    beside.append(orders(arguments.seconds, arguments.orders_per_s))
                sleep(0.5)
            print(f"alone {figures_of(alone[-1:])}, beside {figures_of(beside[-1:])}, {delivered[-1]}", flush=True)
        if arguments.resume_events:
            resumed = resume(form, traders, arguments.resume_events)
    deliveries = sum(each.deliveries for each in delivered)
    cpu = sum(each.cpu for each in beside) - sum(each.cpu for each in alone)
    first, second = figures_of(alone), figures_of(beside)
    figures = {
        "alone": first,
        "beside": second,
        "times": round(second["p99_ms"] / first["p99_ms"], 2),
        "delivery_p50_ms": round(max(each.p50_ms for each in delivered), 2),
        "delivery_p99_ms": round(max(each.p99_ms for each in delivered), 2),
        "cpu_us_per_delivery": round(cpu / max(1, deliveries) * 1e6, 1),
        "kb_per_stream": round(grown / arguments.connections / 1024, 1),
        "held_max_ms": round(max(held), 1),
        "connections": arguments.connections,
        "deliveries": deliveries,
        "missed": sum(each.most - each.least + each.ended for each in delivered),
        "resumed": resumed,
    }
    show(figures, KEYS)


if __name__ == "__main__":
    main()
