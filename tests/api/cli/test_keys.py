"""API keys from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.api.command_line import tidings

if TYPE_CHECKING:
    from settings import Settings
    from tests.api.conftest import Exchange


def test_keys_are_made_listed_and_revoked(exchange: Exchange, settings: Settings) -> None:
    """A key that the command makes works on the running server until the command revokes it."""
    trader = exchange.trader("10")
    made = tidings(settings, "keys", "create", "--role", "trader", "--account", trader.name, "--name", "cli")
    key = made.stdout.strip()
    assert made.returncode == 0
    api = exchange.api.as_key(key)
    assert api.post("/orders", trader.order(exchange.market()["market_id"])).status_code == 201

    listed = json.loads(tidings(settings, "keys", "list", "--json").stdout)
    (mine,) = [row for row in listed if row["name"] == "cli"]
    assert mine["account_id"] == trader.account_id
    assert key not in json.dumps(listed)
    assert tidings(settings, "keys", "revoke", mine["key_id"]).returncode == 0
    revoked = json.loads(tidings(settings, "keys", "list", "--json").stdout)
    assert next(row for row in revoked if row["key_id"] == mine["key_id"])["revoked_at"] is not None


def test_a_key_needs_what_it_needs(settings: Settings) -> None:
    """A trader's key without an account is wrong use (2); an unknown account or key ends with 1."""
    assert tidings(settings, "keys", "create", "--role", "trader").returncode == 2
    assert tidings(settings, "keys", "create", "--role", "trader", "--account", "nobody").returncode == 1
    assert tidings(settings, "keys", "revoke", "key_unknown").returncode == 1
