"""Fields of an order that do not go together are refused, whatever the market and the account."""

import pytest
from msgspec.structs import replace

from domain.money import MICRO
from domain.rejections import Code
from tests.domain.scenario import CLOSE, TRADERS, YES_NO, buy, given, sell


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "quantity"),
        ({"quantity": MICRO, "spend": MICRO}, "quantity"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": 10**15 + 1}, "quantity"),
        ({"spend": 0}, "spend"),
        ({"spend": MICRO, "limit_price": 500_000}, "spend"),
        ({"quantity": MICRO, "max_cost": 0}, "max_cost"),
        ({"quantity": MICRO, "min_proceeds": 1}, "min_proceeds"),
        ({"quantity": MICRO, "min_proceeds": -1}, "min_proceeds"),
        ({"quantity": MICRO, "reduce_only": True}, "reduce_only"),
        ({"quantity": MICRO, "post_only": True}, "post_only"),
        ({"quantity": MICRO, "limit_price": 500_000, "post_only": True, "time_in_force": "IOC"}, "post_only"),
        ({"quantity": MICRO, "time_in_force": "GTC"}, "time_in_force"),
        ({"quantity": MICRO, "limit_price": 500_000, "time_in_force": "GTD"}, "expires_at"),
        ({"quantity": MICRO, "limit_price": 500_000, "expires_at": CLOSE}, "expires_at"),
    ],
)
def test_fields_that_do_not_go_together_are_refused_by_name(fields: dict[str, object], field: str) -> None:
    """The refusal names the field."""
    given(*YES_NO, *TRADERS).when(buy("alice", "Yes", **fields)).rejected(Code.INVALID_FIELD, field=field)


def test_type_and_price_go_together() -> None:
    """A limit order has a price, a market order has none."""
    scenario = given(*YES_NO, *TRADERS)
    wish = buy("alice", "Yes", quantity=MICRO, limit_price=500_000)
    scenario.when(replace(wish, limit_price=None)).rejected(Code.INVALID_FIELD, field="limit_price")
    scenario.when(replace(wish, type="market")).rejected(Code.INVALID_FIELD, field="limit_price")
    scenario.when(sell("alice", "Yes", quantity=MICRO, max_cost=MICRO)).rejected(Code.INVALID_FIELD, field="max_cost")
    scenario.when(sell("alice", "Yes", spend=MICRO)).rejected(Code.INVALID_FIELD, field="spend")


@pytest.mark.parametrize("price", [0, 500, 999, 500_001, 999_001, 1_000_000, -1000])
def test_prices_lie_on_the_tick(price: int) -> None:
    """Prices are 0.001 to 0.999 in steps of 0.001."""
    given(*YES_NO, *TRADERS).when(buy("alice", "Yes", quantity=MICRO, limit_price=price)).rejected(Code.INVALID_PRICE)


def test_an_order_cannot_expire_in_the_past() -> None:
    """It cannot expire at the present time either."""
    scenario = given(*YES_NO, *TRADERS)
    wish = buy("alice", "Yes", quantity=MICRO, limit_price=400_000, time_in_force="GTD", expires_at=scenario.time + 1)
    scenario.when(wish).rejected(Code.ORDER_EXPIRED, expires_at=scenario.time)
