"""Making the views for dashboards, in a schema of their own, and roles that may read them and nothing else.

A view follows its read models: it is made as soon as all that it reads is there, and made anew, under the same name and
with the same rights, in the transaction that exchanges one of them after a rebuild.
"""

import re
from hashlib import blake2b
from time import monotonic
from typing import Final

from psycopg import Connection, errors, sql

from projections.dashboards.views import VIEWS, View
from projections.registry import PROJECTIONS

SCHEMA: Final = "dashboards"
"""Not `tidings`: that may be the name of the database's user, and PostgreSQL looks into a schema of that name first."""

READ_SECONDS_MAX: Final = 30
"""A query of a role that is made here ends after so long, unless it says otherwise itself."""

IDLE_SECONDS_MAX: Final = 10
"""Likewise a transaction in which nothing happens: it could hold up the exchange of a read model."""

CONNECTIONS_MAX: Final = 20

LOCK_SECONDS_MAX: Final = 0.8
"""How long, for all views of a read model together, an exchange waits for those who are asking them. Somebody who asks two
may wait for one while we wait for the other: we give way before PostgreSQL looks for such a deadlock, after a second, and
ends the reader's query."""

_ROLE_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_ROLE_NOTE: Final = "made by tidings sql-role"


class RoleError(ValueError):
    """A role that cannot be made: its name is not a plain one, or it is somebody else's."""


def make_views(connection: Connection, read_model: str) -> None:
    """Make the views of a read model that are missing or have another definition, where all that they read is there.

    Called inside a transaction, with the tables in the search path.
    """
    for view in VIEWS.values():
        if (
            (not view.reads or read_model in view.reads)
            and not _is_made(connection, view)
            and _readable(connection, view)
        ):
            _make(connection, view)


def exchange_views(connection: Connection, read_model: str) -> None:
    """Make every view of a read model anew, on the tables that are in the search path now.

    From then on, to the end of the transaction, who asks a view waits. A view whose other read models are still of an old
    version, and cannot be read together with this one, is gone until they have been rebuilt as well.

    Raises psycopg.errors.LockNotAvailable when those who are asking them now take longer than `LOCK_SECONDS_MAX`.
    """
    ends = monotonic() + LOCK_SECONDS_MAX
    for view in VIEWS.values():
        if read_model not in view.reads:
            continue
        left = max(1, int((ends - monotonic()) * 1000))
        connection.execute(f"SET LOCAL lock_timeout = {left}")
        try:
            with connection.transaction():
                _make(connection, view)
        except (errors.UndefinedColumn, errors.UndefinedTable, errors.UndefinedFunction):
            connection.execute(sql.SQL("DROP VIEW IF EXISTS {} CASCADE").format(sql.Identifier(SCHEMA, view.name)))


def _is_made(connection: Connection, view: View) -> bool:
    row = connection.execute(
        "SELECT obj_description(to_regclass(%s), 'pg_class')", [f"{SCHEMA}.{view.name}"]
    ).fetchone()
    return row is not None and row[0] == _note(view)


def _readable(connection: Connection, view: View) -> bool:
    """Return whether all that it reads is there, in the version that it was written for."""
    rows = connection.execute(
        "SELECT DISTINCT projection, version FROM projection_positions WHERE projection = ANY(%s)", [list(view.reads)]
    ).fetchall()
    return sorted(rows) == sorted((name, PROJECTIONS[name].version) for name in view.reads)


def _make(connection: Connection, view: View) -> None:
    """Make or replace a view, and note beside it what it is; only where its columns are others it is dropped first."""
    name = sql.Identifier(SCHEMA, view.name)
    # The definitions are our own text, and may hold what looks like a placeholder.
    create = sql.SQL("CREATE OR REPLACE VIEW {} AS ").format(name).as_string(connection) + view.query
    try:
        with connection.transaction():
            connection.execute(create.encode())
    except errors.InvalidTableDefinition:
        connection.execute(sql.SQL("DROP VIEW {} CASCADE").format(name))
        connection.execute(create.encode())
    connection.execute(sql.SQL("COMMENT ON VIEW {} IS {}").format(name, sql.Literal(_note(view))))
    for column, each in view.columns.items():
        connection.execute(
            sql.SQL("COMMENT ON COLUMN {} IS {}").format(
                sql.Identifier(SCHEMA, view.name, column), sql.Literal(each.about)
            )
        )


def _note(view: View) -> str:
    """Return what stands beside a view: what it is, and a hash by which another definition is told."""
    text = "\n".join([view.query, *(column.about for column in view.columns.values())])
    return f"{view.about} [{blake2b(text.encode(), digest_size=8).hexdigest()}]"


def make_role(connection: Connection, name: str, password: str) -> None:
    """Make a role that may log in with this password and read the views, those to come included; nothing else.

    One that was made here before gets the new password, and what it may do is set again.

    Raises:
        RoleError: the name is not a plain one, or the role is not one of these.
        psycopg.errors.InsufficientPrivilege: we may not make roles.
    """
    if not _ROLE_NAME.fullmatch(name):
        raise RoleError(f"{name!r} is no name for a role: lower-case letters, digits and _, at most 63")
    role, schema = sql.Identifier(name), sql.Identifier(SCHEMA)
    with connection.transaction():
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [name]
        ).fetchone()
        if row is not None and row[0] != _ROLE_NOTE:
            raise RoleError(f"there is a role {name} already that `tidings sql-role` has not made")
        if row is None:
            connection.execute(sql.SQL("CREATE ROLE {}").format(role))
            connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(_ROLE_NOTE)))
        secret = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        for statement in (
            sql.SQL(
                "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS "
                "CONNECTION LIMIT {} PASSWORD {}"
            ).format(role, sql.Literal(CONNECTIONS_MAX), sql.Literal(secret)),
            sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(role),
            sql.SQL("ALTER ROLE {} SET statement_timeout = {}").format(role, sql.Literal(f"{READ_SECONDS_MAX}s")),
            sql.SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = {}").format(
                role, sql.Literal(f"{IDLE_SECONDS_MAX}s")
            ),
            sql.SQL("ALTER ROLE {} SET search_path = {}").format(role, schema),
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(connection.info.dbname), role),
            sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role),
            sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(schema, role),
            sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT SELECT ON TABLES TO {}").format(schema, role),
        ):
            connection.execute(statement)
