"""Digests: a default that is spelled out makes no other command of it."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from domain.orders import PlaceOrder
from messages import commands
from messages.codecs import command_codec
from messages.commands import command_of, dump_with_digest, order_command_id
from tests.messages.digest import digest_of
from tests.messages.test_commands import MARKET, ORDER, STORY


@pytest.mark.parametrize(("order_type", "default"), [("limit", "GTC"), ("market", "IOC")])
def test_a_default_spelled_out_is_the_same_order(order_type: Any, default: Any) -> None:
    """From Python and by both paths from the wire, it has the digest of the order that leaves it out; no other value has."""
    order = replace(ORDER, type=order_type)
    command_id = order_command_id("ac_a", "c-1")
    digests = {}
    for named in (None, "GTC", "GTD", "IOC", "FOK"):
        data = command_codec(PlaceOrder).dump(replace(order, time_in_force=named))
        read = commands._fast_order(command_id, msgspec.Raw(msgspec.json.encode(data)))
        assert read is not None
        found = {digest_of(replace(order, time_in_force=named)), digest_of(command_of("PlaceOrder", command_id, data))}
        found |= {
            commands._digest("PlaceOrder", read[1]),
            dump_with_digest(command_id, replace(order, time_in_force=named))[1],
        }
        assert len(found) == 1
        digests[named] = found.pop()

    assert digests[default] == digests[None]
    assert len(set(digests.values())) == len(digests) - 1


def test_a_market_with_the_prices_that_it_has_anyway_is_the_same_market() -> None:
    """Alone and in a story; other prices are another market."""
    for prices, same in [((500_000, 500_000), True), ((400_000, 600_000), False), ((), True)]:
        market = replace(MARKET, initial_prices=prices)
        assert (digest_of(market) == digest_of(MARKET)) is same
        assert (digest_of(replace(STORY, markets=(market,))) == digest_of(STORY)) is same
    three = replace(MARKET, outcomes=("a", "b", "c"))
    assert digest_of(three) == digest_of(replace(three, initial_prices=(333_334, 333_333, 333_333)))
    assert digest_of(three) != digest_of(replace(three, initial_prices=(333_333, 333_334, 333_333)))
    assert digest_of(replace(MARKET, outcomes=())) != digest_of(MARKET)
