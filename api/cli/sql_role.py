"""`tidings sql-role`: a database role for dashboards."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

from api.cli.command import DONE, NO, add_command, add_json, complain

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `sql-role`."""
    text = "a database role that may read the views for dashboards (docs/sql.md)"
    role = add_command(commands, "sql-role", _sql_role, text)
    role.add_argument("name", help="of the role; it is made, or gets a new password")
    add_json(role)


def _sql_role(options: Namespace, settings: Settings) -> int:
    from secrets import token_urlsafe

    from psycopg.errors import InsufficientPrivilege

    from api.database import connect_migrated, with_database
    from projections.dashboards.roles import SCHEMA, RoleError, make_role

    password = settings.sql_password.get_secret_value() if settings.sql_password else token_urlsafe(24)
    with ExitStack() as stack:
        try:
            connection = connect_migrated(with_database(settings, stack), stack)
            for door in make_role(connection, options.name, password):
                complain(f"{options.name} is less restricted than docs/sql.md says: {door}")
        except (RoleError, InsufficientPrivilege) as error:
            complain(error)
            return NO
    print(json.dumps({"role": options.name, "password": password, "schema": SCHEMA}) if options.json else password)
    return DONE
