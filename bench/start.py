"""The cost of a long log: starting, memory, an order, and folding it again.

    python -m bench start [--events 1000000] [--rounds 20]

A long log is written to Kafka with the real codec: a hundred accounts buy in five markets, and sell again what they bought.
An engine folds it from the beginning and leaves a snapshot, from which another engine starts. A third engine has a nearly
empty log. These two get orders in turn, and are compared. 10 million events need 7 GB.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

import psutil
import uvloop
from eventsourcing.persistence import StoredEvent

import eventsourcing_kafka as es_kafka
from bench.engine import ACCOUNTS, CLOSE, MARKETS, order
from bench.parts import show
from bench.programs import running, settings_of
from consumers.kafka.gateway import KafkaGateway
from consumers.kafka.log_settings import log_settings
from consumers.kafka.topics import ensure_topics
from domain.account import DepositCash, OpenAccount
from domain.commands import Command
from domain.exchange import Entry, Exchange
from domain.market import OpenMarket
from domain.money import MICRO
from domain.orders import PlaceOrder, SplitSets
from domain.story import PublishStory
from local.kafka import Broker
from messages.commands import AdvanceTime, order_command_id, with_ids
from messages.stored import to_stored
from settings import Settings

KEYS: Final = {
    "events": "events in the long log",
    "log_bytes_per_event": "bytes per event of the long log in Kafka",
    "replay_events_per_s": "events per second when an engine folds the long log from the beginning, with the start of its "
    "process included; the command index exists, as after a change of the code, which makes snapshots useless",
    "replay_cpu_us_per_event": "CPU of the engine per event of the same, in microseconds",
    "rebuild_events_per_s": "events per second of the same, if the command index is missing too and must be rebuilt",
    "start_empty_seconds": "time from the start of the process to its first reply, on the nearly empty log",
    "start_replay_seconds": "the same on the long log, without a snapshot",
    "start_rebuild_seconds": "the same on the long log, without any local file",
    "start_snapshot_seconds": "the same on the long log, with the snapshot; the least of three",
    "rss_empty_mb": "memory of the engine on the nearly empty log in MB, after its orders",
    "rss_snapshot_mb": "memory of the engine on the long log that started from the snapshot, after its orders",
    "rss_replay_mb": "memory of an engine that has just folded the whole long log",
    "own_empty_mb": "`rss_empty_mb` without mapped files: libraries, the command index",
    "own_snapshot_mb": "`rss_snapshot_mb` without mapped files",
    "own_replay_mb": "`rss_replay_mb` without mapped files",
    "order_empty_us": "CPU of the engine per order on the nearly empty log, in microseconds; the median of the rounds",
    "order_long_us": "the same on the long log",
    "order_ratio": "long divided by empty",
}

TIME: Final = 1_700_000_000 * MICRO
CYCLE_MARK: Final = b"@@@@@@@@"
"""The placeholder in ids for the number of the cycle."""

READY_SECONDS: Final = 1_800
WINDOW: Final = 64


class CyclicLog:
    """A log of any length with the state of a short one: in each cycle, accounts sell all that they bought."""

    def __init__(self) -> None:
        self._exchange = Exchange()
        opening = tuple(
            OpenMarket("", "", f"m-{i}", "Will it be?", ("No", "Yes"), 100_000 * MICRO, CLOSE, "News")
            for i in range(MARKETS)
        )
        story = PublishStory("", "story", "Story", "Body", "world", 0, None, opening)
        self._opening = self._do("s", story)
        self.markets = list(self._exchange.markets)
        for i in range(ACCOUNTS):
            self._opening += self._do(f"a{i}", OpenAccount("", f"T{i}"))
        self.accounts = [name for name in self._exchange.accounts if name.startswith("ac_")]
        for account in self.accounts:
            self._opening += self._do(f"d{account}", DepositCash(account, 10_000_000 * MICRO))
            for market in self.markets:
                self._opening += self._do(f"p{account}{market}", SplitSets(account, market, 100_000 * MICRO))
        before = dict(self._exchange.versions)
        self._cycle = [
            self._order(account, self.markets[i % MARKETS], side)
            for side in ("buy", "sell")
            for i, account in enumerate(self.accounts)
        ]
        self._steps = {stream: version - before.get(stream, 0) for stream, version in self._exchange.versions.items()}

    def batches(self, events: int) -> Iterator[list[StoredEvent]]:
        """Yield the opening events, then one batch for each whole cycle that fits into this number of events."""
        yield self._opening
        template = [event for found in self._cycle for event in found]
        written = len(self._opening)
        for cycle in range(max(1, (events - written) // len(template))):
            number = b"%08d" % cycle
            yield [
                StoredEvent(
                    event.originator_id,
                    event.originator_version + cycle * self._steps[str(event.originator_id)],
                    event.topic,
                    event.state.replace(CYCLE_MARK, number),
                )
                for event in template
            ]

    def _do(self, command_id: str, command: Command) -> list[StoredEvent]:
        entries = self._exchange.handle(with_ids(command_id, command), TIME, command_id)  # type: ignore[arg-type]
        return self._stored(command_id, entries)

    def _order(self, account: str, market: str, side: Any) -> list[StoredEvent]:
        name = f"{side}-{CYCLE_MARK.decode()}"
        command_id = order_command_id(account, name)
        order_id = f"or_{uuid4().hex[:18]}{CYCLE_MARK.decode()}"
        placed = PlaceOrder(account, market, order_id, name, "Yes", side, "market", quantity=2 * MICRO)
        return self._stored(command_id, self._exchange.handle(placed, TIME, command_id))

    def _stored(self, command_id: str, entries: list[Entry]) -> list[StoredEvent]:
        first, *rest = entries
        digest = "0" * 16
        return [
            to_stored(first, time=TIME, command_id=command_id, digest=digest),
            *[to_stored(entry, time=TIME, command_id=command_id) for entry in rest],
        ]


def write_log(settings: Settings, content: CyclicLog, events: int) -> tuple[int, int]:
    """Write the log. Return the number of its events, and of their bytes."""
    ensure_topics(settings)
    log = log_settings(settings)
    size = 0
    with es_kafka.Reader(log) as reader, es_kafka.Writer.take_over(reader) as writer:
        sent = None
        for batch in content.batches(events):
            size += sum(len(event.state) + len(event.topic) + len(str(event.originator_id)) for event in batch)
            if sent is not None:
                sent.result()
            sent = writer.begin(batch)
        assert sent is not None, "there are opening events"
        sent.result()
        return writer.checkpoint.next - 1, size


def first_reply(settings: Settings, stack: ExitStack) -> tuple[psutil.Process, KafkaGateway, float]:
    """Start an engine. Return it, a gateway to it, and the seconds from its start to its first reply."""
    gateway = stack.enter_context(
        KafkaGateway(settings, timeout_seconds=READY_SECONDS, retry_seconds=1000, behind_seconds=READY_SECONDS)
    )
    began = perf_counter()
    engine = stack.enter_context(running("engine", settings))
    gateway.submit_blocking(f"ready-{uuid4().hex}", AdvanceTime())
    return engine, gateway, perf_counter() - began


async def load(gateway: KafkaGateway, orders: int, content: CyclicLog) -> None:
    """Send this number of orders, with `WINDOW` of them in flight."""
    run = uuid4().hex[:8]
    numbers = iter(range(orders))

    async def trade() -> None:
        for number in numbers:
            reply = await gateway.submit(*order(number, content.accounts, content.markets, run))
            assert reply.code is None, reply

    await asyncio.gather(*[trade() for _ in range(WINDOW)])


def compare(pair: list[tuple[psutil.Process, KafkaGateway]], content: CyclicLog, rounds: int) -> list[float]:
    """Return the CPU per order of each engine, in microseconds: the median of rounds, which they get in turn."""
    took: list[list[float]] = [[], []]

    async def run() -> None:
        for number in range(rounds + 2):
            for times, (engine, gateway) in zip(took, pair, strict=True):
                before = sum(engine.cpu_times()[:2])
                await load(gateway, 2_000, content)
                if number >= 2:  # the first two are a warm-up
                    times.append((sum(engine.cpu_times()[:2]) - before) / 2_000 * 1e6)

    uvloop.run(run())
    return [sorted(times)[len(times) // 2] for times in took]


def rss_mb(process: psutil.Process) -> float:
    """Return the resident memory of a process in MB."""
    return round(process.memory_info().rss / 1e6, 1)


def own_mb(process: psutil.Process) -> float:
    """Return the same without mapped files, whose pages the system can reclaim; only where the system reports them."""
    memory = process.memory_info()
    return round((memory.rss - getattr(memory, "shared", 0)) / 1e6, 1)


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of 2,000 orders for each of the two engines")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    content = CyclicLog()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-bench-")))
        broker = stack.enter_context(Broker(folder / "kafka"))
        homes = [folder / "empty", folder / "long"]
        for home in homes:
            home.mkdir()
        empty, long = (settings_of(home, broker.bootstrap) for home in homes)
        write_log(empty, content, 1)
        began = perf_counter()
        events, size = write_log(long, content, arguments.events)
        print(f"{events:,} events written in {perf_counter() - began:.0f} s", flush=True)
        figures |= {"events": events, "log_bytes_per_event": round(size / events, 1)}

        with ExitStack() as rebuilding:
            seconds = first_reply(long, rebuilding)[2]
        figures |= {"rebuild_events_per_s": round(events / seconds), "start_rebuild_seconds": round(seconds, 2)}
        print(f"folded and indexed in {seconds:.1f} s: {events / seconds:,.0f} events/s", flush=True)
        for snapshot in homes[1].rglob("snapshot-*"):
            snapshot.unlink()
        with ExitStack() as replaying:
            engine, _, seconds = first_reply(long, replaying)
            figures |= {
                "replay_events_per_s": round(events / seconds),
                "start_replay_seconds": round(seconds, 2),
                "replay_cpu_us_per_event": round(sum(engine.cpu_times()[:2]) / events * 1e6, 1),
                "rss_replay_mb": rss_mb(engine),
                "own_replay_mb": own_mb(engine),
            }
        print(f"folded in {seconds:.1f} s: {events / seconds:,.0f} events/s", flush=True)
        tries = []
        for _ in range(3):
            with ExitStack() as starting:
                tries.append(first_reply(long, starting)[2])
        figures["start_snapshot_seconds"] = round(min(tries), 2)
        print("started from the snapshot in " + ", ".join(f"{seconds:.2f} s" for seconds in tries), flush=True)

        first, first_gateway, seconds = first_reply(empty, stack)
        second, second_gateway, _ = first_reply(long, stack)
        figures["start_empty_seconds"] = round(seconds, 2)
        times = compare([(first, first_gateway), (second, second_gateway)], content, arguments.rounds)
        figures |= {
            "rss_empty_mb": rss_mb(first),
            "rss_snapshot_mb": rss_mb(second),
            "own_empty_mb": own_mb(first),
            "own_snapshot_mb": own_mb(second),
            "order_empty_us": round(times[0], 1),
            "order_long_us": round(times[1], 1),
            "order_ratio": round(times[1] / times[0], 3),
        }
        print(f"CPU per order: {times[0]:.0f} us on the empty log, {times[1]:.0f} us on the long one", flush=True)
    show(figures, KEYS)


if __name__ == "__main__":
    main()
