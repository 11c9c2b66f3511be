"""Invitations from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.api.command_line import tidings
from tests.api.conftest import OPERATOR_KEY

if TYPE_CHECKING:
    from settings import Settings
    from tests.api.conftest import Exchange


def test_a_link_is_made_and_listed(exchange: Exchange, settings: Settings) -> None:
    """The link has the address of the server; a wrong time is wrong use, and a refusal ends with 1."""
    server = ("--url", exchange.running.url, "--key", OPERATOR_KEY)
    made = tidings(
        settings, "invitations", "create", "--uses", "2", "--credits", "10", "--expires-at", "2090-01-31", *server
    )
    link = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    assert link.startswith(f"{exchange.running.url}/join#tdi_")
    code = link.partition("#")[2]
    opened = exchange.api.as_key(None).post("/invitations/accept", {"code": code, "name": "somebody from the shell"})
    assert opened.status_code == 201

    listed = json.loads(tidings(settings, "invitations", "list", "--json", *server).stdout)
    assert (listed[0]["uses"], listed[0]["used"]) == (2, 1)
    revoked = tidings(settings, "invitations", "revoke", listed[0]["invitation_id"], *server)
    assert (revoked.returncode, revoked.stdout) == (0, f"revoked {listed[0]['invitation_id']}\n")
    assert "revoked 20" in tidings(settings, "invitations", "list", *server).stdout
    assert tidings(settings, "invitations", "revoke", "iv_none", *server).returncode == 1
    assert tidings(settings, "invitations", "create", "--uses", "1", "--expires-at", "soon", *server).returncode == 2
    assert (
        tidings(settings, "invitations", "create", "--uses", "0", "--expires-at", "2090-01-31", *server).returncode == 1
    )
