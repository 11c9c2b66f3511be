"""Rebuilding a read model beside the live one, and putting it in its place in one transaction.

Interrupted at any moment, it goes on where it was when it is asked again; readers see the old rows until they see the
new ones.
"""

from collections.abc import Callable, Iterable
from time import sleep
from typing import Final

from psycopg import Connection, errors, sql

from projections.dashboards.roles import exchange_views
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.rows import Workspace
from projections.machine.store import SCHEMA, advance, advance_through, connect, ensure, make_indexes, position_of

Read = Callable[[int, int], Iterable[Batch]]
"""Reads the log: batches of the events after the first position, up to and with the second."""

CLOSE_EVENTS: Final = 2_000
"""When no more than this is missing, the live one is held still for the rest and the exchange."""

EXCHANGES_MAX: Final = 30

LOCK_TIMEOUT: Final = "2s"
"""How long the exchange waits for readers before it lets them pass and tries again."""

PAUSE_SECONDS: Final = 1.0
"""Between two attempts."""


def rebuild(
    dsn: str,
    projection: Projection,
    read: Read,
    head: Callable[[], int],
    *,
    partition: int = 0,
    schema: str = SCHEMA,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Fold the log into new tables and exchange them for the live ones; return the position reached.

    `head` returns the last position of the log, `progress` is told how far it is and how far it has to go.
    """
    beside = f"{schema}_rebuild_{projection.name}"
    with connect(dsn, beside) as connection, connect(dsn, schema) as live:
        _, version = position_of_schema(connection, beside, projection.name, partition)
        if version not in {0, projection.version}:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(beside)))
        ensure(connection, [projection], partition, beside)
        _copy_skipped(connection, schema, projection.name)
        workspace = Workspace(projection.tables)
        while True:
            at, _ = position_of(connection, projection.name, partition)
            until = max(head(), position_of(live, projection.name, partition)[0])
            if until - at <= CLOSE_EVENTS:
                break
            for done in advance_through(connection, projection, workspace, read(at, until)):
                if progress is not None:
                    progress(done.position, until)
        make_indexes(connection, projection)
        for attempt in range(1, EXCHANGES_MAX + 1):
            try:
                return _exchange(connection, workspace, projection, read, partition, schema, beside)
            except errors.LockNotAvailable:  # readers that take long; let them pass
                workspace.forget()
                if attempt == EXCHANGES_MAX:
                    raise
                sleep(PAUSE_SECONDS)
        raise AssertionError("the last attempt returns or raises")


def position_of_schema(connection: Connection, schema: str, name: str, partition: int) -> tuple[int, int]:
    """Return position and version of a read model in a schema that may not be there: (0, 0) then."""
    row = connection.execute("SELECT to_regclass(%s)", [f"{schema}.projection_positions"]).fetchone()
    return position_of(connection, name, partition) if row and row[0] else (0, 0)


def _copy_skipped(connection: Connection, schema: str, name: str) -> None:
    connection.execute(
        sql.SQL(
            "INSERT INTO projection_skipped SELECT * FROM {}.projection_skipped WHERE projection = %s ON CONFLICT DO NOTHING"
        ).format(sql.Identifier(schema)),
        [name],
    )


def _exchange(  # noqa: PLR0917  the second half of its only caller
    connection: Connection,
    workspace: Workspace,
    projection: Projection,
    read: Read,
    partition: int,
    schema: str,
    beside: str,
) -> int:
    """Hold the live one still, fold what is missing, move the new tables to where the old ones are."""
    name = projection.name
    where, new = sql.Identifier(schema), sql.Identifier(beside)
    live_positions = sql.SQL("{}.projection_positions").format(where)
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        row = connection.execute(
            sql.SQL("SELECT position FROM {} WHERE projection = %s AND partition = %s FOR UPDATE").format(
                live_positions
            ),
            [name, partition],
        ).fetchone()
        until = int(row[0]) if row else 0
        at, _ = position_of(connection, name, partition)
        for batch in read(at, until):
            advance(connection, projection, workspace, [batch])
        # From here on readers wait: see projections.reading.hold_snapshot.
        connection.execute(sql.SQL("LOCK TABLE {}.projection_tables IN ACCESS EXCLUSIVE MODE").format(where))
        if schema == SCHEMA:
            _exchange_views(connection, name, schema, beside)
        old_tables = connection.execute(
            sql.SQL("SELECT tables FROM {}.projection_tables WHERE projection = %s").format(where), [name]
        ).fetchone()
        for table in set(old_tables[0] if old_tables else ()) | {table.name for table in projection.tables}:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}.{} CASCADE").format(where, sql.Identifier(table)))
        for table in projection.tables:
            connection.execute(
                sql.SQL("ALTER TABLE {}.{} SET SCHEMA {}").format(new, sql.Identifier(table.name), where)
            )
        connection.execute(
            sql.SQL(
                "INSERT INTO {} SELECT * FROM projection_positions ON CONFLICT (projection, partition) DO UPDATE SET "
                "position = EXCLUDED.position, time = EXCLUDED.time, version = EXCLUDED.version, "
                "updated_at = EXCLUDED.updated_at, generation = {}.generation + 1"
            ).format(live_positions, sql.Identifier("projection_positions"))
        )
        connection.execute(sql.SQL("DELETE FROM {}.projection_parked WHERE projection = %s").format(where), [name])
        connection.execute(sql.SQL("INSERT INTO {}.projection_parked SELECT * FROM projection_parked").format(where))
        connection.execute(
            sql.SQL(
                "INSERT INTO {}.projection_tables VALUES (%s, %s) ON CONFLICT (projection) DO UPDATE SET tables = EXCLUDED.tables"
            ).format(where),
            [name, [table.name for table in projection.tables]],
        )
        reached, _ = position_of(connection, name, partition)
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(new))
    return reached


def _exchange_views(connection: Connection, name: str, schema: str, beside: str) -> None:
    """Let the views for dashboards read the new tables, which keep their identity when they are moved."""
    where, new = sql.Identifier(schema), sql.Identifier(beside)
    connection.execute(sql.SQL("SET LOCAL search_path = {}, {}").format(new, where))
    exchange_views(connection, name)
    connection.execute(sql.SQL("SET LOCAL search_path = {}").format(new))
    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
