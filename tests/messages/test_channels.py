"""The stream's messages of a simulated log are the rows of the read models."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from api.http.serializers import serialize
from domain.account import TradeSettled
from domain.money import format_decimal, parse_decimal
from messages.channels import FollowedMarkets, StreamedLifecycle, StreamedOrder, StreamedPrices, StreamedTrade, wire_of
from messages.wire import format_time
from projections import lifecycle
from projections.markets import listing, prices
from projections.reading import read
from projections.registry import PROJECTIONS
from projections.trades import trades
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from tests.projections.folding import Copy, ReadModels

PARTIES = {"account_id", "order_id", "resting_account_id", "resting_order_id"}


def _rows(copy: Copy) -> tuple[list[Any], list[Any], list[Any]]:
    """Return all trades, ticks and lifecycle events of the read models in JSON's types, oldest first."""
    found: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    with read(copy.connection, *PROJECTIONS) as as_of:
        for market in listing.newest(copy.connection, as_of, limit=1000):
            market_id = market.market_id
            for row in trades.market_trades(copy.connection, as_of, market_id, limit=100_000):
                named = {name: value for name, value in serialize(row).items() if name not in PARTIES}
                found[0].append({**named, "market": market.slug})
            every = range(len(market.outcomes))
            page = prices.histories(copy.connection, as_of, market_id, every)
            for name, ticks in zip(market.outcomes, page.ticks, strict=True):
                for tick in ticks:
                    found[1].append(
                        (tick.position, market_id, name, format_time(tick.time), format_decimal(tick.price))
                    )
            for entry in lifecycle.market_events(copy.connection, as_of, market_id, limit=1000):
                row_json = serialize(entry)
                if "account_id" in row_json["data"]:
                    row_json["data"]["account_id"] = None
                found[2].append({**row_json, "market": market.slug})
    found[0].sort(key=lambda row: (row["position"], row["number"]))
    found[1].sort()
    found[2].sort(key=lambda row: row["position"])
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_messages_are_the_rows_of_the_read_models(read_models: ReadModels, seed: int) -> None:
    """Trades, ticks and lifecycle, row by row, over a log in which every event type occurs."""
    log = simulate(seed, 900)
    expected = _rows(read_models.copy().fold(log, 500))
    followed = FollowedMarkets()
    messages = [message for recorded in log for message in followed.follow(recorded)]
    assert [wire_of(each) for each in messages if isinstance(each, StreamedTrade)] == expected[0]
    assert expected[0], "the simulation trades"
    last: dict[tuple[str, str], str] = {}
    ticks = []
    for each in messages:
        if isinstance(each, StreamedPrices):
            for name, price in each.prices.items():
                if last.get((each.market_id, name)) != price:
                    ticks.append((each.position, each.market_id, name, format_time(each.time), price))
                    last[each.market_id, name] = price
    assert sorted(ticks) == expected[1]
    assert [wire_of(each) for each in messages if isinstance(each, StreamedLifecycle)] == expected[2]


def test_each_fill_of_an_order_is_told_once() -> None:
    """What the channel `orders` says an order traded adds up to what the log settled."""
    log, followed = simulate(3, 900), FollowedMarkets()
    settled: Counter[str] = Counter()
    resting = 0
    for recorded in log:
        if isinstance(event := recorded.event, TradeSettled):
            settled[event.order_id] += event.quantity
            resting += event.role == "resting"
    told: Counter[str] = Counter()
    for message in (each for recorded in log for each in followed.follow(recorded) if isinstance(each, StreamedOrder)):
        fills = message.data["execution"]["fills"] if "execution" in message.data else []
        for fill in [*fills, *([message.data] if message.type in {"TradeSettled", "RestingOrderFilled"} else [])]:
            told[message.order_id] += parse_decimal(fill["quantity"])
    assert told == settled
    assert resting > 10
