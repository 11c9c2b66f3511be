"""How long clients wait when the engine that writes is killed or paused, and whether they were told the truth.

    python -m bench failover [--kills 20] [--pauses 20] [--tasks 32]

An engine and a standby work on one log in Kafka, a client keeps orders in flight. Again and again the engine that writes
gets a SIGKILL, or a SIGSTOP and, when the other one writes, a SIGCONT: then it must stop by itself. Each time a new standby
is started. A gap is the longest time around that moment in which the client had no outcome. At the end the log is compared
with all that the client was told.
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
    "kill_gap_seconds": "the longest time without an outcome after a SIGKILL: `p50`, `p99` and `max` of all kills",
    "pause_gap_seconds": "the same after a SIGSTOP",
    "take_over_seconds": "of the former, from the kill to the new engine's claim: `p50`, `p99` and `max`",
    "kills": "how many engines were killed",
    "pauses": "how many were paused, woken, and then stopped by themselves",
    "outcomes": "outcomes that the client was told; each stands in the log, once, as told",
    "refused": "orders that were not taken meanwhile (`Busy`); the client sent them again",
}

STAND_BY_SECONDS: Final = 30
CATCH_UP_SECONDS: Final = 3.0
"""So long a new standby gets to read the log, on the CPUs that all processes here share, before the next fault."""

SETTLE_SECONDS: Final = 1.0
"""So long outcomes must have come again before the next fault."""


class Engine:
    """An engine as a process, and what it has logged."""

    def __init__(self, settings: Settings, *options: str) -> None:
        self._log = settings.home / f"engine-{uuid4().hex}.log"
        self.process = start("engine", settings, *options, log=self._log)

    async def until(self, words: str) -> float:
        """Wait until it has logged this; return when."""
        deadline = perf_counter() + STAND_BY_SECONDS
        while words not in self._log.read_text():  # a small file
            assert perf_counter() < deadline, f"not {words!r}: {self._log.read_text()[-2000:]}"
            await asyncio.sleep(0.005)
        return perf_counter()

    async def ended(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        return await asyncio.to_thread(self.process.wait, STAND_BY_SECONDS)


class Client:
    """Keeps orders in flight, and notes when each outcome came."""

    def __init__(self, gateway: KafkaGateway, accounts: list[str], markets: list[str]) -> None:
        self._gateway, self._accounts, self._markets = gateway, accounts, markets
        self._number = 0
        self.told: list[Reply] = []
        self.times: list[float] = []
        self.refused = 0
        self.stopping = False

    async def trade(self) -> None:
        """Send one order after the other, each until it has its outcome."""
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
            self.told.append(reply)
            self.times.append(perf_counter())

    async def settle(self) -> None:
        """Wait until outcomes have come for a while."""
        since = len(self.times)
        while len(self.times) == since:  # noqa: ASYNC110  # there is nothing else to wait for
            await asyncio.sleep(0.01)
        await asyncio.sleep(SETTLE_SECONDS)

    def gap(self, moment: float) -> float:
        """Return the longest time without an outcome from just before this moment until now."""
        times = [time for time in self.times if time > moment - SETTLE_SECONDS]
        return max(after - before for before, after in pairwise([*times, perf_counter()]))


async def one_fault(writer: Engine, standby: Engine, client: Client, fault: signal.Signals) -> tuple[float, float]:
    """Kill or pause the engine that writes; return the gap, and the seconds until the standby had the log."""
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
        print(f"  the one that was paused ended by itself with exit code {code}")
    else:
        await writer.ended()
    print(f"{fault.name}: nothing for {found[0]:.2f} s, taken over after {found[1]:.2f} s", flush=True)
    return found


def summary(values: list[float]) -> dict[str, float]:
    """Return the middle, the 99th of 100 (of few: the largest), and the largest."""
    ordered = sorted(values) or [0.0]
    picked = {"p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)], "max": ordered[-1]}
    return {name: round(value, 3) for name, value in picked.items()}


async def faults(
    settings: Settings,
    client: Client,
    kinds: list[signal.Signals],
    writer: Engine,
    engines: list[subprocess.Popen[bytes]],
) -> list[tuple[float, float]]:
    """Make all the faults, with a new standby each time; return what each took."""
    found = []
    for fault in kinds:
        standby = Engine(settings, "--standby")
        engines.append(standby.process)
        found.append(await one_fault(writer, standby, client, fault))
        writer = standby
    return found


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
        first = Engine(settings)
        engines = [first.process]
        stack.callback(lambda: [process.kill() for process in engines])
        gateway = stack.enter_context(KafkaGateway(settings, timeout_seconds=60))

        async def run() -> tuple[Client, list[tuple[float, float]]]:
            client = Client(gateway, *await set_up(gateway))
            trading = [asyncio.create_task(client.trade()) for _ in range(arguments.tasks)]
            found = await faults(settings, client, kinds, first, engines)
            client.stopping = True
            await asyncio.gather(*trading)
            return client, found

        client, found = uvloop.run(run())
        engines[-1].send_signal(signal.SIGTERM)
        assert engines[-1].wait(STAND_BY_SECONDS) == 0, "the last one ends well"
        with reading(settings) as recorder:
            check_log(recorder, client.told)
    killed, paused = found[: arguments.kills], found[arguments.kills :]
    show(
        {
            "kill_gap_seconds": summary([gap for gap, _ in killed]),
            "pause_gap_seconds": summary([gap for gap, _ in paused]),
            "take_over_seconds": summary([taken for _, taken in killed]),
            "kills": len(killed),
            "pauses": len(paused),
            "outcomes": len(client.told),
            "refused": client.refused,
        },
        KEYS,
    )


if __name__ == "__main__":
    main()
