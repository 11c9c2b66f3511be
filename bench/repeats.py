"""Measures how much old orders that are sent again hold up new ones, over HTTP in the form with Kafka.

    python -m bench repeats [--old 10000] [--rounds 3] [--seconds 5] [--warm-up 5] [--clients 16] [--orders-per-s 500]

Each round has a trader of its own, who placed its orders so long ago that the engine must read their replies from the log. The
trader sends all of them again, in batches of 50, one batch after the other, while others trade at a constant rate. Before
that, the others trade alone. What counts of the new orders is what was answered while old ones were on their way.
"""

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.http_client import Load, percentiles
from bench.parts import show
from bench.whole import Form, kafka_form, send, set_up
from consumers.engine.recorded_replies import RECENT_MAX
from local.postgres import Postgres

BATCH: Final = 50
SECONDS_MAX: Final = 120.0
"""The longest time for the old orders of a round."""

KEYS: Final = {
    "alone_p50_ms": "median time of a new order without old ones in milliseconds, by round",
    "alone_p99_ms": "99th percentile of the same, by round",
    "beside_p50_ms": "median time of a new order beside old ones in milliseconds, by round",
    "beside_p99_ms": "99th percentile of the same, by round",
    "ratio": "beside divided by alone, of the 99th percentiles: the median of the rounds",
    "old_seconds": "time until all old orders had their replies again, by round",
}


def measure(form: Form, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds. Print and return the figures."""
    rounds, others = arguments.rounds, arguments.clients
    traders = set_up(f"http://127.0.0.1:{form.settings.port}", rounds + others)

    def load(keys: list[str], run: str, seconds: float, **more: Any) -> Load:
        return Load(form.settings.port, keys, traders.markets, run, seconds, **more)

    old = [
        load([key], "old", SECONDS_MAX, batch=BATCH, orders=arguments.old, timed=True) for key in traders.keys[:rounds]
    ]
    for each in old:
        send(each)
    new = traders.keys[rounds:]
    send(
        load(new, "fill", SECONDS_MAX, batch=BATCH, orders=RECENT_MAX // others + BATCH)
    )  # no old reply is in memory now
    paced = {"orders_per_s": arguments.orders_per_s, "timed": True}
    send(load(new, "warm-up", arguments.warm_up, **paced))
    figures: dict[str, Any] = {key: [] for key in KEYS}
    ratios = []
    with ThreadPoolExecutor(1) as thread:
        for number, each in enumerate(old):
            alone = send(load(new, f"alone-{number}", arguments.seconds, **paced))
            live = thread.submit(send, load(new, f"beside-{number}", arguments.seconds, **paced))
            repeated = send(each)
            began, ended = repeated.took[0][0] - repeated.took[0][1], repeated.took[-1][0]
            times = [took * 1000 for now, took in live.result().took if began < now and now - took < ended]
            p50, p99 = percentiles(times)
            ratios.append(p99 / alone.p99_ms)
            figures["alone_p50_ms"].append(round(alone.p50_ms, 2))
            figures["alone_p99_ms"].append(round(alone.p99_ms, 2))
            figures["beside_p50_ms"].append(round(p50, 2))
            figures["beside_p99_ms"].append(round(p99, 2))
            figures["old_seconds"].append(round(ended - began, 2))
            print(
                f"alone p50 {alone.p50_ms:.2f} ms, p99 {alone.p99_ms:.2f} ms; beside old orders p50 {p50:.2f} ms, "
                f"p99 {p99:.2f} ms ({len(times)} new orders in {ended - began:.2f} s)",
                flush=True,
            )
    return figures | {"ratio": round(median(ratios), 2)}


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=int, default=10_000, help="old orders in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of the new orders, alone and beside old ones")
    parser.add_argument("--warm-up", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=16, help="that place new orders")
    parser.add_argument("--orders-per-s", type=float, default=500.0)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-bench-")))
        folder.chmod(0o755)  # for PostgreSQL's user
        server = stack.enter_context(Postgres.start(folder / "postgres", end_with_process=True))
        with kafka_form(folder / "kafka", server) as form:
            figures = measure(form, arguments)
    show(figures, KEYS)


if __name__ == "__main__":
    main()
