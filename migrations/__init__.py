"""Migrations of the tables that are no read models: they cannot be folded again, so they are changed in place.

`migrate` brings a database to the newest version, from whichever one it is at, an empty one included. Each version is a
file of plain SQL in `versions`, run by Alembic, all of them in one transaction. (The log's tables are the library's, which
makes and changes them itself; read models are rebuilt; the views for dashboards are made with the read models.)
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
"""In the schema `public`, with one row: the newest migration that was run."""

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('tidings migrations', 0))"


class NewerDatabaseError(RuntimeError):
    """The database was migrated by a newer program than this one, which cannot know what stands there."""


def newest() -> str:
    """Return the name of the newest version that this program knows."""
    return max(_known())


def version(connection: Connection[Any]) -> str | None:
    """Return the version that the database is at; None before the first one."""
    row = connection.execute("SELECT to_regclass(%s)", [f"public.{VERSION_TABLE}"]).fetchone()
    if row is None or row[0] is None:
        return None
    row = connection.execute(f"SELECT version_num FROM public.{VERSION_TABLE}").fetchone()
    return str(row[0]) if row else None


def migrate(connection: Connection[Any]) -> None:
    """Bring the database of this connection to the newest version; any number of processes may do so at once.

    Where that is so already it costs two queries. All is done on another connection, in one transaction.

    Raises:
        NewerDatabaseError: the database is at a version that is not known here.
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
    # Imported when there is something to do: most starts need none of it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import NullPool, create_engine, text  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(_LOCK))  # who waited here finds everything done
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
