"""Where read models live in PostgreSQL: a schema with their tables, and how far each of them is.

`advance` folds batches into one read model: rows and position change in one transaction, and events at or before the
position are left out, so that whatever is delivered twice, or again after a crash, changes nothing.
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

CONNECT_OPTIONS: Final[dict[str, Any]] = {"options": f"-c search_path={SCHEMA}"}
"""What a connection (or the connections of a pool) must be opened with to run the queries."""

# A batch touches few rows of large tables, by their keys; fresh tables have no statistics that would tell the planner.
# What it tells the planner itself costs a tenth with a tenth of the sample.
_WORKER_OPTIONS: Final = (
    "-c synchronous_commit=off -c jit=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off "
    "-c plan_cache_mode=force_custom_plan -c default_statistics_target=10 -c maintenance_work_mem=128MB"
)

CHANNEL: Final = "tidings_progress"
"""Notified with `projection partition position` whenever a read model has moved."""

BOOKKEEPING: Final = ("projection_positions", "projection_tables", "projection_parked", "projection_skipped")
"""Tables beside those of the read models, made by `migrations`; a schema other than the live one has the like."""

BATCHES_TOGETHER: Final = 10
"""So many batches are a transaction where a whole log is folded: so much is folded again after an interruption."""

_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8"


class LogGapError(RuntimeError):
    """A position is missing between what is folded and what came, in a log that has no gaps."""


class UnreadableError(RuntimeError):
    """A batch holds an event that the codec could not read."""


class VersionError(RuntimeError):
    """The tables were made by another version of the read model: it must be rebuilt."""


@dataclass(frozen=True, slots=True)
class Advance:
    """What a transaction did: the position reached, how many events were new, and how many rows were written."""

    position: int
    events: int
    rows: int


def connect(dsn: str, schema: str = SCHEMA) -> Connection:
    """Return a connection for the projector: its transactions may be lost by a crash of the server, whole, never in part.

    That costs nothing, for the position is in the same transaction: what is lost is folded again.
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
    """Make the indexes of a read model that are not there yet, and let the server vacuum it."""
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
    """Return the position and the version of a read model; (0, 0) where it is not there."""
    row = connection.execute(
        "SELECT position, version FROM projection_positions WHERE projection = %s AND partition = %s", [name, partition]
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def try_lock(connection: Connection, name: str, partition: int = 0, schema: str = SCHEMA) -> bool:
    """Become the one that works a read model, until the connection ends; return False where another one is."""
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
    """Fold batches of one partition that follow each other, at least one, in one transaction.

    What changes with many of them is written once. After any error nothing has changed and the workspace is empty.

    Raises:
        LogGapError: the log should be `gapless`, and a batch does not begin behind the position.
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
    """Fold batches that follow each other, `BATCHES_TOGETHER` in one transaction; yield what each transaction did."""
    behind = iter(batches)
    for first in behind:
        yield advance(connection, projection, workspace, chain([first], islice(behind, BATCHES_TOGETHER - 1)))


def _advance(
    connection: Connection, projection: Projection, workspace: Workspace, batches: Iterable[Batch], *, gapless: bool
) -> Advance:
    behind = iter(batches)
    first = next(behind)
    name, partition = projection.name, first.partition
    row = connection.execute(
        "SELECT position, time, version, generation FROM projection_positions WHERE projection = %s AND partition = %s "
        "FOR UPDATE",
        [name, partition],
        prepare=True,
    ).fetchone()
    if row is None or row[2] != projection.version:
        raise VersionError(f"{name} is not there in version {projection.version}")
    position, time, _, generation = row
    workspace.begin(connection, position, time, generation, empty=position == 0)
    events = rows = 0
    for batch in chain([first], behind):
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
    """Fold what is not held back of a batch, and let the workspace stand behind it."""
    foldable = hold_back(connection, projection, batch)
    if foldable is not None:
        if (bad := unreadable(foldable)) is not None:
            raise UnreadableError(f"position {bad.position} cannot be read: {bad.event}")
        workspace.follow_markets(foldable)
        workspace.load_batch(foldable)
        projection.fold(foldable, workspace)
    workspace.position, workspace.time = batch.last.position, batch.last.time
