"""Whether the log still is the one that the read models were folded from.

Each read model keeps the log's identity, its own position and the time of the event there. A log that is another one, that
ends before that position or has another event there has lost events: its topic or database was made anew, or restored from
a backup. The rows of the read models may then be the last trace of these events, so nothing is folded on top of them.
"""

from collections.abc import Iterable
from time import strftime
from typing import Final, Protocol

from eventsourcing.persistence import ApplicationRecorder, InternalError
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from projections.machine.log_source import decode
from projections.machine.projection import Projection
from projections.machine.store import BOOKKEEPING, SCHEMA

WHAT_TO_DO: Final = (
    "Stop all processes, and bring the whole log back from a copy if there is one. If there is none, start the projector or "
    "`serve` once with --accept-lost-log: the read models are then put aside, and made anew from the log as it is. "
    "See docs/lost-log.md"
)


class LostEventsError(RuntimeError):
    """The log is another one than the read models were folded from, or has lost events that they know."""


class Folded(Protocol):
    """What a read model knows of the log."""

    @property
    def projection(self) -> str:
        """Its name."""

    @property
    def position(self) -> int:
        """The position of the last event that it has folded."""

    @property
    def time(self) -> int:
        """The time of that event."""

    @property
    def log(self) -> str:
        """The identity of the log; "" if nothing of it was folded yet."""


def log_identity(recorder: ApplicationRecorder) -> str:
    """Return the identity of a log; "" if it has none, as a log in memory."""
    if isinstance(recorder, PostgresApplicationRecorder):
        table = recorder.events_table_name.removesuffix("events") + "identity"
        query = SQL("SELECT identity FROM {}").format(Identifier(recorder.datastore.schema, table))
        with recorder.datastore.get_connection() as connection, connection.cursor() as cursor:
            row = cursor.execute(query).fetchone()
        return str(row["identity"]) if row else ""
    return str(getattr(recorder, "identity", ""))


def lost_events(recorder: ApplicationRecorder, known: Iterable[Folded]) -> str | None:
    """Return how the log differs from what these read models know of it, None if it does not.

    Only the read model that is ahead of all others is compared event by event: it knows most.
    """
    folded = [each for each in known if each.position]
    if not folded:
        return None
    identity = log_identity(recorder)
    for each in folded:
        if each.log not in {"", identity}:
            return f"the log was made anew: it is {identity}, and {each.projection} was folded from {each.log}"
    newest = max(folded, key=lambda each: each.position)
    try:
        found = decode(recorder.select_notifications(newest.position, 1))
    except InternalError as error:  # the recorder itself has noticed it
        return str(error)
    if not found or found[0].position != newest.position:
        end = recorder.max_notification_id() or 0
        return f"{newest.projection} has folded position {newest.position}, and the log has no event there: it ends at {end}"
    if found[0].time != newest.time:
        return (
            f"the log has another event at position {newest.position} than the one that {newest.projection} has folded"
        )
    return None


def check_log(connection: Connection, recorder: ApplicationRecorder, projection: Projection, partition: int) -> None:
    """Compare the log with one read model, and note the log's identity with it.

    Raises:
        LostEventsError: the log is another one, or has lost events; the message says what to do.
    """
    row = connection.execute(
        "SELECT position, time, log FROM projection_positions WHERE projection = %s AND partition = %s",
        [projection.name, partition],
    ).fetchone()
    if row is None:
        return
    if (problem := lost_events(recorder, [_Row(projection.name, *row)])) is not None:
        raise LostEventsError(f"The log has lost events: {problem}. {WHAT_TO_DO}")
    if row[2] == "" and (identity := log_identity(recorder)):
        connection.execute(
            "UPDATE projection_positions SET log = %s WHERE projection = %s AND partition = %s",
            [identity, projection.name, partition],
        )


def put_aside(connection: Connection, schema: str = SCHEMA) -> list[str]:
    """Rename the schema of the read models and those of unfinished rebuilds, and make an empty one; return the new names.

    No projector may run. The views for dashboards still read the old tables until they are made anew.
    """
    now = strftime("%Y%m%dT%H%M%S").lower()
    with connection.transaction():
        rows = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname = %s OR starts_with(nspname, %s)",
            [schema, f"{schema}_rebuild_"],
        ).fetchall()
        renamed = {str(name): f"lost_{now}_{name}"[:63] for (name,) in rows}
        for old, new in renamed.items():
            connection.execute(SQL("ALTER SCHEMA {} RENAME TO {}").format(Identifier(old), Identifier(new)))
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
        for table in BOOKKEEPING:
            connection.execute(
                SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(
                    Identifier(schema, table), Identifier(renamed[schema], table)
                )
            )
    return sorted(renamed.values())


class _Row:
    def __init__(self, projection: str, position: int, time: int, log: str) -> None:
        self.projection, self.position, self.time, self.log = projection, position, time, log
