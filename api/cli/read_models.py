"""`tidings verify | lag | rebuild`, and `dead-letters` of read models: looking after them."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from api.cli.database import with_database
from api.lag import positions_of
from consumers.wiring import open_recorder
from domain.exchange import Entry, Exchange
from domain.invariants import Audit, BrokenInvariantError
from migrations import migrate
from projections.machine import parking
from projections.machine.log_reader import decode, read_log
from projections.machine.rebuild import rebuild as rebuild_projection
from projections.machine.store import CONNECT_OPTIONS, SCHEMA
from projections.registry import PROJECTIONS
from projections.verify import ledger_problem, verify

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Iterator

    from eventsourcing.persistence import ApplicationRecorder

    from domain.events import Recorded
    from settings import Settings


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[str, psycopg.Connection[Any], ApplicationRecorder]]:
    """Give DSN, a connection and the log's recorder; the database is migrated."""
    with ExitStack() as stack:
        settings = with_database(settings, stack)
        assert settings.dsn is not None, "just chosen"
        connection = stack.enter_context(psycopg.connect(settings.dsn, autocommit=True, **CONNECT_OPTIONS))
        migrate(connection)
        yield settings.dsn, connection, stack.enter_context(open_recorder(settings))


def verify_all(options: Namespace, settings: Settings) -> int:
    """Compare ledger and read models with the log; exit code 1 and the first difference when they differ."""
    with _opened(settings) as (dsn, _, recorder):
        head = recorder.max_notification_id() or 0
        batches = read_log(recorder, settings.partition, 0, head)
        problem = _broken_rule(settings.partition, (recorded for batch in batches for recorded in batch.events))
        results: list[dict[str, Any]] = [{"name": "ledger", "position": head, "difference": problem}]
        _say(options, results[-1])

        def read(after: int, until: int) -> Iterator[Any]:
            return read_log(recorder, settings.partition, after, until)

        for name, position, difference in verify(dsn, SCHEMA, PROJECTIONS.values(), read, settings.partition):
            found = difference and {
                "table": difference.table,
                "expected": difference.expected,
                "found": difference.found,
            }
            results.append({"name": name, "position": position, "difference": found})
            _say(options, results[-1])
    wrong = [result for result in results if result["difference"] is not None]
    if options.json:
        print(json.dumps({"equal": not wrong, "compared": results}, default=str))
    elif not wrong:
        print(f"everything agrees with the log up to position {head}")
    return 1 if wrong else 0


def _broken_rule(partition: int, events: Iterable[Recorded]) -> str | None:
    """Return the first thing that does not hold of the log: the ledger's sums, and every invariant at every position."""
    audit = Audit(Exchange(partition))

    def audited() -> Iterator[Recorded]:
        for recorded in events:
            entry = Entry(recorded.stream, recorded.version, recorded.event)
            audit.record(entry, time=recorded.time, command_id=recorded.command_id)
            yield recorded

    try:
        problem = ledger_problem(audited())
        audit.check_all()
    except BrokenInvariantError as error:
        return str(error)
    return problem


def _say(options: Namespace, result: dict[str, Any]) -> None:
    if not options.json:
        outcome = "equal" if result["difference"] is None else f"DIFFERS: {result['difference']}"
        print(f"{result['name']:<12} at {result['position']:>10}  {outcome}", flush=True)


def lag(options: Namespace, settings: Settings) -> int:
    """Print how far each read model is behind the log."""
    with _opened(settings) as (_, connection, recorder):
        found = positions_of(recorder, connection)
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"log at {found['engine']['position']}")
    for row in found["projections"]:
        behind = f"{row['lag_events']:,} events, {row['lag_seconds']:.3f} s behind"
        parked = f", {row['parked']} parked" if row["parked"] else ""
        print(f"{row['projection']:<12} {row['position']:>10}  {behind}{parked}")
    return 0


def unknown(name: str) -> bool:
    """Return whether there is no read model of this name, and say so."""
    if name in PROJECTIONS:
        return False
    print(f"tidings: there is no read model {name}; there are {', '.join(PROJECTIONS)}", file=sys.stderr)
    return True


def rebuild(options: Namespace, settings: Settings) -> int:
    """Build a read model anew beside the live one, then exchange them."""
    if unknown(options.name):
        return 2
    tell = (
        (lambda at, until: print(f"\rposition {at:,} of {until:,} ", end="", file=sys.stderr, flush=True))
        if sys.stderr.isatty()
        else None
    )
    with _opened(settings) as (dsn, _, recorder):
        position = rebuild_projection(
            dsn,
            PROJECTIONS[options.name],
            lambda after, until: read_log(recorder, settings.partition, after, until),
            lambda: recorder.max_notification_id() or 0,
            partition=settings.partition,
            progress=tell,
        )
    print(f"{options.name} is rebuilt up to position {position}")
    return 0


def parked(name: str | None, settings: Settings) -> list[dict[str, Any]]:
    """Return the events that a read model could not digest, and those that wait behind them."""
    with _opened(settings) as (_, connection, _recorder):
        return [_parked(row) for row in parking.list_parked(connection, name)]


def show_parked(options: Namespace, settings: Settings) -> int:
    """Print one event that was set aside, as it stands in the log."""
    with _opened(settings) as (_, connection, recorder):
        rows = [row for row in parking.list_parked(connection, options.name) if row.position == options.position]
        page = recorder.select_notifications(options.position, 1)
    if not rows:
        print("tidings: no such parked event", file=sys.stderr)
        return 1
    state = page[0].state.decode() if page else None
    print(json.dumps({**_parked(rows[0]), "state": state}, indent=2))
    return 0


def retry_parked(options: Namespace, settings: Settings) -> int:
    """Fold what is parked again; exit code 1 when something is parked still."""
    with _opened(settings) as (_, connection, recorder):
        left = _retry(connection, recorder, options.name, settings.partition)
    print(f"{left} parked still")
    return 1 if left else 0


def skip_parked(options: Namespace, settings: Settings) -> int:
    """Let a read model go on without an event, for ever, and fold what waited behind it."""
    with _opened(settings) as (_, connection, recorder):
        try:
            parking.skip(connection, PROJECTIONS[options.name], options.position, options.reason, settings.partition)
        except LookupError as error:
            print(f"tidings: {error}", file=sys.stderr)
            return 1
        left = _retry(connection, recorder, options.name, settings.partition)
    print(f"skipped; {left} parked still")
    return 0


def _retry(connection: psycopg.Connection[Any], recorder: ApplicationRecorder, name: str, partition: int) -> int:
    positions = [row.position for row in parking.list_parked(connection, name)]
    events = [
        event
        for position in positions
        for event in decode(recorder.select_notifications(position, 1))
        if event.position == position
    ]
    return len(parking.retry(connection, PROJECTIONS[name], events, partition))


def _parked(row: parking.Parked) -> dict[str, Any]:
    return {
        "projection": row.projection,
        "partition": row.partition,
        "position": row.position,
        "topic": row.topic,
        "keys": row.keys,
        "error": row.error,
        "attempts": row.attempts,
        "parked_at": row.parked_at.isoformat(),
    }
