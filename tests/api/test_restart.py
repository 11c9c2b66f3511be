"""An exchange that is stopped and started again remembers what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.api.conftest import Exchange


def test_an_order_sent_again_after_a_restart_is_the_same_order(
    database: str, run_folder: Path, begin: Callable[[str, Path], Exchange]
) -> None:
    """The answer is the same and there is one trade; another body is a 409; the market is as it was."""
    exchange = begin(database, run_folder)
    market, trader = exchange.market(), exchange.trader("100")
    body = trader.order(market["market_id"], quantity="5")
    first = trader.api.done("/orders", body)
    before = exchange.api.data(f"/markets/{market['market_id']}", min_position=first["position"])
    exchange.running.__exit__()

    exchange = begin(database, run_folder)
    api = exchange.api.as_key(trader.api.key)
    again = api.done("/orders", body)
    other = api.post("/orders", body | {"quantity": "6"})

    assert again == first
    assert (other.status_code, other.json()["code"]) == (409, "COMMAND_ID_REUSED")
    assert exchange.api.data(f"/markets/{market['market_id']}") == before
