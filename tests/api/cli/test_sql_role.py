"""`tidings sql-role`: a database role for dashboards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
from pydantic import SecretStr

from tests.api.command_line import tidings

if TYPE_CHECKING:
    from settings import Settings
    from tests.api.conftest import Exchange


def test_a_role_for_dashboards(exchange: Exchange, settings: Settings) -> None:
    """The password is printed; the role logs in and reads the views. A role of another kind, and a bad name, are refused (1)."""
    position = exchange.market()["position"]
    exchange.api.data("/markets", min_position=position)
    name = "cli_dashboards"
    given = settings.model_copy(update={"sql_password": SecretStr("chosen-by-the-test")})
    made = json.loads(tidings(settings, "sql-role", name, "--json").stdout)
    again = tidings(given, "sql-role", name)

    assert (made["role"], made["schema"], len(made["password"]) > 20) == (name, "dashboards", True)
    assert again.stdout == "chosen-by-the-test\n"
    try:
        with psycopg.connect(str(settings.dsn), user=name, password="chosen-by-the-test") as reader:  # noqa: S106
            row = reader.execute("SELECT count(*) FROM markets").fetchone()
        assert row is not None
        assert row[0] > 0
    finally:
        with psycopg.connect(str(settings.dsn)) as connection:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
            owner = connection.info.user
    for taken in (owner, "No Role"):
        refused = tidings(settings, "sql-role", taken)
        assert (refused.returncode, refused.stderr.startswith("tidings: ")) == (1, True)
