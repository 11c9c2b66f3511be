"""A world that was never live as a log in PostgreSQL, so that whatever reads a log can read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg.sql import SQL, Identifier

from consumers.engine.postgres_log import postgres_recorder, table_name
from domain.exchange import Entry
from messages.stored import to_stored

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from domain.events import Recorded

_COPY: Final = SQL(
    "COPY {} (notification_id, originator_id, originator_version, topic, state) FROM STDIN (FORMAT BINARY)"
)


def make_log(dsn: str, schema: str, partition: int) -> Identifier:
    """Make the empty log of a partition in a schema, as `postgres_recorder` opens it; return its table."""
    with postgres_recorder(dsn, partition, schema=schema):
        return Identifier(schema, table_name(partition))


def append_to_log(connection: psycopg.Connection[Any], table: Identifier, events: Iterable[Recorded]) -> None:
    """Write events at their positions, which may have gaps."""
    with connection.cursor() as cursor, cursor.copy(_COPY.format(table)) as copy:
        copy.set_types(["int8", "text", "int8", "text", "bytea"])
        for each in events:
            entry = Entry(each.stream, each.version, each.event)
            stored = to_stored(entry, each.time, each.command_id, each.digest)
            copy.write_row((each.position, each.stream, each.version, stored.topic, stored.state))
