"""Parking: events that a read model cannot fold are set aside with everything that depends on them.

A parked event is recorded in `projection_parked` with its error, and what depends on it is parked after it. Both wait for an
operator: `retry` after the cause is fixed, or `skip`, a decision that also holds for every rebuild. The rest of the read model
goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection, OperationalError, ProgrammingError

from domain.events import Recorded
from projections.machine.batch import Batch
from projections.machine.pipeline import PipelineConnection
from projections.machine.projection import Projection, Scope
from projections.machine.workspace import Workspace

NO_FAULT_OF_THE_EVENT: Final = (OperationalError, ProgrammingError)
"""Errors for which no event is parked: PostgreSQL is away, or the code does not fit the tables (a column is missing)."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A parked event; without an `error` of its own it waits for an earlier one with which it shares a key."""

    projection: str
    partition: int
    position: int
    keys: list[str]
    topic: str
    error: str | None
    parked_at: Any
    attempts: int


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """Takes the place of an event that the codec could not read."""

    TOPIC: str
    error: str


_UNREADABLE: Final = frozenset({UnreadableEvent})


def keys_of(scope: Scope, recorded: Recorded) -> tuple[list[str], list[str]]:
    """Return the keys that an event blocks when it is parked, and those that it is blocked by."""
    event: Any = recorded.event
    if isinstance(event, UnreadableEvent):
        kind, _, name = recorded.stream.partition("-")
        return [f"{kind}:{name}"], [f"{kind}:{name}"]
    market = f"market:{market_id}" if (market_id := getattr(event, "market_id", None)) else None
    account = f"account:{account_id}" if (account_id := getattr(event, "account_id", None)) else None
    story = f"story:{story_id}" if (story_id := getattr(event, "story_id", None)) else None
    match scope:
        case "story":
            own = [story]
            blocked_by = [story]
        case "market":
            own = [market or story]
            blocked_by = [market, story]
        case "account":
            own = [account]
            blocked_by = [account]
        case "holding" if market and account:
            own = [f"holding:{account_id}:{market_id}"]
            blocked_by = [own[0], market, account]
        case _:
            own = [market or account or story]
            blocked_by = own
    return [key for key in own if key], [key for key in blocked_by if key]


def hold_back(connection: Connection, projection: Projection, batch: Batch) -> Batch | None:
    """Return the batch without skipped events, and without those that depend on a parked event; these are parked too."""
    name, partition = projection.name, batch.partition
    row = connection.execute(
        "SELECT (SELECT array_agg(position) FROM projection_skipped WHERE projection = %(p)s AND partition = %(n)s "
        "AND position BETWEEN %(first)s AND %(last)s), (SELECT array_agg(DISTINCT key) FROM projection_parked, "
        "unnest(keys) AS key WHERE projection = %(p)s AND partition = %(n)s), (SELECT array_agg(position) "
        "FROM projection_parked WHERE projection = %(p)s AND partition = %(n)s AND position BETWEEN %(first)s AND %(last)s)",
        {"p": name, "n": partition, "first": batch.events[0].position, "last": batch.last.position},
    ).fetchone()
    assert row is not None, "a query of constants has a row"
    skipped, blocked = set(row[0] or ()), set(row[1] or ())
    parked = set(row[2] or ())
    if not skipped and not blocked and not parked:
        return batch
    if projection.scope == "all":  # it stopped at the event: if this fold succeeds, the cause is gone
        connection.execute(
            "DELETE FROM projection_parked WHERE projection = %s AND partition = %s AND position <= %s",
            [name, partition, batch.last.position],
        )
        blocked = parked = set()
    kept: list[Recorded] = []
    for recorded in batch.events:
        if recorded.position in skipped:
            continue
        own, blocked_by = keys_of(projection.scope, recorded)
        if recorded.position not in parked and blocked.isdisjoint(blocked_by):
            kept.append(recorded)
            continue
        blocked.update(own)
        park(connection, projection, partition, recorded, None)
    return Batch(partition, kept) if kept else None


def park(connection: Connection, projection: Projection, partition: int, recorded: Recorded, error: str | None) -> None:
    """Park an event; without an `error` it waits for another one."""
    connection.execute(
        "INSERT INTO projection_parked (projection, partition, position, keys, topic, error) VALUES (%s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (projection, partition, position) DO UPDATE SET "
        "error = coalesce(EXCLUDED.error, projection_parked.error), "
        "attempts = projection_parked.attempts + (EXCLUDED.error IS NOT NULL)::int",
        [
            projection.name,
            partition,
            recorded.position,
            keys_of(projection.scope, recorded)[0],
            recorded.event.TOPIC,
            error,
        ],
    )


def list_parked(connection: Connection, name: str | None = None) -> list[Parked]:
    """Return all parked events, or those of one read model, by read model and position."""
    rows = connection.execute(
        "SELECT projection, partition, position, keys, topic, error, parked_at, attempts FROM projection_parked "
        "WHERE %s::text IS NULL OR projection = %s ORDER BY projection, partition, position",
        [name, name],
    ).fetchall()
    return [Parked(*row) for row in rows]


def unreadable(batch: Batch) -> Recorded | None:
    """Return the first event of a batch that the codec could not read, or None."""
    return next(iter(batch.of(_UNREADABLE)), None)


def retry(
    connection: PipelineConnection, projection: Projection, events: Sequence[Recorded], partition: int = 0
) -> list[Parked]:
    """Fold parked events again, in order, and return those of the read model that are still parked.

    `events` are those at the positions of `list_parked`. Each is folded by itself and is unparked when that succeeds. The
    worker of the read model waits meanwhile, and then discards its memory.
    """
    workspace = Workspace(projection.tables)
    with connection.transaction():
        connection.execute(
            "UPDATE projection_positions SET generation = generation + 1 WHERE projection = %s AND partition = %s",
            [projection.name, partition],
        )
        blocked: set[str] = set()
        for recorded in events:
            own, blocked_by = keys_of(projection.scope, recorded)
            if not blocked.isdisjoint(blocked_by):
                blocked.update(own)
                continue
            try:
                with connection.transaction():
                    _fold_one(connection, projection, workspace, recorded, partition)
            except NO_FAULT_OF_THE_EVENT:
                raise
            except Exception as error:  # noqa: BLE001  whatever a fold raises
                workspace.forget()
                blocked.update(own)
                park(connection, projection, partition, recorded, repr(error))
        return list_parked(connection, projection.name)


def _fold_one(
    connection: PipelineConnection, projection: Projection, workspace: Workspace, recorded: Recorded, partition: int
) -> None:
    if isinstance(recorded.event, UnreadableEvent):
        raise TypeError(recorded.event.error)
    workspace.begin(connection, recorded.position - 1, recorded.time)
    batch = Batch(partition, [recorded])
    workspace.load_batch(batch)
    projection.fold(batch, workspace)
    workspace.flush()
    connection.execute(
        "DELETE FROM projection_parked WHERE projection = %s AND partition = %s AND position = %s",
        [projection.name, partition, recorded.position],
    )


def skip(connection: Connection, projection: Projection, position: int, reason: str, partition: int = 0) -> None:
    """Decide that the read model goes on without a parked event, now and in every rebuild; afterwards `retry` the rest.

    Raises LookupError when no such event is parked with an error of its own.
    """
    with connection.transaction():
        deleted = connection.execute(
            "DELETE FROM projection_parked WHERE projection = %s AND partition = %s AND position = %s AND error IS NOT NULL",
            [projection.name, partition, position],
        )
        if deleted.rowcount == 0:
            raise LookupError(f"{projection.name} has no event at {position} that could not be folded")
        connection.execute(
            "INSERT INTO projection_skipped (projection, partition, position, reason) VALUES (%s, %s, %s, %s)",
            [projection.name, partition, position, reason],
        )
