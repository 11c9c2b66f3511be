"""The server's CPU for dashboards that ask for the same leaderboard once a second.

    python -m bench pollers [--dashboards 1000] [--seconds 8]

Each dashboard is a connection without a key. It polls as a browser does, with the tag of the last answer.
"""

import argparse
import asyncio
import tempfile
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from bench.asking import Asker
from bench.http import wait_until_it_listens
from bench.parts import show
from bench.programs import running, tree_cpu_seconds
from local.postgres import Postgres
from local.processes import free_port
from settings import Settings

SETTLE_SECONDS: Final = 3.0
"""The time after the start that is not measured."""

KEYS: Final = {
    "core": "CPU of the server without PostgreSQL as a part of one core, less that without dashboards",
    "us_per_request": "the same divided by the requests, in microseconds",
    "idle_core": "CPU of the server without dashboards",
    "answers": "number of answers by status",
    "dashboards": "number of connections",
}


async def poll(port: int, start: float, answers: Counter[str]) -> None:
    """Ask once a second over one connection, without end."""
    await asyncio.sleep(start)
    tag, due = "", perf_counter()
    with closing(Asker(port)) as asker:
        while True:
            answer = await asker.get("/v1/leaderboard", accept_encoding="gzip", if_none_match=tag)
            answers[str(answer.status)] += 1
            tag = answer.headers.get("etag", "")
            due += 1
            await asyncio.sleep(due - perf_counter())


async def measure(port: int, processes: dict[str, Any], dashboards: int, seconds: float) -> dict[str, Any]:
    """Poll, and return the figures."""

    async def used() -> float:
        before, began = tree_cpu_seconds(processes)["serve"], perf_counter()
        await asyncio.sleep(seconds)
        return (tree_cpu_seconds(processes)["serve"] - before) / (perf_counter() - began)

    answers: Counter[str] = Counter()
    await asyncio.sleep(SETTLE_SECONDS)
    idle = await used()
    polls = [asyncio.create_task(poll(port, number / dashboards, answers)) for number in range(dashboards)]
    await asyncio.sleep(SETTLE_SECONDS)
    answers.clear()
    core = await used() - idle
    counted = dict(answers)
    for each in polls:
        each.cancel()
    for ended in await asyncio.gather(*polls, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    return {
        "core": round(core, 4),
        "us_per_request": round(core * seconds / sum(counted.values()) * 1e6, 1),
        "idle_core": round(idle, 4),
        "answers": counted,
        "dashboards": dashboards,
    }


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dashboards", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidings-bench-")))
        folder.chmod(0o755)  # for PostgreSQL's user
        server = stack.enter_context(Postgres.start(folder / "postgres", end_with_process=True))
        settings = Settings(
            home=folder / "serve",
            dsn=server.database("serve"),
            port=free_port(),
            address_reads_per_second=0,  # the dashboards have one address here
            address_connections_max=4_096,
            log_level="warning",
        )
        settings.home.mkdir()
        process = stack.enter_context(running("serve", settings))
        wait_until_it_listens(settings.port)
        show(asyncio.run(measure(settings.port, {"serve": process}, arguments.dashboards, arguments.seconds)), KEYS)


if __name__ == "__main__":
    main()
