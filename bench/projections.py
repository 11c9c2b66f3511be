"""How fast read models follow the log and answer, and beside it the library's own projection runner on the same events.

    python bench/projections.py [--events 10000,200000] [--library-events 3000]

For each size a log is made by the exchange itself (100 markets of 2 outcomes, 1,000 accounts, market and limit orders) and
written to PostgreSQL; then a projector with all read models, in a process of its own, catches up from nothing; one read
model is rebuilt; and every read is asked 200 times. Last line: a JSON object with `catch_up_events_per_s`,
`rebuild_events_per_s`, `reads_ms` (p50 and p99 by query) by size, and `library_events_per_s`: a `ProjectionRunner` that
keeps nothing but the shares of each position.
"""

import argparse
import gc
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any, ClassVar, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg
from eventsourcing.persistence import ApplicationRecorder, InfrastructureFactory, StoredEvent, Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import Environment
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL

from domain.account import DepositCash, OpenAccount, TradeSettled
from domain.exchange import Command, Exchange
from domain.market import OpenMarket
from domain.money import MICRO
from domain.orders import PlaceOrder
from domain.story import PublishStory
from local.postgres import Postgres
from messages.application import LogApplication, LogEvent
from messages.events import to_stored
from projections import accounts, book, candles, leaderboard, markets, orders, positions, prices, trades
from projections.feed import read_log
from projections.progress import Progress
from projections.reading import AsOf, read
from projections.rebuild import rebuild
from projections.registry import PROJECTIONS
from projections.store import CONNECT_OPTIONS

START: Final = 1_729_764_120_000_000
ACCOUNTS, MARKETS = 1_000, 100
READS = 200

PROJECT = """
import gc, sys, threading, logging, structlog
sys.path.insert(0, sys.argv[3])
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
from bench.projections import recorder_of
from consumers.projector import Projector
gc.set_threshold(100_000, 50, 1000)
Projector(recorder_of(sys.argv[1]), sys.argv[1]).start()
threading.Event().wait()
"""


def recorder_of(dsn: str) -> ApplicationRecorder:
    """Return the library's PostgreSQL recorder of the log."""
    return InfrastructureFactory.construct(environment(dsn)).application_recorder()


def environment(dsn: str, name: str = "bench") -> Environment:
    """Return the library's settings for a database."""
    parts = conninfo_to_dict(dsn)
    return Environment(
        name,
        {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(parts["dbname"]),
            "POSTGRES_HOST": str(parts["host"]),
            "POSTGRES_PORT": str(parts.get("port", "5432")),
            "POSTGRES_USER": str(parts["user"]),
            "POSTGRES_PASSWORD": str(parts.get("password", "")),
            "ORIGINATOR_ID_TYPE": "text",
        },
    )


def make_log(events: int) -> Iterator[list[StoredEvent]]:
    """Yield the log in batches, as an engine would append them."""
    chosen = random.Random(events)  # noqa: S311  repeatable
    exchange = Exchange()
    time, number, batch, made = START, 0, [], 0

    def send(command: Command) -> None:
        nonlocal number, made
        number += 1
        for entry in exchange.handle(command, time, f"c{number:012x}"):
            batch.append(to_stored(entry, time=time, command_id=f"c{number:012x}"))
            made += 1

    send(PublishStory("st_1", "story", "Story", "Body", "world", START))
    names = [f"ac_{i:016x}" for i in range(ACCOUNTS)]
    for name in names:
        send(OpenAccount(name, f"trader {name}"))
        send(DepositCash(name, 1_000_000 * MICRO))
    open_markets = [f"mk_{i:016x}" for i in range(MARKETS)]
    for name in open_markets:
        close = START + 4_000 * 86_400 * MICRO
        send(
            OpenMarket(name, "st_1", name, "Will it be?", ("No", "Yes"), 50_000 * MICRO, close, "News", fee_rate=10_000)
        )
    while made < events:
        time += chosen.randrange(200_000)
        account, market = chosen.choice(names), exchange.markets[chosen.choice(open_markets)]
        outcome = chosen.choice(("No", "Yes"))
        held = exchange.accounts[account].available_shares(market.market_id, outcome)
        sells = held > MICRO and chosen.random() < 0.5
        quantity = min(held, chosen.randrange(MICRO, 20 * MICRO)) if sells else chosen.randrange(MICRO, 20 * MICRO)
        limit = None
        if chosen.random() < 0.15:
            limit = market.shown_prices()[market.index(outcome)] // 1000 * 1000 + chosen.choice(
                [-20_000, -10_000, 5_000]
            )
            limit = min(999_000, max(1_000, limit))
        send(
            PlaceOrder(
                account, market.market_id, f"or_{number:016x}", f"k{number}", outcome, "sell" if sells else "buy",
                "limit" if limit else "market", quantity=quantity, limit_price=limit,
            )
        )  # fmt: skip
        while (step := exchange.step(time)) is not None:
            batch.extend(to_stored(entry, time=time, command_id=step[0]) for entry in step[1])
            made += len(step[1])
        if len(batch) >= 500:
            batch.append(to_stored(exchange.read_to("bench", number + 1), time=time, command_id=""))
            yield batch
            batch, made = [], made + 1
    yield batch


def catch_up(dsn: str, head: int) -> float:
    """Return how many events a second a new projector folds from nothing, with all read models."""
    progress = Progress(dsn)
    progress.start()
    root = str(Path(__file__).parent.parent)
    with subprocess.Popen([sys.executable, "-c", PROJECT, dsn, "", root]) as process:  # noqa: S603  our own program
        assert progress.wait(list(PROJECTIONS), 1, 60), "the projector starts"
        at, began = progress.position(list(PROJECTIONS)), perf_counter()
        assert progress.wait(list(PROJECTIONS), head, 3600), "the projector arrives"
        seconds = perf_counter() - began
        process.kill()
    progress.stop()
    return (head - at) / seconds


def reads(connection: psycopg.Connection[Any]) -> dict[str, Callable[[AsOf, random.Random], object]]:
    """Return the reads by name."""
    names = [row[0] for row in connection.execute("SELECT account_id FROM accounts ORDER BY 1").fetchall()]
    ids = [row[0] for row in connection.execute("SELECT market_id FROM markets ORDER BY 1").fetchall()]
    c = connection
    day = 86_400_000_000
    return {
        "market": lambda a, r: markets.get_market(c, a, r.choice(ids)),
        "markets": lambda a, _: markets.list_markets(c, a),
        "book": lambda a, r: book.book(c, a, markets.get_market(c, a, r.choice(ids))),  # type: ignore[arg-type]
        "ticks of an hour": lambda a, r: prices.history(c, a, r.choice(ids), 0, start=a.time - day // 24),
        "prices by hour": lambda a, r: prices.history(c, a, r.choice(ids), 0, start=a.time - 7 * day, fidelity=60),
        "candles of a day": lambda a, r: candles.candles(c, a, r.choice(ids), 0, "1m", a.time - day, a.time),
        "trades": lambda a, r: trades.market_trades(c, a, r.choice(ids)),
        "account": lambda a, r: accounts.get_account(c, a, r.choice(names)),
        "positions": lambda a, r: positions.account_positions(c, a, r.choice(names)),
        "fills": lambda a, r: trades.account_fills(c, a, r.choice(names)),
        "orders": lambda a, r: orders.account_orders(c, a, r.choice(names)),
        "statement": lambda a, r: accounts.statement(c, a, r.choice(names)),
        "holders": lambda a, r: positions.holders(c, a, r.choice(ids)),
        "leaderboard all": lambda a, _: leaderboard.leaderboard(c, a),
        "leaderboard day": lambda a, _: leaderboard.leaderboard(c, a, window="day"),
    }


def time_reads(dsn: str, head: int) -> dict[str, dict[str, float]]:
    """Return p50 and p99 of each read in milliseconds, of now and (a tenth as often) of a past position."""
    found: dict[str, dict[str, float]] = {}
    with psycopg.connect(dsn, autocommit=True, **CONNECT_OPTIONS) as connection:
        for name, ask in reads(connection).items():
            for label, at, times in (("", None, READS), (" then", head // 2, READS // 10)):
                chosen, spent = random.Random(1), []  # noqa: S311  repeatable
                for _ in range(times):
                    began = perf_counter()
                    with read(connection, *PROJECTIONS, at=at) as as_of:
                        ask(as_of, chosen)
                    spent.append((perf_counter() - began) * 1000)
                cuts = quantiles(spent, n=100)
                found[name + label] = {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}
    return found


# --- the library's own runner


class SharesView(PostgresTrackingRecorder):
    """The shares of each position, and nothing else."""

    def __init__(self, datastore: PostgresDatastore, **kwargs: Any) -> None:
        super().__init__(datastore, **kwargs)
        self.sql_create_statements.append(
            SQL(
                "CREATE TABLE IF NOT EXISTS library_shares (account_id text, market_id text, outcome text, shares int8, "
                "PRIMARY KEY (account_id, market_id, outcome))"
            )
        )

    def add(self, event: TradeSettled, tracking: Tracking) -> None:
        """Add to a position and move on, in one transaction."""
        change = event.quantity if event.side == "buy" else -event.quantity
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO library_shares AS s VALUES (%s, %s, %s, %s) ON CONFLICT (account_id, market_id, outcome) "
                "DO UPDATE SET shares = s.shares + EXCLUDED.shares",
                [event.account_id, event.market_id, event.outcome, change],
            )


class SharesProjection(Projection[SharesView]):
    """Calls the view, event by event."""

    name = "shares"
    topics: ClassVar[tuple[str, ...]] = ()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Take in an event."""
        assert isinstance(domain_event, LogEvent)
        if isinstance(domain_event.event, TradeSettled):
            self.view.add(domain_event.event, tracking)
        else:
            self.view.insert_tracking(tracking)


def library(dsn: str, events: int) -> float:
    """Return how many events a second the library's runner processes."""

    class Log(LogApplication):
        def __init__(self, env: dict[str, str] | None = None) -> None:
            super().__init__(recorder_of(dsn), env)

    runner: ProjectionRunner[Log, SharesView] = ProjectionRunner(
        application_class=Log,
        projection_class=SharesProjection,
        view_class=SharesView,
        env=dict(environment(dsn)),
    )
    with runner:
        runner.wait(100, timeout=60)
        began = perf_counter()
        runner.wait(events, timeout=600)
        return (events - 100) / (perf_counter() - began)


def main() -> None:
    """Measure, print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", default="10000,200000")
    arguments.add_argument("--library-events", type=int, default=3000)
    options = arguments.parse_args()
    result: dict[str, Any] = {"catch_up_events_per_s": {}, "rebuild_events_per_s": {}, "reads_ms": {}}
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as folder, Postgres.start(Path(folder)) as server:
        for size in [int(part) for part in options.events.split(",")]:
            dsn = server.database(f"bench_{size}")
            log = recorder_of(dsn)
            for batch in make_log(size):
                log.insert_events(batch)
            head = log.max_notification_id() or 0
            gc.collect()
            speed = catch_up(dsn, head)
            result["catch_up_events_per_s"][str(size)] = round(speed)
            print(f"{head:,} events: caught up at {speed:,.0f} events/s, all {len(PROJECTIONS)} read models on")
            began = perf_counter()
            rebuild(
                dsn,
                PROJECTIONS["positions"],
                lambda after, until, log=log: read_log(log, 0, after, until),
                lambda head=head: head,
            )
            result["rebuild_events_per_s"][str(size)] = round(head / (perf_counter() - began))
            print(f"  positions rebuilt at {head / (perf_counter() - began):,.0f} events/s")
            result["reads_ms"][str(size)] = time_reads(dsn, head)
            for name, times in result["reads_ms"][str(size)].items():
                print(f"  {name:<22} p50 {times['p50']:8.2f} ms   p99 {times['p99']:8.2f} ms")
            last = dsn
        result["library_events_per_s"] = round(library(last, options.library_events))
        print(f"the library's own runner, one small read model: {result['library_events_per_s']:,} events/s")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
