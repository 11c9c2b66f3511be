"""Accounts over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_withdrawals(exchange: Exchange) -> None:
    """A withdrawal takes at most the available cash, and needs the account's own key."""
    trader, other = exchange.trader("10"), exchange.trader()
    path = f"/accounts/{trader.account_id}/withdrawals"

    assert trader.api.done(path, {"amount": "4"})["available"] == "6.000000"
    more = trader.api.post(path, {"amount": "6.000001"})
    assert (more.status_code, more.json()["code"]) == (422, "INSUFFICIENT_FUNDS")
    assert other.api.post(path, {"amount": "1"}).status_code == 403
