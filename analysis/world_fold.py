"""The read models of a world, folded batch by batch into a schema of their own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

import msgspec
from psycopg.sql import SQL, Identifier

from consumers.engine.postgres_log import postgres_recorder, table_name
from domain.events import Recorded
from domain.exchange import Entry
from messages.stored import decode_state, to_stored
from projections.machine.advance import Member, advance_together
from projections.machine.batch import Batch
from projections.machine.store import analyze, connect, ensure, make_indexes
from projections.machine.workspace import Workspace
from projections.registry import PROJECTIONS

if TYPE_CHECKING:
    from projections.machine.pipeline import PipelineConnection

READ_MODELS: Final = ("timeline", "markets", "trades", "orders", "positions", "accounts")
"""The read models that are folded in any case: those that the measures are read from."""

_COPY_LOG: Final = SQL(
    "COPY {} (notification_id, originator_id, originator_version, topic, state) FROM STDIN (FORMAT BINARY)"
)

StoredRow = tuple[int, str, int, str, bytes]
"""An event as a log keeps it: its position, its stream and its version there, its topic and its state."""


class FoldedWorld(msgspec.Struct, array_like=True, frozen=True):
    """Where the read models of a world stand. A `whole` one has all of them, and a log of its events: what an export reads."""

    dsn: str
    schema: str
    partition: int
    whole: bool


class FoldBatch(msgspec.Struct, array_like=True):
    """Events, and the orders that were refused among them, each with its code: no read model has these."""

    events: list[StoredRow]
    refused: list[tuple[str, str]]


def stored_row(recorded: Recorded) -> StoredRow:
    """Return an event as a log keeps it."""
    entry = Entry(recorded.stream, recorded.version, recorded.event)
    stored = to_stored(entry, recorded.time, recorded.command_id, recorded.digest)
    return recorded.position, recorded.stream, recorded.version, stored.topic, stored.state


class WorldFold:
    """Folds batches into the read models of a world. A context manager, which closes its connection."""

    def __init__(self, world: FoldedWorld) -> None:
        """Make the tables."""
        self._world = world
        names = PROJECTIONS if world.whole else READ_MODELS
        self._members = [Member(PROJECTIONS[name], Workspace(PROJECTIONS[name].tables)) for name in names]
        with ExitStack() as stack:
            self._connection: PipelineConnection = stack.enter_context(connect(world.dsn, world.schema))
            ensure(self._connection, [member.projection for member in self._members], world.partition, world.schema)
            self._connection.execute("CREATE TABLE refused_orders (order_id text NOT NULL, code text NOT NULL)")
            if world.whole:
                stack.enter_context(postgres_recorder(world.dsn, world.partition, schema=world.schema))
            self._opened = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def fold(self, batch: FoldBatch) -> None:
        """Fold a batch in one transaction."""
        world, connection = self._world, self._connection
        with connection.transaction():
            if batch.events:
                advance_together(connection, self._members, Batch(world.partition, [*map(_recorded, batch.events)]))
            with connection.cursor() as cursor, cursor.copy("COPY refused_orders FROM STDIN") as copy:
                for refused in batch.refused:
                    copy.write_row(refused)
            if world.whole:
                self._append(batch.events)

    def finish(self) -> None:
        """Make the indexes of a whole world for whoever reads it."""
        if self._world.whole:
            for member in self._members:
                make_indexes(self._connection, member.projection)
                analyze(self._connection, [table.name for table in member.projection.tables])

    def _append(self, events: list[StoredRow]) -> None:
        """Write events to the log at their positions, which may have gaps."""
        table = Identifier(self._world.schema, table_name(self._world.partition))
        with self._connection.cursor() as cursor, cursor.copy(_COPY_LOG.format(table)) as copy:
            copy.set_types(["int8", "text", "int8", "text", "bytea"])
            for row in events:
                copy.write_row(row)


def _recorded(row: StoredRow) -> Recorded:
    position, stream, version, topic, stored = row
    state = decode_state(topic, stored)
    return Recorded(position, stream, version, state.time, state.command_id, state.data, state.digest)
