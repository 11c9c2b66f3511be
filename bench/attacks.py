"""What a quiet client's orders take beside strangers who attack `tidings serve`, with the rate limits as installed.

    python -m bench attacks [--attacks waits,dear,sweep,sockets] [--seconds N] [--warm-up N] [--sockets 5000] [--headers 200]
        [--bodies 500]

The quiet client sends 200 orders a second over four connections, alone and then beside each attack. The sockets of the last
attack come from many addresses, so that the limit of one address does not keep them out.
"""

import argparse
import asyncio
import resource
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple
from uuid import uuid4

import psutil

from bench.asking import Asker
from bench.http_client import Load, percentiles
from bench.parts import show
from bench.programs import tree_cpu_seconds
from bench.whole import CLOSE, OPERATOR_KEY, Form, Traders, send, serve_form, set_up
from local.postgres import Postgres
from messages.wire import format_time
from tidings_client import Client
from tidings_client.models import OpenMarket, PlaceOrder

QUIET_CLIENTS: Final = 4
QUIET_ORDERS_PER_S: Final = 200
WAITING_READS: Final = 24
DEAR_READERS: Final = 12
DEPOSITS: Final = 40
SWEPT_ACCOUNTS: Final = 10
SWEPT_ORDERS: Final = 1_000
"""The resting orders of each of these accounts: together as many as a market can have."""

ATTACKS: Final = ("waits", "dear", "sweep", "sockets")

PAUSE_SECONDS: Final = 0.1
"""The pause of an attacker after a refusal."""

DRIP_SECONDS: Final = 0.5
"""The time from one byte of a slow header to the next."""

CLOSED_SECONDS: Final = 120.0
"""The longest wait until the server has closed all sockets of the last attack."""

SOCKETS_OF_ADDRESS: Final = 400
HALF_BODY: Final = bytes(512 * 1024)

KEYS: Final = {
    "quiet": "the quiet client alone: `p50_ms` and `p99_ms` of its orders",
    "waits": "the same, and `times`, `p99_ms` divided by the quiet one, beside 24 reads that wait for a position far ahead, "
    "and deposits: `deposit_p50_ms`, `deposit_max_ms`",
    "dear": "the same beside 12 readers of equity histories and of leaderboards of the past: `answers` by status",
    "sweep": "the same beside one order of another market that sweeps 10,000 resting orders: `order_seconds` until its answer, "
    "`others_max_ms` the longest time of a quiet order, `filled_seconds` the CPU of the server to place the resting orders",
    "sockets": "the same beside idle sockets, slow headers and half bodies: `memory_mb` is the growth of the "
    "server's resident memory, `closed_seconds` the time from opening to the end of the last socket, by kind",
    "missed": "the bounds that were missed: a deposit under 200 ms, `times` under 3 and 2, memory under 64 MB, all closed",
}


class Bench(NamedTuple):
    """What is attacked, and for how many seconds."""

    form: Form
    traders: Traders
    seconds: float

    @property
    def port(self) -> int:
        """The port of the server."""
        return self.form.settings.port

    def load(self, clients: int, seconds: float, **more: Any) -> Load:
        """Return orders of the first clients."""
        return Load(self.port, self.traders.keys[:clients], self.traders.markets, uuid4().hex[:8], seconds, **more)

    async def quiet(self) -> dict[str, Any]:
        """Run the quiet client; return its times."""
        result = await asyncio.to_thread(send, self.load(QUIET_CLIENTS, self.seconds, orders_per_s=QUIET_ORDERS_PER_S))
        return {"p50_ms": round(result.p50_ms, 2), "p99_ms": round(result.p99_ms, 2)}

    async def timed(self) -> list[float]:
        """Run the quiet client; return the milliseconds of each of its orders."""
        load = self.load(QUIET_CLIENTS, self.seconds, orders_per_s=QUIET_ORDERS_PER_S, timed=True)
        return [seconds * 1000 for _, seconds in (await asyncio.to_thread(send, load)).took]

    async def beside(self, *attacks: Coroutine[Any, Any, Any]) -> dict[str, Any]:
        """Run the quiet client beside attacks, which end with it."""
        tasks = [asyncio.create_task(attack) for attack in attacks]
        await asyncio.sleep(1)
        figures = await self.quiet()
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        return figures


async def read_again(port: int, paths: Iterator[str], answers: Counter[str], key: str = "") -> None:
    """Read one path after the other, without end."""
    with closing(Asker(port)) as asker:
        for path in paths:
            answer = await asker.get(path, authorization=f"Bearer {key}" if key else "")
            answers[str(answer.status)] += 1
            if answer.status >= 400:
                await asyncio.sleep(PAUSE_SECONDS)


async def attack_with_waits(bench: Bench) -> dict[str, Any]:
    """Let reads wait, and deposit meanwhile."""
    took: list[float] = []

    def deposit() -> None:
        with Client(f"http://127.0.0.1:{bench.port}", OPERATOR_KEY) as client:
            for _ in range(DEPOSITS):
                began = perf_counter()
                client.deposit("t0", "1")
                took.append((perf_counter() - began) * 1000)

    async def deposit_then_wait() -> None:
        await asyncio.sleep(1)
        await asyncio.to_thread(deposit)
        await asyncio.Event().wait()

    path = f"/v1/markets/{bench.traders.markets[0]}?min_position=1000000000&wait_ms=30000"
    waits = [read_again(bench.port, (path for _ in count()), Counter()) for _ in range(WAITING_READS)]
    figures = await bench.beside(deposit_then_wait(), *waits)
    return figures | {"deposit_p50_ms": round(percentiles(took)[0], 1), "deposit_max_ms": round(max(took), 1)}


def histories(number: int) -> Iterator[str]:
    """Return the paths of an account's equity histories, each another one."""
    return (f"/v1/accounts/t{number}/equity-history?step=1m&limit={1_000 - each % 900}" for each in count())


def leaderboards(number: int) -> Iterator[str]:
    """Return the paths of leaderboards of the past, each another one."""
    return (f"/v1/leaderboard?as_of_position={1_000 + 97 * each + number}" for each in count())


async def attack_with_reads(bench: Bench) -> dict[str, Any]:
    """Read what takes long, all the time."""
    answers: Counter[str] = Counter()
    readers = [
        read_again(bench.port, [histories, leaderboards][number % 2](number), answers, bench.traders.keys[number])
        for number in range(DEAR_READERS)
    ]
    return await bench.beside(*readers) | {"answers": dict(answers)}


def fill_a_book(bench: Bench) -> str:
    """Fill the book of a new market with bids on its second outcome; return the market's id."""
    url = f"http://127.0.0.1:{bench.port}"
    with Client(url, OPERATOR_KEY) as client:
        market = OpenMarket(
            slug="swept", question="Who?", outcomes=["A", "B", "C"], subsidy="10000", resolution_source="News",
            close_time=format_time(CLOSE),
        )  # fmt: skip
        published = client.publish_story(
            title="Swept", body="Body", category="world", published_at=format_time(0), markets=[market]
        )
    market_id = published.markets[0].market_id
    for key in bench.traders.keys[:SWEPT_ACCOUNTS]:
        with Client(url, key) as client:
            for first in range(0, SWEPT_ORDERS, 100):
                prices = [f"{(1 + number % 320) / 1000:.3f}" for number in range(first, first + 100)]
                answer = client.place_batch([bid(market_id, price) for price in prices])
                assert all(result.status == "resting" for result in answer.results), answer.results[0]
    return market_id


def bid(market_id: str, price: str) -> PlaceOrder:
    """Return a bid on the second outcome that rests."""
    return PlaceOrder(
        market_id=market_id, outcome="B", side="buy", type="limit", quantity="1", limit_price=price,
        time_in_force="GTC",
    )  # fmt: skip


async def attack_with_sweep(bench: Bench) -> dict[str, Any]:
    """Let one order set off the largest sweep there can be."""
    server, sweeper = bench.form.processes["serve"], bench.traders.keys[SWEPT_ACCOUNTS]
    before = tree_cpu_seconds({"serve": server})["serve"]
    market_id = await asyncio.to_thread(fill_a_book, bench)
    filled = tree_cpu_seconds({"serve": server})["serve"] - before

    def sweep() -> float:
        with Client(f"http://127.0.0.1:{bench.port}", sweeper) as client:
            began = perf_counter()
            client.place_order(market_id=market_id, outcome="A", side="buy", type="market", quantity="1000000")
            return perf_counter() - began

    quiet = asyncio.create_task(bench.timed())
    await asyncio.sleep(2)
    took = await asyncio.to_thread(sweep)
    times = await quiet
    p50, p99 = percentiles(times)
    return {
        "p50_ms": round(p50, 2), "p99_ms": round(p99, 2), "others_max_ms": round(max(times), 1),
        "order_seconds": round(took, 2), "filled_seconds": round(filled, 2),
    }  # fmt: skip


async def hold(port: int, number: int, sent: bytes, drip: bytes = b"") -> float:
    """Open a socket, send some bytes, and return the seconds until the server closes it; a drip comes twice a second."""
    began, address = perf_counter(), f"127.0.{1 + number // SOCKETS_OF_ADDRESS}.1"
    with suppress(OSError):  # the server may hang up at any time
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        with closing(writer):
            writer.write(sent)
            while True:
                try:
                    async with asyncio.timeout(DRIP_SECONDS if drip else None):
                        if not await reader.read(4096):
                            break
                except TimeoutError:
                    writer.write(drip)
    return perf_counter() - began


def resident_mb(process: psutil.Process) -> float:
    """Return the resident memory of a process and of its children."""
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / 1e6


async def attack_with_sockets(bench: Bench, sizes: dict[str, int]) -> dict[str, Any]:
    """Open sockets that send nothing, headers without end, and half of a body."""
    server = bench.form.processes["serve"]
    before = most = resident_mb(server)
    key = bench.traders.keys[-1]
    head = f"POST /v1/orders HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    sent = {
        "idle": (b"", b""),
        "headers": (b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ", b"x"),
        "bodies": (f"{head}content-length: {2 * len(HALF_BODY)}\r\n\r\n".encode() + HALF_BODY, b""),
    }
    number = count()
    held = {
        kind: asyncio.gather(*(hold(bench.port, next(number), *sent[kind]) for _ in range(size)))
        for kind, size in sizes.items()
    }
    quiet = asyncio.create_task(bench.quiet())
    while not quiet.done():
        await asyncio.sleep(PAUSE_SECONDS)
        most = max(most, resident_mb(server))
    async with asyncio.timeout(CLOSED_SECONDS):
        closed = {kind: round(max(await ended, default=0.0), 1) for kind, ended in held.items()}
    return await quiet | {"memory_mb": round(most - before, 1), "closed_seconds": closed}


async def measure(bench: Bench, warm_up: float, chosen: Sequence[str], sizes: dict[str, int]) -> dict[str, Any]:
    """Make the chosen measurements. Print and return the figures."""
    result = await asyncio.to_thread(send, bench.load(8, warm_up, batch=50))
    with closing(Asker(bench.port)) as asker:
        await asker.get(f"/v1/leaderboard?min_position={result.replies[-1][1]}&wait_ms=30000")
    quiet = await bench.quiet()
    figures: dict[str, Any] = {"quiet": quiet}
    print(f"quiet: {quiet}", flush=True)
    attacks = {
        "waits": partial(attack_with_waits, bench),
        "dear": partial(attack_with_reads, bench),
        "sweep": partial(attack_with_sweep, bench),
        "sockets": partial(attack_with_sockets, bench, sizes),
    }
    for name in chosen:
        found = await attacks[name]()
        figures[name] = found | {"times": round(found["p99_ms"] / quiet["p99_ms"], 2)}
        print(f"{name}: {figures[name]}", flush=True)
    return figures | {"missed": [name for name, is_missed in missed(figures) if is_missed]}


def missed(figures: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield the bounds of what was measured, and whether they were missed."""
    if "waits" in figures:
        yield "deposit", figures["waits"]["deposit_max_ms"] >= 200
    if "dear" in figures:
        yield "dear", figures["dear"]["times"] >= 3
    if "sockets" in figures:
        yield "sockets", figures["sockets"]["times"] > 2
        yield "memory", figures["sockets"]["memory_mb"] > 64


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12.0, help="for each run of the quiet client")
    parser.add_argument("--warm-up", type=float, default=5.0, help="in batches: dear reads need a history")
    parser.add_argument("--sockets", type=int, default=5_000, help="that send nothing")
    parser.add_argument("--headers", type=int, default=200, help="that never end")
    parser.add_argument("--bodies", type=int, default=500, help="half of which is sent")
    parser.add_argument("--attacks", default=",".join(ATTACKS), help="with commas between them")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sizes = {"idle": arguments.sockets, "headers": arguments.headers, "bodies": arguments.bodies}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-bench-")))
        folder.chmod(0o755)  # for PostgreSQL's user
        server = stack.enter_context(Postgres.start(folder / "postgres", end_with_process=True))
        form = stack.enter_context(serve_form(folder / "serve", server))
        traders = set_up(f"http://127.0.0.1:{form.settings.port}", DEAR_READERS)
        bench = Bench(form, traders, arguments.seconds)
        figures = asyncio.run(measure(bench, arguments.warm_up, arguments.attacks.split(","), sizes))
        show(figures, {name: text for name, text in KEYS.items() if name in figures})


if __name__ == "__main__":
    main()
