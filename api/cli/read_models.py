"""`tidings verify | lag | rebuild`: checking read models against the log, and building them again."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from api.cli.command import DONE, NO, WRONG_USE, add_command, complain, show_progress

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Iterator

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection

    from api.cli.command import Commands
    from domain.events import Recorded
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `verify`, `lag` and `rebuild`."""
    add_command(commands, "verify", _verify, "compare every read model and the ledger with the log", json=True)
    add_command(commands, "lag", _lag, "how far each read model is behind the log", json=True)
    rebuild = add_command(commands, "rebuild", _rebuild, "build a read model anew, beside the live one")
    rebuild.add_argument("name")


class Opened(NamedTuple):
    """The database of the read models, migrated, and the log."""

    dsn: str
    connection: Connection[Any]
    log: ApplicationRecorder


@contextmanager
def opened(settings: Settings) -> Iterator[Opened]:
    """Open the database and the log for the commands about read models."""
    from api.database import connect_migrated, dsn_of, with_database
    from consumers.wiring import open_recorder

    with ExitStack() as stack:
        settings = with_database(settings, stack)
        connection = connect_migrated(settings, stack)
        yield Opened(dsn_of(settings), connection, stack.enter_context(open_recorder(settings)))


def is_unknown(name: str) -> bool:
    """Return whether there is no read model of this name; if so, complain."""
    from projections.registry import PROJECTIONS

    if name in PROJECTIONS:
        return False
    complain(f"there is no read model {name}; there are {', '.join(PROJECTIONS)}")
    return True


def _verify(options: Namespace, settings: Settings) -> int:
    """Compare the ledger and the read models with the log; print the first difference of each."""
    from projections.machine.log_reader import read_log
    from projections.machine.store import SCHEMA
    from projections.registry import PROJECTIONS
    from projections.verify import verify

    with opened(settings) as (dsn, _, log):
        head = log.max_notification_id() or 0

        def read(after: int, until: int) -> Iterator[Any]:
            return read_log(log, settings.partition, after, until)

        problem = _broken_rule(settings.partition, (event for batch in read(0, head) for event in batch.events))
        results: list[dict[str, Any]] = [{"name": "ledger", "position": head, "difference": problem}]
        _print_result(options, results[-1])
        for name, position, difference in verify(dsn, SCHEMA, PROJECTIONS.values(), read, settings.partition):
            found = difference and {
                "table": difference.table,
                "expected": difference.expected,
                "found": difference.found,
            }
            results.append({"name": name, "position": position, "difference": found})
            _print_result(options, results[-1])
    equal = all(result["difference"] is None for result in results)
    if options.json:
        print(json.dumps({"equal": equal, "compared": results}, default=str))
    elif equal:
        print(f"everything agrees with the log up to position {head}")
    return DONE if equal else NO


def _broken_rule(partition: int, events: Iterable[Recorded]) -> str | None:
    """Return the first rule that the log breaks: the ledger's sums, or an invariant at any position."""
    from domain.exchange import Entry, Exchange
    from domain.invariants import Audit, BrokenInvariantError
    from projections.verify import ledger_problem

    audit = Audit(Exchange(partition))

    def audited() -> Iterator[Recorded]:
        for recorded in events:
            entry = Entry(recorded.stream, recorded.version, recorded.event)
            audit.apply(entry, time=recorded.time, command_id=recorded.command_id)
            yield recorded

    try:
        problem = ledger_problem(audited())
        audit.check_all()
    except BrokenInvariantError as error:
        return str(error)
    return problem


def _print_result(options: Namespace, result: dict[str, Any]) -> None:
    if not options.json:
        verdict = "equal" if result["difference"] is None else f"DIFFERS: {result['difference']}"
        print(f"{result['name']:<12} at {result['position']:>10}  {verdict}", flush=True)


def _lag(options: Namespace, settings: Settings) -> int:
    """Print how far each read model is behind the log."""
    from api.lag import positions_of

    with opened(settings) as (_, connection, log):
        found = positions_of(log, connection)
    if options.json:
        print(json.dumps(found))
        return DONE
    print(f"log at {found['engine']['position']}")
    for row in found["projections"]:
        behind = f"{row['lag_events']:,} events, {row['lag_seconds']:.3f} s behind"
        parked = f", {row['parked']} parked" if row["parked"] else ""
        print(f"{row['projection']:<12} {row['position']:>10}  {behind}{parked}")
    return DONE


def _rebuild(options: Namespace, settings: Settings) -> int:
    """Build a read model beside the live one, then exchange the two."""
    from projections.dashboards import roles
    from projections.machine.log_reader import read_log
    from projections.machine.rebuild import rebuild
    from projections.registry import PROJECTIONS

    if is_unknown(options.name):
        return WRONG_USE
    with opened(settings) as (dsn, _, log):
        position = rebuild(
            dsn,
            PROJECTIONS[options.name],
            lambda after, until: read_log(log, settings.partition, after, until),
            lambda: log.max_notification_id() or 0,
            views=roles,
            partition=settings.partition,
            progress=lambda at, until: show_progress(f"position {at:,} of {until:,}"),
        )
    print(f"{options.name} is rebuilt up to position {position}")
    return DONE
