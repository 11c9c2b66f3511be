"""Withdrawals where payouts are held, as they are unless the settings say otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settings import Settings
from tests.api.conftest import connected, start

if TYPE_CHECKING:
    from pathlib import Path


def test_a_payout_cannot_be_withdrawn_for_a_day(database: str, tmp_path: Path) -> None:
    """What was deposited can be; the refusal says how much, and the payout can be traded. Also after a restart."""
    hold = Settings.model_fields["withdrawal_hold_seconds"].default
    assert hold == 86_400
    with start(database, tmp_path, withdrawal_hold_seconds=hold) as running:
        exchange = connected(running)
        winner, market = exchange.trader("100"), exchange.market()
        winner.place(market["market_id"], quantity=None, spend="60")
        path = f"/markets/{market['market_id']}"
        exchange.api.done(f"{path}/close")
        exchange.api.done(f"{path}/determine", {"payouts": {"Yes": "1"}, "evidence": "so it is"})
        position = exchange.api.done(f"{path}/finalize")["position"]
        account = winner.api.data(f"/accounts/{winner.account_id}", min_position=position)
        available = account["available"]
        assert account["withdrawable"] == "40.000000"
        assert winner.api.data(f"/accounts/{winner.account_id}/portfolio")["withdrawable"] == "40.000000"
        assert exchange.api.data(path)["held_until"] is not None
        assert float(available) > 120
        refused = winner.api.post(f"/accounts/{winner.account_id}/withdrawals", {"amount": available})
        exchange.api.client.close()
    details = refused.json()["details"]
    assert (refused.status_code, refused.json()["code"]) == (422, "WITHDRAWAL_HELD")
    assert (details["withdrawable"], details["available"], details["required"]) == ("40.000000", available, available)

    with start(database, tmp_path, withdrawal_hold_seconds=hold) as running:
        exchange = connected(running)
        again = exchange.api.as_key(winner.api.key)
        withdrawals = f"/accounts/{winner.account_id}/withdrawals"
        assert again.post(withdrawals, {"amount": "40.000001"}).json()["code"] == "WITHDRAWAL_HELD"
        done = again.post(withdrawals, {"amount": "40"})
        assert (done.status_code, done.json()["withdrawable"]) == (200, "0.000000")
        order = winner.order(exchange.market()["market_id"], quantity=None, spend="50")
        assert again.post("/orders", order).status_code == 201
        exchange.api.client.close()
