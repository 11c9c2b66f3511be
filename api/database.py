"""The PostgreSQL database of read models, keys and, without Kafka, the log: where it is, and a connection to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg

from local.postgres import Postgres
from migrations import migrate
from projections.machine.store import CONNECT_OPTIONS

if TYPE_CHECKING:
    from contextlib import ExitStack

    from settings import Settings

DATABASE: Final = "tidings"
"""The name of the database on a server of our own."""


def with_database(settings: Settings, stack: ExitStack) -> Settings:
    """Return settings that name a PostgreSQL: their own, or else a server under the home that runs until the stack closes."""
    if settings.dsn is not None:
        return settings
    server = stack.enter_context(Postgres.start(settings.home / "postgres"))
    return settings.model_copy(update={"dsn": server.database(DATABASE)})


def dsn_of(settings: Settings) -> str:
    """Return the DSN of settings that `with_database` returned."""
    assert settings.dsn is not None, "with_database chose a database"
    return settings.dsn


def connect_migrated(settings: Settings, stack: ExitStack) -> psycopg.Connection[Any]:
    """Return an autocommit connection to the database of these settings, migrated; the stack closes it. Needs a DSN."""
    connection = stack.enter_context(psycopg.connect(dsn_of(settings), autocommit=True, **CONNECT_OPTIONS))
    migrate(connection)
    return connection
