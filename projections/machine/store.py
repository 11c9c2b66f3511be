"""Read models in PostgreSQL: a schema with their tables, and the position of each.

`advance` folds batches into one read model. Rows and position change in one transaction, and events at or before the position
are left out: what is delivered twice, or again after a crash, changes nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

from psycopg import Connection, sql

from migrations import migrate
from projections.machine.adapters import IntegerList, IntegerListDumper, TextList, TextListDumper, WholeNumberLoader
from projections.machine.batch import Batch
from projections.machine.parking import hold_back, unreadable
from projections.machine.projection import Projection, Views
from projections.machine.workspace import Workspace

SCHEMA: Final = "read_models"

CONNECT_OPTIONS: Final[dict[str, Any]] = {"options": f"-c search_path={SCHEMA} -c jit=off -c enable_memoize=off"}
"""The options with which a connection (or a pool of them) must be opened to run the queries."""

# A batch touches few rows of large tables, by their keys, and fresh tables have no statistics from which the planner could
# tell. ANALYZE with a tenth of the default sample takes a tenth of the time.
_WORKER_OPTIONS: Final = (
    "-c synchronous_commit=off -c jit=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off "
    "-c plan_cache_mode=force_custom_plan -c default_statistics_target=10 -c maintenance_work_mem=128MB"
)

CHANNEL: Final = "tidings_progress"
"""The channel that is notified with `projection partition position` whenever a read model has advanced."""

BOOKKEEPING: Final = ("projection_positions", "projection_tables", "projection_parked", "projection_skipped")
"""The tables beside those of the read models. `migrations` creates them; schemas other than the live one get copies."""

BATCHES_TOGETHER: Final = 10
"""The number of batches in a transaction when a whole log is folded; all of it is folded again after an interruption."""

_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8"


class LogGapError(RuntimeError):
    """A position is missing between the last folded event and the next one, in a log without gaps."""


class UnreadableBatchError(RuntimeError):
    """A batch holds an event that the codec could not read."""


class VersionError(RuntimeError):
    """The tables are those of another version of the read model: it must be rebuilt."""


@dataclass(frozen=True, slots=True)
class Advance:
    """The result of a transaction: the position reached, the number of new events, and the number of rows written."""

    position: int
    events: int
    rows: int


def connect(dsn: str, schema: str = SCHEMA) -> Connection:
    """Return a connection for the projector. A crash of the server may lose its last transactions, as a whole.

    That does no harm: the position is part of the transaction, so what is lost is folded again.
    """
    connection = Connection.connect(dsn, autocommit=True, options=f"-c search_path={schema} {_WORKER_OPTIONS}")
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


_UNVACUUMED: Final = "SELECT 1 FROM pg_class WHERE oid = %s::regclass AND 'autovacuum_enabled=false' = ANY(reloptions)"


def _make_bookkeeping(connection: Connection, schema: str) -> None:
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    for table in BOOKKEEPING:
        connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} (LIKE {} INCLUDING ALL)").format(
                sql.Identifier(schema, table), sql.Identifier(SCHEMA, table)
            )
        )


def position_of(connection: Connection, name: str, partition: int = 0) -> tuple[int, int]:
    """Return the position and the version of a read model; (0, 0) where it has no tables yet."""
    row = connection.execute(
        "SELECT position, version FROM projection_positions WHERE projection = %s AND partition = %s", [name, partition]
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def try_lock(connection: Connection, name: str, partition: int = 0, schema: str = SCHEMA) -> bool:
    """Take the lock of a read model until the connection ends; return False where another connection has it."""
    row = connection.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"tidings {schema} {name} {partition}"]
    ).fetchone()
    return bool(row and row[0])


def advance(
    connection: Connection,
    projection: Projection,
    workspace: Workspace,
    batches: Iterable[Batch],
    *,
    gapless: bool = False,
) -> Advance:
    """Fold consecutive batches of one partition, at least one, in one transaction.

    After any error nothing has changed and the workspace is empty.

    Raises:
        LogGapError: the log should be `gapless`, and a batch does not begin right after the position.
        UnreadableBatchError: a batch holds an event that cannot be read.
        VersionError: the tables are those of another version.
    """
    try:
        with connection.transaction():
            done = _advance(connection, projection, workspace, batches, gapless=gapless)
    except BaseException:
        workspace.forget()
        raise
    workspace.trim()
    return done


def advance_through(
    connection: Connection, projection: Projection, workspace: Workspace, batches: Iterable[Batch]
) -> Iterator[Advance]:
    """Fold consecutive batches, `BATCHES_TOGETHER` in one transaction; yield what each transaction did."""
    remaining = iter(batches)
    for first in remaining:
        yield advance(connection, projection, workspace, chain([first], islice(remaining, BATCHES_TOGETHER - 1)))


def _advance(
    connection: Connection, projection: Projection, workspace: Workspace, batches: Iterable[Batch], *, gapless: bool
) -> Advance:
    remaining = iter(batches)
    first = next(remaining)
    name, partition = projection.name, first.partition
    row = connection.execute(
        "SELECT position, time, version, generation FROM projection_positions WHERE projection = %s AND partition = %s "
        "FOR UPDATE",
        [name, partition],
        prepare=True,
    ).fetchone()
    if row is None or row[2] != projection.version:
        raise VersionError(f"{name} has no tables of version {projection.version}")
    position, time, _, generation = row
    workspace.begin(connection, position, time, generation, empty=position == 0)
    events = rows = 0
    for batch in chain([first], remaining):
        fresh = batch.after(workspace.position)
        if fresh is None:
            continue
        if events:
            rows += workspace.flush_appended()
        if gapless and fresh.events[0].position != workspace.position + 1:
            raise LogGapError(f"{name} is at {workspace.position}, the next event at {fresh.events[0].position}")
        _fold(connection, projection, workspace, fresh)
        events += len(fresh.events)
    if not events:
        return Advance(position, 0, 0)
    rows += workspace.flush()
    position = workspace.position
    connection.execute(
        f"UPDATE projection_positions SET position = %s, time = %s, updated_at = {_NOW} "
        "WHERE projection = %s AND partition = %s",
        [position, workspace.time, name, partition],
        prepare=True,
    )
    connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{name} {partition} {position}"], prepare=True)
    return Advance(position, events, rows)


def _fold(connection: Connection, projection: Projection, workspace: Workspace, batch: Batch) -> None:
    """Fold the part of a batch that is not held back, and move the workspace's position to the end of the batch."""
    foldable = hold_back(connection, projection, batch)
    if foldable is not None:
        if (bad := unreadable(foldable)) is not None:
            raise UnreadableBatchError(f"position {bad.position} cannot be read: {bad.event}")
        workspace.follow_markets(foldable)
        workspace.load_batch(foldable)
        projection.fold(foldable, workspace)
    workspace.position, workspace.time = batch.last.position, batch.last.time
