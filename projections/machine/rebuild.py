"""Rebuilding a read model beside the live one, and putting it in its place in one transaction.

An interrupted rebuild continues where it was when it is called again. Readers see the old rows until they see the new
ones.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import sleep
from typing import Final

from psycopg import Connection, errors, sql

from projections.machine.advance import advance, advance_through
from projections.machine.batch import Batch
from projections.machine.pipeline import PipelineConnection
from projections.machine.projection import Projection, Views
from projections.machine.store import SCHEMA, connect, ensure, make_indexes, position_of
from projections.machine.workspace import Workspace

Read = Callable[[int, int], Iterable[Batch]]
"""Reads the log: batches of the events after the first position, up to and including the second."""

CLOSE_EVENTS: Final = 2_000
"""The most events that may be missing when the exchange begins; it holds the live read model still and folds them."""

EXCHANGES_MAX: Final = 30
"""The most attempts at the exchange."""

LOCK_TIMEOUT: Final = "2s"
"""The longest that the exchange waits for readers before it lets them pass and tries again."""

PAUSE_SECONDS: Final = 1.0
"""The pause between two attempts."""


def rebuild(
    dsn: str,
    projection: Projection,
    read: Read,
    head: Callable[[], int],
    *,
    views: Views | None,
    partition: int = 0,
    schema: str = SCHEMA,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Fold the log into new tables and exchange them for the live ones; return the position reached.

    Args:
        dsn: the database of the read models.
        projection: the one to rebuild.
        read: reads the log.
        head: returns the last position of the log.
        views: what reads the live tables in SQL. Without it, dropping the old tables drops every view on them.
        partition: the log's partition number.
        schema: where the live tables are.
        progress: is told the position reached and the one to reach.
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
        exchange = _Exchange(connection, projection, partition, schema, beside, views if schema == SCHEMA else None)
        for attempt in range(1, EXCHANGES_MAX + 1):
            try:
                return exchange.run(workspace, read)
            except errors.LockNotAvailable:  # some readers take long: let them pass
                workspace.forget()
                if attempt == EXCHANGES_MAX:
                    raise
                sleep(PAUSE_SECONDS)
        raise AssertionError("the last attempt returns or raises")


def position_of_schema(connection: Connection, schema: str, name: str, partition: int) -> tuple[int, int]:
    """Return the position and version of a read model in a schema; (0, 0) where there is no such schema."""
    row = connection.execute("SELECT to_regclass(%s)", [f"{schema}.projection_positions"]).fetchone()
    return position_of(connection, name, partition) if row and row[0] else (0, 0)


def _copy_skipped(connection: Connection, schema: str, name: str) -> None:
    connection.execute(
        sql.SQL(
            "INSERT INTO projection_skipped SELECT * FROM {}.projection_skipped WHERE projection = %s ON CONFLICT DO NOTHING"
        ).format(sql.Identifier(schema)),
        [name],
    )


@dataclass(frozen=True, slots=True)
class _Exchange:
    """The last step of a rebuild: the new tables, which are in the schema `beside`, take the place of the live ones."""

    connection: PipelineConnection
    projection: Projection
    partition: int
    schema: str
    beside: str
    views: Views | None

    def run(self, workspace: Workspace, read: Read) -> int:
        """Hold the live read model still, fold what is missing, exchange the tables; return the position reached."""
        connection, projection = self.connection, self.projection
        name, live, new = projection.name, sql.Identifier(self.schema), sql.Identifier(self.beside)
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            row = connection.execute(
                sql.SQL(
                    "SELECT position FROM {}.projection_positions WHERE projection = %s AND partition = %s FOR UPDATE"
                ).format(live),
                [name, self.partition],
            ).fetchone()
            until = int(row[0]) if row else 0
            at, _ = position_of(connection, name, self.partition)
            for batch in read(at, until):
                advance(connection, projection, workspace, [batch])
            # From here on readers wait: see projections.reading.hold_snapshot.
            connection.execute(sql.SQL("LOCK TABLE {}.projection_tables IN ACCESS EXCLUSIVE MODE").format(live))
            if self.views is not None:
                self._exchange_views(self.views, live, new)
            self._exchange_tables(live, new)
            self._exchange_bookkeeping(live)
            reached, _ = position_of(connection, name, self.partition)
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(new))
        return reached

    def _exchange_views(self, views: Views, live: sql.Identifier, new: sql.Identifier) -> None:
        """Let the views read the new tables, which keep their identity when they are moved."""
        connection = self.connection
        connection.execute(sql.SQL("SET LOCAL search_path = {}, {}").format(new, live))
        views.exchange_views(connection, self.projection.name)
        connection.execute(sql.SQL("SET LOCAL search_path = {}").format(new))
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")

    def _exchange_tables(self, live: sql.Identifier, new: sql.Identifier) -> None:
        connection, projection = self.connection, self.projection
        row = connection.execute(
            sql.SQL("SELECT tables FROM {}.projection_tables WHERE projection = %s").format(live), [projection.name]
        ).fetchone()
        for table in set(row[0] if row else ()) | {table.name for table in projection.tables}:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}.{} CASCADE").format(live, sql.Identifier(table)))
        for table in projection.tables:
            connection.execute(sql.SQL("ALTER TABLE {}.{} SET SCHEMA {}").format(new, sql.Identifier(table.name), live))

    def _exchange_bookkeeping(self, live: sql.Identifier) -> None:
        connection, name = self.connection, self.projection.name
        connection.execute(
            sql.SQL(
                "INSERT INTO {}.projection_positions SELECT * FROM projection_positions "
                "ON CONFLICT (projection, partition) DO UPDATE SET position = EXCLUDED.position, time = EXCLUDED.time, "
                "version = EXCLUDED.version, updated_at = EXCLUDED.updated_at, "
                "generation = projection_positions.generation + 1"
            ).format(live)
        )
        connection.execute(sql.SQL("DELETE FROM {}.projection_parked WHERE projection = %s").format(live), [name])
        connection.execute(sql.SQL("INSERT INTO {}.projection_parked SELECT * FROM projection_parked").format(live))
        connection.execute(
            sql.SQL(
                "INSERT INTO {}.projection_tables VALUES (%s, %s) ON CONFLICT (projection) DO UPDATE SET tables = EXCLUDED.tables"
            ).format(live),
            [name, [table.name for table in self.projection.tables]],
        )
