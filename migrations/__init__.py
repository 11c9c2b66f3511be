"""Migrations of the tables that cannot be rebuilt from the log: API keys, the progress of read models, parked events.

`migrate` brings a database from any version, or from nothing, to the newest one. Each version is a file of plain SQL in
`versions`; Alembic runs them all in one transaction. Three kinds of tables have no migrations: those of the log, which the
eventsourcing library creates and changes; read models, which are rebuilt; and the views for dashboards, which are created
together with the read models.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from psycopg import Connection

FOLDER: Final = Path(__file__).parent

VERSION_TABLE: Final = "schema_version"
"""The table, in the schema `public`, with one row: the newest migration that has run."""

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('tidings migrations', 0))"


class NewerDatabaseError(RuntimeError):
    """A newer program has migrated the database to a version that this program does not know."""


def newest() -> str:
    """Return the name of the newest version that this program knows."""
    return max(_known())


def version(connection: Connection[Any]) -> str | None:
    """Return the version of the database; None before the first migration."""
    row = connection.execute("SELECT to_regclass(%s)", [f"public.{VERSION_TABLE}"]).fetchone()
    if row is None or row[0] is None:
        return None
    row = connection.execute(f"SELECT version_num FROM public.{VERSION_TABLE}").fetchone()
    return str(row[0]) if row else None


def migrate(connection: Connection[Any]) -> None:
    """Bring the database of this connection to the newest version. Any number of processes may do so at once.

    If the database has that version already, this costs two queries. Otherwise it runs on a connection of its own, in one
    transaction.

    Raises:
        NewerDatabaseError: this program does not know the version of the database.
    """
    at = version(connection)
    if at == newest():
        return
    if at is not None and at not in _known():
        raise NewerDatabaseError(
            f"the database is at version {at}, this program knows {newest()}: run the program that migrated it, or a newer one"
        )
    info = connection.info
    _upgrade(make_conninfo(info.dsn, password=info.password or None))


def _known() -> set[str]:
    return {path.stem.partition("_")[0] for path in FOLDER.glob("versions/[0-9]*.py")}


def _upgrade(dsn: str) -> None:
    # Imported here because most starts have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import NullPool, create_engine, text  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(_LOCK))  # whoever had to wait here finds nothing left to do
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
