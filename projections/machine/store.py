"""Read models in PostgreSQL: a schema with their tables, and the position of each."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from psycopg import Connection, sql

from migrations import migrate
from projections.machine.adapters import IntegerList, IntegerListDumper, TextList, TextListDumper, WholeNumberLoader
from projections.machine.pipeline import PipelineConnection
from projections.machine.projection import Projection, Views

SCHEMA: Final = "read_models"
"""The schema of the read models of partition 0."""

CONNECT_OPTIONS: Final[dict[str, Any]] = {"options": f"-c search_path={SCHEMA} -c jit=off -c enable_memoize=off"}
"""The options with which a connection (or a pool of them) must be opened to run the queries."""

# A batch touches few rows of large tables, by their keys, and fresh tables have no statistics from which the planner could
# tell. ANALYZE with a tenth of the default sample takes a tenth of the time.
_WORKER_OPTIONS: Final = (
    "-c synchronous_commit=off -c jit=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off "
    "-c default_statistics_target=10 -c maintenance_work_mem=128MB"
)

CHANNEL: Final = "tidings_progress"
"""The channel that is notified whenever read models have advanced, with their names, the partition and the position."""

BOOKKEEPING: Final = ("projection_positions", "projection_tables", "projection_parked", "projection_skipped")
"""The tables beside those of the read models. `migrations` creates them; schemas other than the live one get copies."""

_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8"


def schema_of(partition: int) -> str:
    """Return the schema of the read models of a partition of the log.

    The schema alone says the partition: in each of them, folds and queries work as where there is one partition, whose number
    is 0 in rows.
    """
    return SCHEMA if partition == 0 else f"{SCHEMA}_{partition}"


def connect(dsn: str, schema: str = SCHEMA) -> PipelineConnection:
    """Return a connection for the projector. A crash of the server may lose its last transactions, as a whole.

    That does no harm: the position is part of the transaction, so what is lost is folded again.
    """
    connection = PipelineConnection.open(dsn, f"-c search_path={schema} {_WORKER_OPTIONS}")
    connection.adapters.register_dumper(IntegerList, IntegerListDumper)
    connection.adapters.register_dumper(TextList, TextListDumper)
    connection.adapters.register_loader("numeric", WholeNumberLoader)
    return connection


def ensure(
    connection: Connection,
    projections: Iterable[Projection],
    partition: int = 0,
    schema: str = SCHEMA,
    views: Views | None = None,
) -> None:
    """Create the schema and the tables that are missing. Tables of another version are left alone; see `position_of`.

    In the live schema, `views` are created as well, as soon as everything is there that they read. The tables have no
    indexes but those that folds ask for: `make_indexes` creates the rest after the read model has caught up.
    """
    migrate(connection)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('tidings ' || %s, 0))", [schema])
        if schema != SCHEMA:
            _make_bookkeeping(connection, schema)
        for projection in projections:
            row = connection.execute(
                "SELECT version FROM projection_positions WHERE projection = %s AND partition = %s",
                [projection.name, partition],
            ).fetchone()
            if row is None:
                _make_tables(connection, projection, partition)
            if views is not None and schema == SCHEMA:
                views.make_views(connection, projection.name)


def _make_tables(connection: Connection, projection: Projection, partition: int) -> None:
    for table in projection.tables:
        for statement in table.statements():
            connection.execute(statement)
    connection.execute(
        f"INSERT INTO projection_positions VALUES (%s, %s, 0, 0, %s, 0, {_NOW})",
        [projection.name, partition, projection.version],
    )
    connection.execute(
        "INSERT INTO projection_tables VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [projection.name, [table.name for table in projection.tables]],
    )


def make_indexes(connection: Connection, projection: Projection) -> None:
    """Create the indexes of a read model that are missing, and turn autovacuum on for its tables."""
    for table in projection.tables:
        for statement in table.index_statements():
            connection.execute(statement)
        if connection.execute(_UNVACUUMED, [table.name]).fetchone():
            connection.execute(table.vacuum_statement())


def analyze(connection: Connection, tables: Sequence[str]) -> None:
    """Let the planner look at these tables. Call it outside of transactions that fold: it takes as long as many of these."""
    if tables:
        connection.execute(f"ANALYZE {', '.join(tables)}")


_UNVACUUMED: Final = "SELECT 1 FROM pg_class WHERE oid = %s::regclass AND 'autovacuum_enabled=false' = ANY(reloptions)"


def _make_bookkeeping(connection: Connection, schema: str) -> None:
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    for table in BOOKKEEPING:
        connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} (LIKE {} INCLUDING ALL)").format(
                sql.Identifier(schema, table), sql.Identifier(SCHEMA, table)
            )
        )


def use_schema(connection: Connection, schema: str) -> None:
    """Let a connection to a migrated database work in a schema of read models, whose bookkeeping is made if it is missing."""
    if schema != SCHEMA:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('tidings ' || %s, 0))", [schema])
            _make_bookkeeping(connection, schema)
        connection.execute("SELECT set_config('search_path', %s, false)", [schema])


def position_of(connection: Connection, name: str, partition: int = 0) -> tuple[int, int]:
    """Return the position and the version of a read model; (0, 0) where it has no tables yet."""
    row = connection.execute(
        "SELECT position, version FROM projection_positions WHERE projection = %s AND partition = %s", [name, partition]
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def unlock(connection: Connection, name: str, partition: int = 0, schema: str = SCHEMA) -> None:
    """Give the lock of a read model back, before the connection ends."""
    connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [_lock_name(name, partition, schema)])


def try_lock(connection: Connection, name: str, partition: int = 0, schema: str = SCHEMA) -> bool:
    """Take the lock of a read model until the connection ends; return False where another connection has it."""
    row = connection.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [_lock_name(name, partition, schema)]
    ).fetchone()
    return bool(row and row[0])


def _lock_name(name: str, partition: int, schema: str) -> str:
    return f"tidings {schema} {name} {partition}"
