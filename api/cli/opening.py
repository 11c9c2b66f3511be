"""Opening what the commands about read models work on: the database and the log."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from api.cli.command import check_kafka

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection

    from settings import Settings


class Opened(NamedTuple):
    """The database of the read models, migrated, and the log."""

    dsn: str
    connection: Connection[Any]
    log: ApplicationRecorder


@contextmanager
def opened(settings: Settings) -> Iterator[Opened]:
    """Open the database and the log for the commands about read models."""
    from api.database import connect_migrated, dsn_of, with_database
    from consumers.wiring import open_recorder

    check_kafka(settings)
    with ExitStack() as stack:
        settings = with_database(settings, stack)
        connection = connect_migrated(settings, stack)
        yield Opened(dsn_of(settings), connection, stack.enter_context(open_recorder(settings)))
