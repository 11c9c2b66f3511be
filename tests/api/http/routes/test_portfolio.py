"""The portfolio: one answer that agrees with what each of its parts says alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_a_portfolio_is_what_its_parts_say(exchange: Exchange) -> None:
    """Balances and profit, positions with their markets and stories, and open orders; now and then."""
    market, other, trader = (
        exchange.market(),
        exchange.market(outcomes=["Red", "Green", "Blue"]),
        exchange.trader("100"),
    )
    trader.place(market["market_id"], quantity="5")
    trader.place(other["market_id"], outcome="Green", quantity="2")
    trader.place(other["market_id"], outcome="Red", type="limit", limit_price="0.1", quantity="5")
    at = trader.place(market["market_id"], side="sell", quantity="1")["position"]
    trader.place(market["market_id"], quantity="1")

    path = f"/accounts/{trader.account_id}"
    for when in ({"as_of_position": at}, {"min_position": exchange.head()}):
        portfolio = trader.api.data(f"{path}/portfolio", **when)
        held, orders = portfolio.pop("positions"), portfolio.pop("orders")
        assert portfolio == trader.api.data(path, **when)
        assert orders == trader.api.data(f"{path}/orders", open=True, **when)
        assert len(orders) == 1
        alone = trader.api.data(f"{path}/positions", **when)
        assert [{name: row[name] for name in alone[0]} for row in held] == alone
        for row in held:
            of = exchange.api.data(f"/markets/{row['market_id']}", **when)
            story = exchange.api.data(f"/stories/{of['story_id']}", **when)
            assert (row["market"], row["question"], row["status"]) == (of["slug"], of["question"], of["status"])
            assert (row["story_id"], row["story"], row["title"]) == (of["story_id"], story["slug"], story["title"])
            assert row["outcomes"] == [each["outcome"] for each in of["outcomes"]]
    assert {row["outcome"] for row in held} == {"Yes", "Green"}
