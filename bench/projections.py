"""Measures how fast read models follow the log and answer, compared with the library's own projection runner on the same events.

    python -m bench projections [--events 10000,200000] [--processes 2] [--alone 200000] [--library-events 10000]
        [--kafka-events 100000] [--folder FOLDER]

For each size a log is written to PostgreSQL (see seasons.py). Projector processes that share all read models catch up from
nothing, until the indexes for readers exist too. Then every read is asked 300 times. Each read model alone folds the first
`--alone` events of the last log, and one of them is rebuilt. With `--folder` the logs are kept, and reused by the next run.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from time import perf_counter, process_time, sleep
from typing import Any, Final

import psutil
import psycopg
from eventsourcing.persistence import ApplicationRecorder, Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import Environment
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL

from bench import following, seasons
from bench.parts import show
from consumers.engine.postgres_log import postgres_recorder
from domain.account import TradeSettled
from local.postgres import Postgres, drop_database
from messages.application import LogApplication, LogEvent
from projections import accounts, book, calibration, candle_windows, equity, log_index, orders, statements
from projections.machine.advance import advance
from projections.machine.log_reader import read_log
from projections.machine.progress import Progress
from projections.machine.rebuild import rebuild
from projections.machine.store import CONNECT_OPTIONS, connect, ensure, make_indexes
from projections.machine.workspace import Workspace
from projections.markets import listing, markets, prices
from projections.positions import leaderboard, positions
from projections.reading import AsOf, read
from projections.registry import PROJECTIONS
from projections.trades import trades

READS = 300
READ_SECONDS: Final = 20
"""The longest time to spend on one kind of read."""

KEYS: Final = {
    "catch_up_events_per_s": "by size: events per second of `--processes` projectors from nothing to the end, with all indexes",
    "catch_up_cpu_us": "by size: CPU per event in microseconds, of the projectors (`python`) and of PostgreSQL",
    "alone_us": "by read model, folded alone with its indexes: CPU per event in microseconds, of the process and of PostgreSQL",
    "live_us": "by events in a batch, all read models together as they follow the log: CPU per event in microseconds, of both",
    "reading": "reading and decoding a log, from PostgreSQL and from Kafka with 3 and 300 events in a record, connecting "
    "included: events per second, and CPU per event in microseconds",
    "rebuild_events_per_s": "events per second of a rebuild of the read model `positions`, with the exchange for the live one",
    "reads_ms": "by size and read: p50 and p99 in milliseconds; `then` is as of the middle of the log",
    "library_events_per_s": "events per second of the library's `ProjectionRunner`, only for the shares of each position",
}

PROJECT = """
import sys, threading, logging, structlog
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
from bench.projections import recorder_of
from consumers.process_tuning import collect_rarely
from consumers.projector.projector import Projector
collect_rarely()
with recorder_of(sys.argv[1]) as recorder:
    projector = Projector(recorder, sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    projector.start()
    threading.Event().wait()
"""


@contextmanager
def recorder_of(dsn: str) -> Iterator[ApplicationRecorder]:
    """Yield the recorder of the log in a PostgreSQL database, as the product opens it."""
    with postgres_recorder(dsn, 0) as recorder:
        yield recorder


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


def new_database(server: Postgres, name: str) -> str:
    """Return the DSN of an empty database."""
    drop_database(server.dsn(), name)
    return server.database(name)


def server_seconds(server: Postgres) -> float:
    """Return the CPU time that the server and all its processes have used so far, in seconds."""
    main = psutil.Process(server.pid or 0)
    total = 0.0
    for process in [main, *main.children()]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def catch_up(server: Postgres, log: str, models: str, head: int, processes: int) -> tuple[float, dict[str, float]]:
    """Let new projectors fold the log from nothing. Return events per second, and CPU per event in microseconds."""
    progress = Progress(models)
    with connect(models) as connection:
        ensure(connection, PROJECTIONS.values())
    with ExitStack() as stack:
        progress.start()
        stack.callback(progress.stop)
        projectors = [projector(stack, log, models) for _ in range(processes)]
        began, own, of_server = perf_counter(), seconds_of(projectors), server_seconds(server)
        for process in projectors:
            begin(process)
        assert progress.wait(list(PROJECTIONS), head, 7200), "the projectors reach the end of the log"
        print(f"  folded in {perf_counter() - began:,.1f} s", flush=True)
        wait_for_indexes(models)
        seconds = perf_counter() - began
        micros = {
            "python": round((seconds_of(projectors) - own) / head * 1e6, 1),
            "postgresql": round((server_seconds(server) - of_server) / head * 1e6, 1),
        }
    return head / seconds, micros


def projector(stack: ExitStack, log: str, models: str) -> "subprocess.Popen[bytes]":
    """Start a projector process that waits for `begin`. It is killed when the stack closes."""
    command = [sys.executable, "-c", PROJECT, log, models]
    process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))  # noqa: S603  our own program
    stack.callback(process.kill)
    assert process.stdout is not None, "it is a pipe"
    process.stdout.readline()
    return process


def begin(process: "subprocess.Popen[bytes]") -> None:
    """Let a projector process begin."""
    assert process.stdin is not None, "it is a pipe"
    process.stdin.write(b"\n")
    process.stdin.flush()


def seconds_of(processes: Iterable["subprocess.Popen[bytes]"]) -> float:
    """Return the CPU time that these processes have used so far, in seconds."""
    return sum(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in processes)


def wait_for_indexes(models: str) -> None:
    """Wait until all indexes for readers exist."""
    tables = [table for projection in PROJECTIONS.values() for table in projection.tables]
    wanted = sum(len(table.index_statements()) for table in tables)
    with psycopg.connect(models, autocommit=True, **CONNECT_OPTIONS) as connection:
        query = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'read_models' AND tablename = ANY(%s)"
        while connection.execute(query, [[table.name for table in tables]]).fetchone() != (wanted,):
            sleep(0.1)


def alone(server: Postgres, log: ApplicationRecorder, events: int) -> tuple[dict[str, dict[str, float]], float]:
    """Fold each read model alone. Return CPU per event by read model, and the events per second of a rebuild."""
    batches = list(read_log(log, 0, 0, events))
    models = new_database(server, "models_alone")
    found: dict[str, dict[str, float]] = {}
    for name, projection in PROJECTIONS.items():
        with connect(models) as connection:
            ensure(connection, [projection])
            workspace = Workspace(projection.tables)
            own, of_server = process_time(), server_seconds(server)
            advance(connection, projection, workspace, batches)
            make_indexes(connection, projection)
            found[name] = {
                "python": round((process_time() - own) / events * 1e6, 2),
                "postgresql": round((server_seconds(server) - of_server) / events * 1e6, 2),
            }
        print(f"  {name:<12} {found[name]['python']:6.2f} + {found[name]['postgresql']:6.2f} us per event", flush=True)
    began = perf_counter()
    rebuild(
        models,
        PROJECTIONS["positions"],
        lambda after, until: read_log(log, 0, after, until),
        lambda: events,
        views=None,
    )
    return found, events / (perf_counter() - began)


def reads(connection: psycopg.Connection[Any], at: int) -> dict[str, Callable[[AsOf, random.Random], object]]:
    """Return the reads by name, for the 100 newest markets at a position."""
    names = [row[0] for row in connection.execute("SELECT account_id FROM accounts ORDER BY 1").fetchall()]
    newest = "SELECT market_id FROM markets WHERE opened_position <= %s ORDER BY opened_position DESC LIMIT 100"
    ids = [row[0] for row in connection.execute(newest, [at]).fetchall()]
    c = connection
    day = 86_400_000_000
    return {
        "market": lambda a, r: markets.get_market(c, a, r.choice(ids)),
        "markets": lambda a, _: listing.newest(c, a),
        "book": lambda a, r: book.book(c, a, markets.get_market(c, a, r.choice(ids))),  # type: ignore[arg-type]
        "ticks of an hour": lambda a, r: prices.histories(c, a, r.choice(ids), [0], start=a.time - day // 24),
        "prices by hour": lambda a, r: prices.histories(c, a, r.choice(ids), [0], start=a.time - 7 * day, fidelity=60),
        "candles of a day": lambda a, r: candle_windows.candles(
            c, a, "1m", [candle_windows.Window(r.choice(ids), range(1), a.time - day, a.time)]
        ),
        "trades": lambda a, r: trades.market_trades(c, a, r.choice(ids)),
        "account": lambda a, r: accounts.get_account(c, a, r.choice(names)),
        "positions": lambda a, r: positions.account_positions(c, a, r.choice(names)),
        "fills": lambda a, r: trades.account_fills(c, a, r.choice(names)),
        "orders": lambda a, r: orders.account_orders(c, a, r.choice(names)),
        "statement": lambda a, r: statements.statement(c, a, r.choice(names)),
        "holders": lambda a, r: positions.holders(c, a, r.choice(ids)),
        "events of a market": lambda a, r: log_index.positions(c, a, log_index.Search(market_id=r.choice(ids)), 100),
        "settlements": lambda a, r: positions.settlements(c, a, r.choice(names)),
        "equity of a day": lambda a, r: equity.equity_history(
            c, a, r.choice(names), start=a.time - day, end=a.time, step=day // 24
        ),
        "calibration": lambda a, _: calibration.calibration(c, a),
        "leaderboard all": lambda a, _: leaderboard.leaderboard(c, a),
        "leaderboard day": lambda a, _: leaderboard.leaderboard(c, a, window="day"),
        "leaderboard month": lambda a, _: leaderboard.leaderboard(c, a, window="month", sort="brier"),
    }


def time_reads(models: str, head: int) -> dict[str, dict[str, float]]:
    """Return p50 and p99 of each read in milliseconds, as of the end and as of the middle of the log."""
    found: dict[str, dict[str, float]] = {}
    with psycopg.connect(models, autocommit=True, **CONNECT_OPTIONS) as connection:
        connection.execute("VACUUM ANALYZE")  # as autovacuum does later
        for label, at in (("", None), (" then", head // 2)):
            for name, ask in reads(connection, at or head).items():
                chosen, spent, ends = random.Random(1), [0.0], perf_counter() + READ_SECONDS  # noqa: S311  repeatable
                while len(spent) <= READS and perf_counter() < ends:
                    began = perf_counter()
                    with read(connection, *PROJECTIONS, at=at) as as_of:
                        ask(as_of, chosen)
                    spent.append((perf_counter() - began) * 1000)
                cuts = quantiles(spent[1:] * 2, n=100)
                found[name + label] = {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}
                print(f"  {name + label:<24} p50 {cuts[49]:8.2f} ms   p99 {cuts[98]:8.2f} ms", flush=True)
    return found


# --- the library's own runner


class SharesView(PostgresTrackingRecorder):
    """The shares of each position, and nothing else, as a view of the library."""

    def __init__(self, datastore: PostgresDatastore, **kwargs: Any) -> None:
        super().__init__(datastore, **kwargs)
        self.sql_create_statements.append(
            SQL(
                "CREATE TABLE IF NOT EXISTS library_shares (account_id text, market_id text, outcome text, shares int8, "
                "PRIMARY KEY (account_id, market_id, outcome))"
            ).format()
        )

    def add(self, event: TradeSettled, tracking: Tracking) -> None:
        """Change a position and the tracking record, in one transaction."""
        change = event.quantity if event.side == "buy" else -event.quantity
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO library_shares AS s VALUES (%s, %s, %s, %s) ON CONFLICT (account_id, market_id, outcome) "
                "DO UPDATE SET shares = s.shares + EXCLUDED.shares",
                [event.account_id, event.market_id, event.outcome, change],
            )


class SharesProjection(Projection[SharesView]):
    """Passes the events to the view, one by one."""

    name = "shares"
    topics: tuple[str, ...] = ()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Handle one event."""
        assert isinstance(domain_event, LogEvent)
        if isinstance(domain_event.event, TradeSettled):
            self.view.add(domain_event.event, tracking)
        else:
            self.view.insert_tracking(tracking)


def library(log: str, views: str, events: int) -> float:
    """Return the events per second of the library's runner, after the events that open accounts."""
    first = 3 * seasons.ACCOUNTS
    with ExitStack() as stack:
        recorder = stack.enter_context(recorder_of(log))

        class Log(LogApplication):
            def __init__(self, env: dict[str, str] | None = None) -> None:
                super().__init__(recorder, env)

        runner: ProjectionRunner[Log, SharesView] = ProjectionRunner(
            application_class=Log,
            projection_class=SharesProjection,
            view_class=SharesView,
            env=dict(environment(views)),
        )
        stack.enter_context(runner)
        runner.wait(first, timeout=600)
        began = perf_counter()
        runner.wait(events, timeout=600)
        return (events - first) / (perf_counter() - began)


def main() -> None:
    """Run the measurements."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", default="10000,200000")
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--alone", type=int, default=200_000)
    arguments.add_argument("--library-events", type=int, default=10_000)
    arguments.add_argument(
        "--kafka-events", type=int, default=100_000, help="events to read from each kind of log; 0 for none"
    )
    arguments.add_argument("--folder", type=Path)
    options = arguments.parse_args()
    sizes = [int(part) for part in options.events.split(",")]
    figures: dict[str, Any] = {key: {} for key in KEYS}
    with (
        tempfile.TemporaryDirectory(prefix="tidings-bench-") as folder,
        Postgres.start(options.folder or Path(folder)) as server,
    ):
        for size in sizes:
            measure(server, size, options.processes, figures)
        log = server.database(f"bench_{sizes[-1]}")
        alone_events = min(options.alone, sizes[-1])
        with recorder_of(log) as recorder:
            figures["alone_us"], rebuilt = alone(server, recorder, alone_events)
            figures["live_us"] = following.live(
                new_database(server, "models_live"), recorder, lambda: server_seconds(server)
            )
            events = min(options.kafka_events, sizes[-1])
            figures["reading"] = following.reading(recorder, events, lambda: server_seconds(server)) if events else {}
        figures["rebuild_events_per_s"] = round(rebuilt)
        print(f"positions rebuilt at {rebuilt:,.0f} events/s")
        runner = library(log, new_database(server, "library"), min(options.library_events, sizes[-1]))
        figures["library_events_per_s"] = round(runner)
        print(f"the library's own runner with one small read model: {runner:,.0f} events/s")
    show(figures, KEYS)


def measure(server: Postgres, size: int, processes: int, figures: dict[str, Any]) -> None:
    """Add the figures for a log of one size."""
    log = server.database(f"bench_{size}")
    with recorder_of(log) as recorder:
        if recorder.max_notification_id() is None:
            began = perf_counter()
            seasons.write(recorder, size)
            print(f"{size:,} events written in {perf_counter() - began:,.0f} s", flush=True)
    models = new_database(server, f"models_{size}")
    speed, micros = catch_up(server, log, models, size, processes)
    figures["catch_up_events_per_s"][str(size)], figures["catch_up_cpu_us"][str(size)] = round(speed), micros
    print(
        f"{size:,} events: caught up at {speed:,.0f} events/s, all {len(PROJECTIONS)} read models; {micros}",
        flush=True,
    )
    figures["reads_ms"][str(size)] = time_reads(models, size)


if __name__ == "__main__":
    main()
