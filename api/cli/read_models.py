"""`tidings verify | lag | rebuild`: checking read models against the log, and building them again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from api.cli.command import DONE, NO, WRONG_USE, add_command, complain, show_progress
from api.cli.comparisons import print_result, result_json
from api.cli.opening import opened
from api.cli.verify_partitions import verify_partitions

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from api.cli.command import Commands
    from projections.verify import Comparison
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `verify`, `lag` and `rebuild`."""
    text = "compare every read model and the ledger with the log"
    add_command(commands, "verify", _verify, text, json=True, knows_partitions=True)
    add_command(commands, "lag", _lag, "how far read models and streams are behind the log", json=True)
    rebuild = add_command(commands, "rebuild", _rebuild, "build a read model anew, beside the live one")
    rebuild.add_argument("name", help="the read model, as `tidings lag` lists it")


def is_unknown(name: str) -> bool:
    """Return whether there is no read model of this name; if so, complain."""
    from projections.registry import PROJECTIONS

    if name in PROJECTIONS:
        return False
    complain(f"there is no read model {name}; there are {', '.join(PROJECTIONS)}")
    return True


def _verify(options: Namespace, settings: Settings) -> int:
    """Compare the ledger and the read models with the log; print every difference with its kind."""
    from analysis.replay import history_of_log
    from projections.machine.store import SCHEMA
    from projections.registry import PROJECTIONS
    from projections.verify import Comparison, ledger_differences, verify

    if settings.partitions > 1:
        return verify_partitions(settings, as_json=options.json)
    results: list[dict[str, Any]] = []
    with opened(settings) as (dsn, _, log):
        history = history_of_log(log, settings.partition)
        head = history.end()

        def compared() -> Iterator[Comparison]:
            if head:
                differences = ledger_differences(history.events(until=head), settings.partition)
                yield Comparison("ledger", head, list(differences))
            yield from verify(dsn, SCHEMA, PROJECTIONS.values(), history.batches, settings.partition)

        for result in compared():
            results.append(result_json(result))
            if not options.json:
                print_result(result)
    equal = not any(result["differences"] for result in results)
    if options.json:
        print(json.dumps({"equal": equal, "compared": results}, default=str))
    elif not results:
        print("nothing to verify: the log is empty, and no projector has worked on this database")
    elif len(results) == 1 and equal:
        print("no read model to verify: no projector has worked on this database")
    elif equal:
        print(f"everything agrees with the log up to position {head}")
    return DONE if equal else NO


def _lag(options: Namespace, settings: Settings) -> int:
    """Print how far each read model is behind the log."""
    from api.lag import positions_of
    from projections.reading import projection_status

    with opened(settings) as (_, connection, log):
        found = positions_of(log, projection_status(connection))
    found["streams"] = _streams(settings)
    if options.json:
        print(json.dumps(found))
        return NO if found["lost"] else DONE
    if found["lost"]:
        complain(f"the log has lost events: {found['lost']}. See docs/lost-log.md")
    print(f"log at {found['engine']['position']}")
    for row in found["projections"]:
        behind = f"{row['lag_events']:,} events, {row['lag_seconds']:.3f} s behind"
        parked = f", {row['parked']} parked" if row["parked"] else ""
        print(f"{row['projection']:<12} {row['position']:>10}  {behind}{parked}")
    if streams := found["streams"]:
        behind = f"{streams['lag_events']:,} events behind, the slowest {streams['slowest_events']:,}"
        print(f"{'streams':<12} {streams['position'] or '-':>10}  {streams['connections']:,} open, {behind}")
    return NO if found["lost"] else DONE


def _streams(settings: Settings) -> dict[str, Any] | None:
    """Return what the HTTP server of these settings says of its streams; None if it does not answer, or for want of a key."""
    import httpx

    key = settings.operator_key
    if settings.ops_port is not None:
        url, headers = f"http://{settings.ops_host}:{settings.ops_port}", {}
    elif key is not None:
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  compared, not bound
        url, headers = f"http://{host}:{settings.port}", {"authorization": f"Bearer {key.get_secret_value()}"}
    else:
        return None
    try:
        answer = httpx.get(f"{url}/v1/status", headers=headers, timeout=2)
    except httpx.TransportError:
        return None
    streams: dict[str, Any] | None = answer.json()["data"]["streams"] if answer.is_success else None
    return streams


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
