"""How the hub brings an event to its readers: written once for all of them, after the orders that are under way."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Event
from typing import TYPE_CHECKING

from api.stream import hub as hubs
from api.stream.subscriber import Portion, Subscriber
from local.processes import polls
from tests.api.stream.reading import opened

if TYPE_CHECKING:
    import pytest

    from api.stream.subscriber import Closed
    from tests.api.conftest import Exchange

READERS = 5
SOON = 10.0


def test_what_all_readers_get_is_sent_past_their_tasks(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for them, so their tasks go on waiting. Each reader has the whole trade, once, and its position."""
    taken: list[Portion] = []
    take = Subscriber.take

    async def noted(self: Subscriber) -> Portion | Closed:
        found = await take(self)
        if isinstance(found, Portion) and found.events:
            taken.append(found)
        return found

    monkeypatch.setattr(Subscriber, "take", noted)
    market, trader = exchange.market(), exchange.trader()
    hub = exchange.running.hub
    with ExitStack() as stack:
        query = f"?channels=trades,prices&market={market['slug']}"
        streams = [stack.enter_context(opened(exchange.running.url, query)) for _ in range(READERS)]
        for _ in polls(SOON):
            readers = tuple(hub._by_market.get(market["market_id"], ()))
            if len(readers) == READERS and all(each._waiter is not None for each in readers):
                break
        position = trader.place(market["slug"])["position"]

        for stream in streams:
            blocks = stream.until(lambda block: block.event == "prices")
            assert [block.event for block in blocks] == ["hello", "trades", "prices"]
            assert [block.last_id for block in blocks[1:]] == [blocks[0].last_id, str(position)]
        assert [each.sent for each in readers] == [position] * READERS
    assert taken == []


def test_orders_that_are_under_way_go_first(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers hear of a trade when the orders that came meanwhile have their replies, or after a while."""
    market, trader = exchange.market(), exchange.trader()
    hub, asked, replied = exchange.running.hub, Event(), Event()

    def under_way() -> int:
        asked.set()
        return not replied.is_set()

    with opened(exchange.running.url, f"?channels=trades&market={market['slug']}") as stream:
        next(iter(stream))
        assert any(hub.delivered >= exchange.head() for _ in polls(SOON))
        monkeypatch.setattr(hub, "_under_way", under_way)
        monkeypatch.setattr(hubs, "PATIENCE_SECONDS", 60.0)
        position = trader.place(market["slug"])["position"]
        assert asked.wait(SOON)
        assert hub.delivered < position
        replied.set()
        assert next(iter(stream)).event == "trades"

        monkeypatch.setattr(hub, "_under_way", lambda: 1)
        monkeypatch.setattr(hubs, "PATIENCE_SECONDS", 0.01)
        trader.place(market["slug"])
        assert next(iter(stream)).event == "trades"
