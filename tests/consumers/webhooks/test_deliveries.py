"""What events say to webhooks: the messages of the stream that pass the filter, and the same whenever they are made."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from consumers.webhooks.deliveries import WebhookFilter, delivery_of
from domain.account import TradeSettled
from domain.market import MarketDrafted
from messages.channels import FollowedMarket, FollowedMarkets, StreamedLifecycle, StreamedTrade, wire_of
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.events import Recorded

UNKNOWN = {"price_after", "resting_outcome", "resting_side", "resting_price_after"}
"""What one event may not know of a trade."""


@pytest.fixture(scope="module")
def log() -> Sequence[Recorded]:
    """A log in which every event type occurs."""
    return simulate(3, 700)


def markets_of(log: Sequence[Recorded]) -> dict[str, FollowedMarket]:
    """Return all markets as their first event has them."""
    return {
        each.event.market_id: FollowedMarket(each.event.slug, each.event.outcomes, None)
        for each in log
        if isinstance(each.event, MarketDrafted)
    }


def messages(log: Sequence[Recorded], wanted: WebhookFilter) -> list[tuple[str, dict[str, Any]]]:
    """Return the channel and data of all messages to a webhook, in order."""
    markets = markets_of(log)
    found = []
    for recorded in log:
        delivery = delivery_of(recorded, wanted, markets.__getitem__)
        if delivery is None:
            continue
        body = json.loads(delivery.body)
        assert body["type"] == recorded.event.TOPIC.partition(".")[0]
        assert (body["data"]["position"], body["data"]["market_id"]) == (recorded.position, delivery.market_id)
        assert body["data"]["messages"], "nothing is sent about nothing"
        found += [(each["channel"], each["data"]) for each in body["data"]["messages"]]
    return found


def test_messages_are_those_of_the_stream(log: Sequence[Recorded]) -> None:
    """Trades and lifecycle, each once; null only where one event does not know a field."""
    followed = FollowedMarkets()
    expected = [
        wire_of(each)
        for recorded in log
        for each in followed.follow(recorded)
        if isinstance(each, StreamedTrade | StreamedLifecycle)
    ]
    found = [data for _, data in messages(log, WebhookFilter(lifecycle=True, min_cost=0, fills_of=None))]
    assert len(found) == len(expected) > 100
    for ours, streamed in zip(found, expected, strict=True):
        differing = {name for name in streamed if ours[name] != streamed[name]}
        assert differing <= UNKNOWN
        assert all(ours[name] is None for name in differing)


def test_trades_below_the_amount_are_left_out(log: Sequence[Recorded]) -> None:
    """Those of exactly the amount are there."""
    every = [data for _, data in messages(log, WebhookFilter(lifecycle=False, min_cost=0, fills_of=None))]
    costs = sorted(int(data["cost"].replace(".", "")) for data in every)
    middle = costs[len(costs) // 2]
    large = messages(log, WebhookFilter(lifecycle=False, min_cost=middle, fills_of=None))
    assert len(large) == sum(cost >= middle for cost in costs) < len(every)


def test_fills_of_an_account_are_told_once(log: Sequence[Recorded]) -> None:
    """Their shares sum to what the account's settlements say, for each account; nothing of others is in them."""
    settled: Counter[str] = Counter()
    for recorded in log:
        if isinstance(recorded.event, TradeSettled):
            settled[recorded.event.account_id] += recorded.event.quantity
    assert len(settled) > 3
    for account_id, quantity in settled.items():
        told = 0
        for channel, message in messages(log, WebhookFilter(lifecycle=False, min_cost=None, fills_of=account_id)):
            assert channel == "orders"
            assert message["account_id"] == account_id
            data = message["data"]
            fills = data["execution"]["fills"] if "execution" in data else [data]
            told += sum(int(each["quantity"].replace(".", "")) for each in fills)
            if "execution" in data:
                assert all(each["account_id"] is None for each in fills)
        assert told == quantity


def test_a_body_follows_from_its_event_alone(log: Sequence[Recorded]) -> None:
    """It is the same whatever was made before it: else an attempt after a restart would send another one."""
    markets, wanted = markets_of(log), WebhookFilter(lifecycle=True, min_cost=0, fills_of=None)
    forwards = [delivery_of(each, wanted, markets.__getitem__) for each in log]
    backwards = [delivery_of(each, wanted, markets.__getitem__) for each in reversed(log)]
    assert forwards == backwards[::-1]
