"""Measures how long clients wait if the engine that writes is killed or paused, and checks that their replies were true.

    python -m bench failover [--kills 20] [--pauses 20] [--tasks 32]

An engine and a standby share one log in Kafka, and a client keeps orders in flight. Again and again the engine that writes
gets a SIGKILL, or a SIGSTOP and, once the standby writes, a SIGCONT: then it must stop by itself. A new standby is started
each time. A gap is the longest time around the fault in which the client got no reply. At the end the log is compared with
all replies.
"""

import argparse
import asyncio
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import uvloop

from bench.engine import order, set_up
from bench.parts import show
from bench.programs import settings_of, start
from consumers.errors import Busy
from consumers.kafka.gateway import KafkaGateway
from local.kafka import Broker
from settings import Settings
from tests.consumers.checks import check_log, reading

if TYPE_CHECKING:
    from messages.replies import Reply

KEYS: Final = {
    "kill_gap_seconds": "the longest time without a reply after a SIGKILL: `p50`, `p99` and `max` of all kills",
    "pause_gap_seconds": "the same after a SIGSTOP",
    "take_over_seconds": "time from a kill to the new engine's claim: `p50`, `p99` and `max`",
    "kills": "number of engines that were killed",
    "pauses": "number of engines that were paused and continued, and then stopped by themselves",
    "replies": "number of replies to the client; the log holds each one once, as it was told",
    "refused": "number of orders that were refused meanwhile (`Busy`); the client sent them again",
}

STAND_BY_SECONDS: Final = 30
CATCH_UP_SECONDS: Final = 3.0
"""The time for a new standby to read the log before the next fault. All processes here share the CPUs."""

SETTLE_SECONDS: Final = 1.0
"""The time during which replies must arrive again before the next fault."""


class EngineProcess:
    """An engine in a process, and its log file."""

    def __init__(self, settings: Settings, *options: str) -> None:
        self._log = settings.home / f"engine-{uuid4().hex}.log"
        self.process = start("engine", settings, *options, log=self._log)

    async def until(self, words: str) -> float:
        """Wait until it has logged these words, and return the time."""
        deadline = perf_counter() + STAND_BY_SECONDS
        while words not in self._log.read_text():  # a small file
            assert perf_counter() < deadline, f"expected {words!r} in: {self._log.read_text()[-2000:]}"
            await asyncio.sleep(0.005)
        return perf_counter()

    async def ended(self) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        return await asyncio.to_thread(self.process.wait, STAND_BY_SECONDS)


class TradingClient:
    """Keeps orders in flight, and notes the time of each reply."""

    def __init__(self, gateway: KafkaGateway, accounts: list[str], markets: list[str]) -> None:
        self._gateway, self._accounts, self._markets = gateway, accounts, markets
        self._number = 0
        self.replies: list[Reply] = []
        self.times: list[float] = []
        self.refused = 0
        self.stopping = False

    async def trade(self) -> None:
        """Send one order after the other; repeat each one until its reply arrives."""
        while not self.stopping:
            self._number += 1
            command = order(self._number, self._accounts, self._markets, "f")
            while True:
                try:
                    reply = await self._gateway.submit(*command)
                except Busy as busy:
                    self.refused += 1
                    await asyncio.sleep(min(busy.retry_after_seconds, 0.1))
                else:
                    break
            self.replies.append(reply)
            self.times.append(perf_counter())

    async def settle(self) -> None:
        """Wait until replies have arrived for `SETTLE_SECONDS`."""
        since = len(self.times)
        while len(self.times) == since:  # noqa: ASYNC110  # nothing signals a reply
            await asyncio.sleep(0.01)
        await asyncio.sleep(SETTLE_SECONDS)

    def gap(self, moment: float) -> float:
        """Return the longest time without a reply, from just before this moment until now."""
        times = [time for time in self.times if time > moment - SETTLE_SECONDS]
        return max(after - before for before, after in pairwise([*times, perf_counter()]))


async def one_fault(
    writer: EngineProcess, standby: EngineProcess, client: TradingClient, fault: signal.Signals
) -> tuple[float, float]:
    """Kill or pause the engine that writes. Return the gap, and the seconds until the standby has taken over."""
    await standby.until("standby_started")
    await asyncio.sleep(CATCH_UP_SECONDS)
    await client.settle()
    began = perf_counter()
    writer.process.send_signal(fault)
    taken = await standby.until("log_taken_over")
    await client.settle()
    found = client.gap(began), taken - began
    if fault == signal.SIGSTOP:
        writer.process.send_signal(signal.SIGCONT)
        code = await writer.ended()
        print(f"  the paused engine ended by itself with exit code {code}")
    else:
        await writer.ended()
    print(f"{fault.name}: no reply for {found[0]:.2f} s, taken over after {found[1]:.2f} s", flush=True)
    return found


def summary(values: list[float]) -> dict[str, float]:
    """Return the median, the 99th percentile (of few values the largest), and the largest value."""
    ordered = sorted(values) or [0.0]
    picked = {"p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)], "max": ordered[-1]}
    return {name: round(value, 3) for name, value in picked.items()}


async def faults(
    settings: Settings,
    client: TradingClient,
    kinds: list[signal.Signals],
    writer: EngineProcess,
    engines: list[subprocess.Popen[bytes]],
) -> list[tuple[float, float]]:
    """Make all faults, each with a new standby. Return the result of `one_fault` for each."""
    found = []
    for fault in kinds:
        standby = EngineProcess(settings, "--standby")
        engines.append(standby.process)
        found.append(await one_fault(writer, standby, client, fault))
        writer = standby
    return found


def kill_all(processes: list[subprocess.Popen[bytes]]) -> None:
    """Kill processes."""
    for process in processes:
        process.kill()


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pauses", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=32, help="orders in flight")
    arguments = parser.parse_args()
    kinds = [signal.SIGKILL] * arguments.kills + [signal.SIGSTOP] * arguments.pauses
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-bench-")))
        broker = stack.enter_context(Broker(folder / "kafka"))
        settings = settings_of(folder, broker.bootstrap)
        first = EngineProcess(settings)
        engines = [first.process]
        stack.callback(kill_all, engines)
        gateway = stack.enter_context(KafkaGateway(settings, timeout_seconds=60))

        async def run() -> tuple[TradingClient, list[tuple[float, float]]]:
            client = TradingClient(gateway, *await set_up(gateway))
            trading = [asyncio.create_task(client.trade()) for _ in range(arguments.tasks)]
            found = await faults(settings, client, kinds, first, engines)
            client.stopping = True
            await asyncio.gather(*trading)
            return client, found

        client, found = uvloop.run(run())
        engines[-1].send_signal(signal.SIGTERM)
        assert engines[-1].wait(STAND_BY_SECONDS) == 0, "the last engine stops without an error"
        with reading(settings) as recorder:
            check_log(recorder, client.replies)
    killed, paused = found[: arguments.kills], found[arguments.kills :]
    show(
        {
            "kill_gap_seconds": summary([gap for gap, _ in killed]),
            "pause_gap_seconds": summary([gap for gap, _ in paused]),
            "take_over_seconds": summary([taken for _, taken in killed]),
            "kills": len(killed),
            "pauses": len(paused),
            "replies": len(client.replies),
            "refused": client.refused,
        },
        KEYS,
    )


if __name__ == "__main__":
    main()
