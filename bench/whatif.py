"""Measures `tidings whatif`: a long log decided again under its own terms and under others, compared by read models.

    python -m bench whatif [--orders 1000000]

The log is written to PostgreSQL: 1,000 accounts trade in 100 markets, which are paid out after 50,000 orders; then come others.
One what-if runs in a process of its own.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.parts import show
from bench.projections import recorder_of, server_seconds
from bench.seasons import ACCOUNTS, MARKETS, START, affordable_order
from domain.account import DepositCash, OpenAccount
from domain.commands import Command
from domain.exchange import Exchange
from domain.market import CloseMarket, DetermineMarket, Evidence, FinalizeMarket, OpenMarket, Payout
from domain.money import MICRO
from domain.orders import PlaceOrder
from domain.story import PublishStory
from local.postgres import Postgres
from messages.commands import AdvanceTime, QuoteOrder, body_and_digest, new_id, order_command_id, with_ids
from messages.stored import to_stored

KEYS: Final = {
    "orders": "orders in the log",
    "events": "events in the log",
    "seconds": "time of the what-if",
    "seconds_of_a_million": "the same for 1,000,000 orders, in proportion",
    "cpu_us_per_order": "CPU per order in microseconds, of the what-if's processes (`python`) and of PostgreSQL",
    "rss_mb": "the most memory of the what-if, in MB, without the two processes that fold",
    "fold_rss_mb": "the most memory of one of these",
}

SEASON_ORDERS: Final = 50_000
APPEND_EVENTS: Final = 500

WHATIF = r"""
import json, re, resource, sys
from pathlib import Path
from time import perf_counter
from analysis.replay import history_of_log
from analysis.terms import Terms
from analysis.whatif import what_if
from bench.projections import recorder_of
from projections.machine.store import connect, ensure
dsn = sys.argv[1]
with connect(dsn) as connection:
    ensure(connection, [])
began = perf_counter()
with recorder_of(dsn) as log:
    found = what_if(history_of_log(log), Terms(fee_rate=20_000, subsidy=100_000_000_000), dsn)
used, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
assert not found.counts.certainties["lost"] and not found.counts.certainties["effect"]
print(json.dumps({
    "seconds": perf_counter() - began,
    "cpu_seconds": used.ru_utime + used.ru_stime + children.ru_utime + children.ru_stime,
    "rss_mb": round(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024),
    "fold_rss_mb": round(children.ru_maxrss / 1024),
}))
"""


class CommandLog:
    """An exchange whose commands have ids and digests, as if they had come over the wire, and the events that they left."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.time = START
        self.events: list[Any] = []

    def send(self, command: Command, name: str) -> None:
        """Decide a command. `name` is its id, unless it is an order."""
        if isinstance(command, PlaceOrder):
            name = order_command_id(command.account_id, command.client_order_id)
        named = with_ids(name, command)
        assert not isinstance(named, AdvanceTime | QuoteOrder), "only the exchange's own commands are sent here"
        body, digest = body_and_digest(named)
        given: str | None = digest
        for entry in self.exchange.handle(named, self.time, name, body):
            self.events.append(to_stored(entry, self.time, name, given))
            given = None
        while (step := self.exchange.step(self.time)) is not None:
            self.events += [to_stored(entry, self.time, step[0]) for entry in step[1]]


def seasons(log: CommandLog, orders: int) -> Iterator[None]:
    """Send this many orders, season after season, and yield now and then."""
    chosen = random.Random(orders)  # noqa: S311  repeatable
    accounts = [new_id("ac", f"account {number}") for number in range(ACCOUNTS)]
    for number, account in enumerate(accounts):
        log.send(OpenAccount("", f"trader {number}"), f"account {number}")
        log.send(DepositCash(account, 1_000_000 * MICRO), f"deposit {number}")
    for first in range(0, orders, SEASON_ORDERS):
        story = f"story {first}"
        log.send(PublishStory("", None, story, "Body", "world", START), story)
        markets = [new_id("mk", f"market {first + number}") for number in range(MARKETS)]
        for number in range(MARKETS):
            log.send(
                OpenMarket(
                    "", new_id("st", story), None, f"Will it {first + number}?", ("No", "Yes"), 50_000 * MICRO,
                    log.time + 10**12, "News", fee_rate=10_000, dispute_seconds=0,
                ),
                f"market {first + number}",
            )  # fmt: skip
        for number in range(first, min(first + SEASON_ORDERS, orders)):
            log.time += chosen.randrange(200_000)
            account, market = chosen.choice(accounts), chosen.choice(markets)
            log.send(affordable_order(log.exchange, chosen, account, market, number), "")
            if len(log.events) >= APPEND_EVENTS:
                yield
        for market in markets:
            log.send(CloseMarket(market), f"close {market}")
            payouts = (Payout(chosen.choice(("No", "Yes")), MICRO),)
            log.send(DetermineMarket(market, payouts, Evidence("So it was.")), f"determine {market}")
            log.send(FinalizeMarket(market), f"finalize {market}")
        yield


def write(dsn: str, orders: int) -> int:
    """Write a log to PostgreSQL and return the number of its events."""
    log, events = CommandLog(), 0
    with recorder_of(dsn) as recorder:
        for _ in seasons(log, orders):
            for start in range(0, len(log.events), APPEND_EVENTS):
                recorder.insert_events(log.events[start : start + APPEND_EVENTS])
            events += len(log.events)
            log.events = []
    return events


def whatif_figures(server: Postgres, orders: int) -> dict[str, Any]:
    """Measure one what-if on a log of this many orders."""
    dsn = server.database(f"whatif_{orders}")
    events = write(dsn, orders)
    print(f"  {events:,} events are written", flush=True)
    of_server = server_seconds(server)
    done = subprocess.run([sys.executable, "-c", WHATIF, dsn], check=True, capture_output=True, text=True)  # noqa: S603  our own program
    found = json.loads(done.stdout)
    return {
        "orders": orders,
        "events": events,
        "seconds": round(found["seconds"], 1),
        "seconds_of_a_million": round(found["seconds"] / orders * 1_000_000),
        "cpu_us_per_order": {
            "python": round(found["cpu_seconds"] / orders * 1e6, 1),
            "postgresql": round((server_seconds(server) - of_server) / orders * 1e6, 1),
        },
        "rss_mb": found["rss_mb"],
        "fold_rss_mb": found["fold_rss_mb"],
    }


def main() -> None:
    """Measure one what-if."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o711)  # as root, PostgreSQL runs as another user
        with Postgres.start(
            folder / "postgres", own=folder, settings={"fsync": "off"}, end_with_process=True
        ) as server:
            show(whatif_figures(server, options.orders), KEYS)


if __name__ == "__main__":
    main()
