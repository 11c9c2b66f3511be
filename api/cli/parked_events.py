"""Parked events: those that a read model could not fold, and those that wait behind them. For `tidings dead-letters`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from api.cli.command import DONE, NO, complain
from api.cli.opening import opened

if TYPE_CHECKING:
    from eventsourcing.persistence import ApplicationRecorder

    from projections.machine.parking import Parked
    from settings import Settings


def listed(name: str | None, settings: Settings) -> list[dict[str, Any]]:
    """Return the parked events of a read model, or of all, in JSON's types."""
    from projections.machine.parking import list_parked

    with opened(settings) as (_, connection, _log):
        return [_parked_json(row) for row in list_parked(connection, name)]


def show(name: str, position: int, settings: Settings) -> int:
    """Print a parked event with its state, as it stands in the log."""
    from projections.machine.parking import list_parked

    with opened(settings) as (_, connection, log):
        rows = [row for row in list_parked(connection, name) if row.position == position]
        page = log.select_notifications(position, 1)
    if not rows:
        complain("no such parked event")
        return NO
    state = page[0].state.decode() if page else None
    print(json.dumps({**_parked_json(rows[0]), "state": state}, indent=2))
    return DONE


def retry(name: str, settings: Settings) -> int:
    """Fold the parked events of a read model again; exit code 1 when some are still parked."""
    with opened(settings) as (dsn, _, log):
        left = _fold_again(dsn, log, name, settings.partition)
    print(f"{left} still parked")
    return NO if left else DONE


def skip(name: str, position: int, reason: str, settings: Settings) -> int:
    """Let a read model go on without an event, for ever, and fold the events that waited behind it."""
    from projections.machine import parking
    from projections.registry import PROJECTIONS

    with opened(settings) as (dsn, connection, log):
        try:
            parking.skip(connection, PROJECTIONS[name], position, reason, settings.partition)
        except LookupError as error:
            complain(error)
            return NO
        left = _fold_again(dsn, log, name, settings.partition)
    print(f"skipped; {left} still parked")
    return DONE


def _fold_again(dsn: str, log: ApplicationRecorder, name: str, partition: int) -> int:
    """Fold the parked events of a read model again; return how many are still parked."""
    from projections.machine import parking
    from projections.machine.log_source import decode
    from projections.machine.store import connect
    from projections.registry import PROJECTIONS

    with connect(dsn) as connection:
        positions = [row.position for row in parking.list_parked(connection, name)]
        events = [
            event
            for position in positions
            for event in decode(log.select_notifications(position, 1))
            if event.position == position
        ]
        return len(parking.retry(connection, PROJECTIONS[name], events, partition))


def _parked_json(row: Parked) -> dict[str, Any]:
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
