"""Creates the views for dashboards in a schema of their own, and database roles that may read these views only.

A view is created once all its tables exist. When a rebuild exchanges one of its read models, the same transaction replaces
the view. It keeps its name and its privileges.
"""

import re
from hashlib import blake2b
from time import monotonic
from typing import Final

from psycopg import Connection, errors, sql

from projections.dashboards.columns import View
from projections.dashboards.views import VIEWS
from projections.registry import PROJECTIONS

SCHEMA: Final = "dashboards"
"""The schema of the views. Not `tidings`: PostgreSQL searches a schema first if it has the name of the database user."""

READ_SECONDS_MAX: Final = 30
"""The statement timeout of a role. A session may set another one, so a watchdog ends what runs much longer."""

IDLE_SECONDS_MAX: Final = 10
"""The timeout of an idle transaction of a role: such a transaction can block the exchange of a read model."""

TEMPORARY_FILES_MAX: Final = "1GB"
"""The most disk that the sorts and joins of a session may take."""

CONNECTIONS_MAX: Final = 20
"""The most connections that a role may have open."""

LOCK_SECONDS_MAX: Final = 0.8
"""The longest that an exchange waits for queries on the views of one read model, all views together.

A query on two views can deadlock with the exchange. PostgreSQL looks for deadlocks after one second and might then end the
query. The exchange gives up before that.
"""

_ROLE_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
ROLE_NOTE: Final = "made by tidings sql-role"
"""The comment of every role that we made."""


class RoleError(ValueError):
    """A role cannot be created: its name is invalid, or a role that we did not create has this name."""


def make_views(connection: Connection, read_model: str) -> None:
    """Create the views of a read model that are missing or have another definition. Skip those whose tables are missing.

    Must run inside a transaction, with the tables in the search path.
    """
    for view in VIEWS.values():
        if (
            (not view.reads or read_model in view.reads)
            and not _is_made(connection, view)
            and _readable(connection, view)
        ):
            _make(connection, view)


def exchange_views(connection: Connection, read_model: str) -> None:
    """Replace every view of a read model by one on the tables in the search path.

    Queries on these views wait until the transaction ends. A view is dropped when another of its read models still has an old
    version that does not fit the new tables. The rebuild of that read model creates the view again.

    Raises:
        psycopg.errors.LockNotAvailable: running queries hold the views longer than `LOCK_SECONDS_MAX`.
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


def forget_views(connection: Connection) -> None:
    """Have `make_views` make every view anew: its tables were replaced by others of the same names."""
    for view in VIEWS.values():
        name = sql.Identifier(SCHEMA, view.name)
        if connection.execute("SELECT to_regclass(%s)", [name.as_string(connection)]).fetchone() != (None,):
            connection.execute(sql.SQL("COMMENT ON VIEW {} IS NULL").format(name))


def _is_made(connection: Connection, view: View) -> bool:
    row = connection.execute(
        "SELECT obj_description(to_regclass(%s), 'pg_class')", [f"{SCHEMA}.{view.name}"]
    ).fetchone()
    return row is not None and row[0] == _note(view)


def _readable(connection: Connection, view: View) -> bool:
    """Return whether all read models of the view exist in their current version."""
    rows = connection.execute(
        "SELECT DISTINCT projection, version FROM projection_positions WHERE projection = ANY(%s)", [list(view.reads)]
    ).fetchall()
    return sorted(rows) == sorted((name, PROJECTIONS[name].version) for name in view.reads)


def _make(connection: Connection, view: View) -> None:
    """Create or replace a view and its comments. A view whose columns have changed is dropped first."""
    name = sql.Identifier(SCHEMA, view.name)
    # Our own text, encoded as it is: it may contain what psycopg would take for a placeholder.
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
    """Return the comment of a view: its description, and a hash that changes with its definition."""
    text = "\n".join([view.query, *(column.about for column in view.columns.values())])
    return f"{view.about} [{blake2b(text.encode(), digest_size=8).hexdigest()}]"


def make_role(connection: Connection, name: str, password: str) -> list[str]:
    """Create a role that may log in with this password and read the views, also future ones, and nothing else.

    A role that this function created before gets the new password, and its privileges are set again. PostgreSQL lets
    everybody do some things that cost others: make temporary tables and large objects, lock by numbers. These are taken
    from everybody in this database except our own user. That takes a superuser; returns a line for each of these things
    that the role may still do.

    Raises:
        RoleError: the name is invalid, or a role that we did not create has this name.
        psycopg.errors.InsufficientPrivilege: our own database user may not create roles.
    """
    if not _ROLE_NAME.fullmatch(name):
        raise RoleError(
            f"{name!r} is not a valid role name: use lower-case letters, digits and _, at most 63 characters"
        )
    role, schema = sql.Identifier(name), sql.Identifier(SCHEMA)
    with connection.transaction():
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [name]
        ).fetchone()
        if row is not None and row[0] != ROLE_NOTE:
            raise RoleError(f"a role {name} exists that `tidings sql-role` did not create")
        if row is None:
            connection.execute(sql.SQL("CREATE ROLE {}").format(role))
            connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role, sql.Literal(ROLE_NOTE)))
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
        _close_doors(connection, role)
        return _open_doors(connection, name)


def _close_doors(connection: Connection, role: sql.Identifier) -> None:
    """Take from everybody what costs others, as far as our own user may do that."""
    database = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO CURRENT_USER").format(database))
    connection.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC, {}").format(database, role))
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if row != (True,):
        return
    connection.execute(sql.SQL("ALTER ROLE {} SET temp_file_limit = {}").format(role, sql.Literal(TEMPORARY_FILES_MAX)))
    owners = connection.execute(
        "SELECT DISTINCT nspowner::regrole::text FROM pg_namespace WHERE nspname = %s", [SCHEMA]
    )
    ours = sql.SQL(", ").join([sql.SQL("CURRENT_USER"), *(sql.SQL(owner) for (owner,) in owners)])
    for (function,) in connection.execute(_COSTLY_FUNCTIONS).fetchall():
        connection.execute(sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(sql.SQL(function), ours))
        connection.execute(sql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC").format(sql.SQL(function)))


def _open_doors(connection: Connection, name: str) -> list[str]:
    """Return a line for each thing that the role may still do and should not."""
    found = []
    row = connection.execute("SELECT has_database_privilege(%s, current_database(), 'TEMPORARY')", [name]).fetchone()
    if row == (True,):
        found.append("it may make temporary tables")
    query = _COSTLY_FUNCTIONS + b" AND has_function_privilege(%s, oid, 'EXECUTE')"
    if functions := connection.execute(query, [name]).fetchall():
        found.append(f"it may call {len(functions)} functions for advisory locks and large objects")
    row = connection.execute(
        "SELECT count(*) FROM pg_database WHERE datname <> current_database() AND datallowconn "
        "AND has_database_privilege(%s, oid, 'CONNECT')",
        [name],
    ).fetchone()
    if row is not None and row[0]:
        found.append(f"it may connect to {row[0]} other databases of this server, unless pg_hba.conf forbids it")
    return found


_COSTLY_FUNCTIONS: Final = rb"""
SELECT oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace AND (
    proname ~ '^pg_(try_)?advisory_' OR proname ~ '^lo_' OR proname IN ('loread', 'lowrite')
    OR proname IN ('pg_logical_emit_message', 'pg_notify')
)
"""
"""The functions by which any user could fill the disk or the lock table, or wake our listeners."""
