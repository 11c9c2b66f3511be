"""Orders per second through the whole engine, end to end over Kafka, compared with the library as its documentation shows it.

    python -m bench engine [--seconds N] [--windows 1,16,64,256,1000] [--warm-up N] [--bootstrap HOST:PORT] [--no-baseline]

A client in this process keeps a constant number of orders in flight (the window). The engine and the broker are two more
processes, all on this machine. Orders flow for a warm-up before the first window, because a broker that has just started
uses twice the CPU until Java has compiled its code.
"""

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

import psutil
import uvloop

from bench.baseline import baseline
from bench.parts import show
from bench.programs import cpu_seconds, running, settings_of
from bench.stages import stages
from consumers.kafka.gateway import KafkaGateway
from domain.account import DepositCash, OpenAccount
from domain.market import OpenMarket
from domain.money import MICRO
from domain.orders import PlaceOrder, SplitSets
from domain.story import PublishStory
from local.kafka import Broker
from local.postgres import Postgres
from messages.commands import order_command_id

ACCOUNTS, MARKETS = 100, 5
CLOSE = 4_000_000_000 * MICRO
BASELINE_ORDERS = 400
WARM_UP_SECONDS: Final = 30.0

KEYS: Final = {
    "orders_per_s": "orders per second, by window (the number of orders in flight)",
    "p50_ms": "median time from an order to its reply in milliseconds, by window",
    "p99_ms": "99th percentile of the same, by window",
    "cpu_us_per_order": "CPU per order in microseconds, by process, at the last window",
    "stages_us": "the engine's work on one order by stage, each measured alone, in microseconds of CPU; `encode` makes the "
    "record for an append, `replay` is per event, `record_bytes` is the bytes of the record per order",
    "baseline_orders_per_s": "orders per second of the library as documented, on PostgreSQL; null with `--no-baseline`",
    "times_baseline": "orders per second at the last window, divided by the baseline; null with `--no-baseline`",
}


async def set_up(gateway: KafkaGateway) -> tuple[list[str], list[str]]:
    """Open the accounts and the markets. Return the ids of both."""
    opening = [
        OpenMarket("", "", f"m-{i}", "Will it be?", ("No", "Yes"), 100_000 * MICRO, CLOSE, "News")
        for i in range(MARKETS)
    ]
    story = await gateway.submit("s", PublishStory("", "story", "Story", "Body", "world", 0, None, tuple(opening)))
    markets = [str(market) for market in story.result["market_ids"]]
    opened = await asyncio.gather(*[gateway.submit(f"a{i}", OpenAccount("", f"T{i}")) for i in range(ACCOUNTS)])
    accounts = [str(reply.result["account_id"]) for reply in opened]
    await asyncio.gather(*[gateway.submit(f"d{a}", DepositCash(a, 10_000_000 * MICRO)) for a in accounts])
    splits = [SplitSets(account, market, 10_000 * MICRO) for account in accounts for market in markets]
    replies = await asyncio.gather(*[gateway.submit(f"p{i}", split) for i, split in enumerate(splits)])
    assert all(reply.code is None for reply in replies), "set up"
    return accounts, markets


def order(number: int, accounts: list[str], markets: list[str], run: str) -> tuple[str, PlaceOrder]:
    """Return command id and command of an order: each account buys for one credit, then sells two shares, and so on."""
    account, market = accounts[number % ACCOUNTS], markets[number % MARKETS]
    name = f"{run}-{number}"
    if number // ACCOUNTS % 2:
        command = PlaceOrder(account, market, "", name, "Yes", "sell", "market", quantity=2 * MICRO)
    else:
        command = PlaceOrder(account, market, "", name, "Yes", "buy", "market", spend=MICRO)
    return order_command_id(account, name), command


async def load(
    gateway: KafkaGateway, window: int, seconds: float, accounts: list[str], markets: list[str]
) -> list[float]:
    """Keep `window` orders in flight for `seconds`. Return the time from each order to its reply, in milliseconds."""
    took: list[float] = []
    run = uuid4().hex[:8]
    number = 0
    until = perf_counter() + seconds

    async def trade() -> None:
        nonlocal number
        while (began := perf_counter()) < until:
            number += 1
            reply = await gateway.submit(*order(number, accounts, markets, run))
            assert reply.code is None, reply
            took.append((perf_counter() - began) * 1000)

    await asyncio.gather(*[trade() for _ in range(window)])
    return took


def measure(
    gateway: KafkaGateway, windows: list[int], seconds: float, warm_up: float, watched: dict[str, psutil.Process]
) -> dict[str, Any]:
    """Run all windows. Print and return the figures."""
    figures: dict[str, Any] = {"orders_per_s": {}, "p50_ms": {}, "p99_ms": {}}

    async def run() -> None:
        accounts, markets = await set_up(gateway)
        await load(gateway, 256, warm_up, accounts, markets)
        for window in windows:
            cpu, began = cpu_seconds(watched), perf_counter()
            took = await load(gateway, window, seconds, accounts, markets)
            elapsed = perf_counter() - began
            used = {name: (now - cpu[name]) / len(took) * 1e6 for name, now in cpu_seconds(watched).items()}
            cuts = quantiles(took, n=100)
            rate = len(took) / elapsed
            figures["orders_per_s"][str(window)] = round(rate)
            figures["p50_ms"][str(window)] = round(cuts[49], 2)
            figures["p99_ms"][str(window)] = round(cuts[98], 2)
            figures["cpu_us_per_order"] = {name: round(value, 1) for name, value in used.items()}
            print(
                f"window {window:5}: {rate:8.0f} orders/s   p50 {cuts[49]:7.2f} ms   p99 {cuts[98]:7.2f} ms   CPU per order: "
                + ", ".join(f"{name} {value:.0f} us" for name, value in used.items()),
                flush=True,
            )

    uvloop.run(run())
    return figures


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--windows", default="1,16,64,256,1000")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_SECONDS)
    parser.add_argument("--bootstrap")
    parser.add_argument("--no-baseline", action="store_true")
    arguments = parser.parse_args()
    windows = [int(window) for window in arguments.windows.split(",")]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-bench-")))
        watched = {"client": psutil.Process()}
        bootstrap = arguments.bootstrap
        if bootstrap is None:
            broker = stack.enter_context(Broker(folder / "kafka", quick_start=False))
            bootstrap = broker.bootstrap
            watched["broker"] = psutil.Process(broker.pid)
        settings = settings_of(folder, bootstrap)
        watched["engine"] = stack.enter_context(running("engine", settings))
        gateway = stack.enter_context(KafkaGateway(settings, timeout_seconds=60))
        figures = measure(gateway, windows, arguments.seconds, arguments.warm_up, watched)
    figures |= {"stages_us": stages(), "baseline_orders_per_s": None, "times_baseline": None}
    if not arguments.no_baseline:
        with tempfile.TemporaryDirectory(prefix="tidings-bench-") as name:
            Path(name).chmod(0o755)
            with Postgres.start(Path(name) / "postgres", own=Path(name), end_with_process=True) as server:
                rate = baseline(server.database("baseline"), BASELINE_ORDERS, ACCOUNTS, MARKETS)
        figures["baseline_orders_per_s"] = round(rate, 1)
        figures["times_baseline"] = round(figures["orders_per_s"][str(windows[-1])] / rate, 1)
        print(f"the library as its documentation shows it, one order after the other: {rate:.0f} orders/s")
    show(figures, KEYS)


if __name__ == "__main__":
    main()
