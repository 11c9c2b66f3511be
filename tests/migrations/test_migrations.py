"""Migrations: every database ends with the same tables, and keeps its rows."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from local.postgres import create_database, drop_database
from migrations import FOLDER, NewerDatabaseError, migrate, newest, version
from projections.machine.store import BOOKKEEPING, connect, ensure
from projections.registry import PROJECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The tables of a database from before there were migrations. Never change this.
BEFORE = """
CREATE TABLE IF NOT EXISTS public.api_keys (
    key_id      text PRIMARY KEY,
    hash        bytea NOT NULL UNIQUE,
    prefix      text NOT NULL,
    roles       text[] NOT NULL,
    account_id  text,
    label       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);
CREATE SCHEMA IF NOT EXISTS read_models;
SET search_path = read_models;
CREATE TABLE IF NOT EXISTS projection_positions (
    projection text NOT NULL, partition int8 NOT NULL, position int8 NOT NULL, time int8 NOT NULL,
    version int8 NOT NULL, generation int8 NOT NULL, updated_at int8 NOT NULL, PRIMARY KEY (projection, partition));
CREATE TABLE IF NOT EXISTS projection_tables (projection text PRIMARY KEY, tables text[] NOT NULL);
CREATE TABLE IF NOT EXISTS projection_parked (
    projection text NOT NULL, partition int8 NOT NULL, position int8 NOT NULL, keys text[] NOT NULL,
    topic text NOT NULL, error text, parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts int8 NOT NULL DEFAULT 1, PRIMARY KEY (projection, partition, position));
CREATE TABLE IF NOT EXISTS projection_skipped (
    projection text NOT NULL, partition int8 NOT NULL, position int8 NOT NULL,
    skipped_at timestamptz NOT NULL DEFAULT clock_timestamp(), reason text NOT NULL,
    PRIMARY KEY (projection, partition, position));
INSERT INTO public.api_keys (key_id, hash, prefix, roles, label) VALUES ('key_1', 'x', 'tdg_', '{admin}', 'kept');
INSERT INTO projection_positions VALUES ('markets', 0, 17, 1, 1, 0, 1);
INSERT INTO projection_tables VALUES ('markets', '{markets}');
INSERT INTO projection_parked (projection, partition, position, keys, topic) VALUES ('markets', 0, 17, '{a}', 'T.v1');
INSERT INTO projection_skipped (projection, partition, position, reason) VALUES ('markets', 0, 16, 'kept');
"""

# Every column, constraint and index, by schema and table.
_CATALOG = """
SELECT n.nspname, c.relname, 'column', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
    coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname IN ('public', 'read_models') AND c.relkind = 'r'
UNION ALL
SELECT n.nspname, c.relname, 'constraint', k.conname, pg_get_constraintdef(k.oid), '', ''
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'read_models')
UNION ALL
SELECT schemaname, tablename, 'index', indexname, indexdef, '', ''
FROM pg_indexes WHERE schemaname IN ('public', 'read_models')
ORDER BY 1, 2, 3, 4
"""


def catalog(dsn: str) -> list[Any]:
    """Return every column, constraint and index of the database."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(_CATALOG).fetchall()


@pytest.fixture
def old_database(postgres_dsn: str, database: str) -> Iterator[str]:
    """A database as the program before the first migration left it."""
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    create_database(postgres_dsn, f"{name}_old")
    dsn = psycopg.conninfo.make_conninfo(postgres_dsn, dbname=f"{name}_old")
    with psycopg.connect(dsn) as connection:
        connection.execute(BEFORE)
    yield dsn
    drop_database(postgres_dsn, f"{name}_old")


def migrated(dsn: str) -> str | None:
    """Migrate a database as a process does at its start, and return its version."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        migrate(connection)
        return version(connection)


def test_fresh_and_old_databases_end_alike(database: str, old_database: str) -> None:
    """An empty database and an old one have the same schema afterwards. The old one keeps its rows."""
    assert migrated(database) == migrated(old_database) == newest()
    assert catalog(database) == catalog(old_database)
    assert len(catalog(database)) > 40
    with psycopg.connect(old_database) as connection:
        row = connection.execute("SELECT name, prefix FROM public.api_keys").fetchall()
        counts = [
            connection.execute(f"SELECT count(*) FROM read_models.{table}").fetchone()  # type: ignore[arg-type]
            for table in BOOKKEEPING
        ]
    assert row == [("kept", "tdg_")]
    assert counts == [(1,)] * 4


def test_many_processes_start_at_once(database: str) -> None:
    """A process that comes while another one migrates waits, and then has nothing to do."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(migrated, [database] * 8))

    assert found == [newest()] * 8
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM public.schema_version").fetchone() == (1,)


def test_a_newer_database_is_refused(database: str) -> None:
    """If the program does not know the version of the database, it raises an error and changes nothing."""
    migrated(database)
    before = catalog(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("UPDATE public.schema_version SET version_num = '9999'")
        with pytest.raises(NewerDatabaseError, match="9999"):
            migrate(connection)

    assert catalog(database) == before


NEXT = """
from alembic import op

revision = "9000"
down_revision = "{}"


def upgrade():
    op.execute("ALTER TABLE public.api_keys ADD COLUMN note text NOT NULL DEFAULT ''")
    op.execute("SELECT {}")
"""


def test_a_next_version_is_all_or_nothing(
    database: str, old_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that fails changes nothing. Once it is corrected, it changes new and old databases alike."""
    migrated(old_database)
    before, latest = catalog(old_database), newest()
    shutil.copytree(FOLDER, tmp_path / "migrations")
    monkeypatch.setattr("migrations.FOLDER", tmp_path / "migrations")
    following = tmp_path / "migrations" / "versions" / "9000_next.py"

    following.write_text(NEXT.format(latest, "1 / 0"))
    with pytest.raises(Exception, match="division by zero"):
        migrated(old_database)
    assert catalog(old_database) == before

    following.write_text(NEXT.format(latest, "1"))
    assert migrated(database) == migrated(old_database) == "9000"
    assert catalog(database) == catalog(old_database) != before


def test_versions_are_one_line() -> None:
    """Each version follows exactly one other. The newest by name is the newest for Alembic."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    scripts = ScriptDirectory.from_config(config)

    assert scripts.get_heads() == [newest()]
    assert [script.revision for script in scripts.walk_revisions()] == sorted(
        (path.stem.partition("_")[0] for path in FOLDER.glob("versions/[0-9]*.py")), reverse=True
    )


def test_schemas_beside_the_live_one_have_the_like(database: str) -> None:
    """A rebuild keeps its progress in tables with the same columns, because rows are moved between them."""
    with connect(database, "beside") as connection:
        ensure(connection, [PROJECTIONS["stories"]], 0, "beside")
        rows = connection.execute(
            "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default "
            "FROM information_schema.columns WHERE table_name = ANY(%s) ORDER BY table_name, ordinal_position",
            [list(BOOKKEEPING)],
        ).fetchall()

    beside = [row[1:] for row in rows if row[0] == "beside"]
    assert beside == [row[1:] for row in rows if row[0] == "read_models"]
    assert {row[0] for row in beside} == set(BOOKKEEPING)
