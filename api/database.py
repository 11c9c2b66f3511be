"""The PostgreSQL database of read models, keys and, without Kafka, the log: where it is, and connections to it."""

from __future__ import annotations

import select
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg_pool import ConnectionPool

from local.postgres import Postgres
from migrations import migrate
from projections.machine.store import CONNECT_OPTIONS, schema_of, use_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from settings import Settings

DATABASE: Final = "tidings"
"""The name of the database on a server of our own."""


def with_database(settings: Settings, stack: ExitStack) -> Settings:
    """Return settings that name a PostgreSQL: their own, or else a server under the home that runs until the stack closes."""
    if settings.dsn is not None:
        return settings
    server = stack.enter_context(Postgres.start(settings.home / "postgres", port=settings.sql_port, own=settings.home))
    return settings.model_copy(update={"dsn": server.database(DATABASE)})


def dsn_of(settings: Settings) -> str:
    """Return the DSN of settings that `with_database` returned."""
    assert settings.dsn is not None, "with_database chose a database"
    return settings.dsn


def connect_migrated(settings: Settings, stack: ExitStack) -> psycopg.Connection[Any]:
    """Return an autocommit connection to the database of these settings, migrated; the stack closes it. Needs a DSN.

    It reads the read models of the settings' partition.
    """
    connection = stack.enter_context(psycopg.connect(dsn_of(settings), autocommit=True, **CONNECT_OPTIONS))
    migrate(connection)
    use_schema(connection, schema_of(settings.partition))
    return connection


def connection_pool(settings: Settings, connections_max: int) -> ConnectionPool[psycopg.Connection[Any]]:
    """Return a pool of connections to the database of these settings, for the caller to open. Needs a DSN.

    No statement on them takes longer than a read may.
    """
    options = f"{CONNECT_OPTIONS['options']} -c statement_timeout={settings.read_ms}"
    return LivePool(
        dsn_of(settings),
        kwargs={**CONNECT_OPTIONS, "options": options},
        min_size=1,
        max_size=connections_max,
        open=False,
        timeout=5,
    )


class LivePool(ConnectionPool[psycopg.Connection[Any]]):
    """A pool that hands out no connection that PostgreSQL has ended: after a restart of PostgreSQL no request fails.

    The option `check` of psycopg_pool would not do: it waits 1 s, 2 s ... between dead connections, until the request
    times out, and it takes 130 us a request. This takes 1 us.
    """

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[psycopg.Connection[Any]]:
        """Lend a live connection.

        Raises:
            OperationalError: there is none in time, or the connection was lost meanwhile, whatever psycopg says about that: for
                an answer that PostgreSQL did not finish it may raise any of its errors.
        """
        with super().connection(timeout) as connection:
            try:
                yield connection
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                if not connection.closed:
                    raise
                raise psycopg.OperationalError(str(error)) from error

    def getconn(self, timeout: float | None = None) -> psycopg.Connection[Any]:
        """Return a live connection; raises PoolTimeout when there is none in time."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            connection = super().getconn(deadline - time.monotonic())
            if _is_alive(connection):
                return connection
            connection.close()
            self.putconn(connection)  # the pool replaces it


def _is_alive(connection: psycopg.Connection[Any]) -> bool:
    """Return whether PostgreSQL has not ended this idle connection.

    PostgreSQL sends an idle connection little but its end. So only where something has arrived, a query has to tell.
    """
    arrived = select.poll()
    arrived.register(connection.fileno(), select.POLLIN)
    if not arrived.poll(0):
        return True
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    return True
