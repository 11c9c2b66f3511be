"""Why streams end, and what is left out of them: revoked keys, too many commands, `progress`, `conflate`."""

from __future__ import annotations

import json
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from api.stream import key_check, tailer
from api.stream.subscriber import FRAMES_MAX, Subscriber
from tests.api.conftest import Exchange, connected, start
from tests.api.stream.reading import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def beating(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    """An exchange whose streams beat each 0.3 s and look at their keys each 0.2 s."""
    monkeypatch.setattr(key_check, "RECHECK_SECONDS", 0.2)
    with start(database, tmp_path, stream_beat_ms=300) as running:
        found = connected(running)
        yield found
        found.api.client.close()


def _socket(exchange: Exchange, key: str | None = None) -> Any:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return connect(exchange.running.url.replace("http", "ws") + "/v1/ws", additional_headers=headers, proxy=None)


def _subscribe(socket: Any, *channels: str) -> None:
    socket.send(json.dumps({"id": 1, "cmd": "subscribe", "params": {"channels": channels, "after": 0}}))


def _end_of(socket: Any) -> int:
    try:
        while True:
            socket.recv(timeout=10)
    except ConnectionClosed as closed:
        ended = closed
    assert ended.rcvd is not None
    return int(ended.rcvd.code)


def test_a_revoked_key_ends_private_streams_only(beating: Exchange) -> None:
    """Both transports end with 4001; a public stream with the same key goes on."""
    trader = beating.trader()
    made = beating.api.done("/keys", {"roles": ["trader"], "account": trader.account_id})
    with (
        opened(beating.running.url, "?channels=orders", key=made["key"]) as private,
        opened(beating.running.url, key=made["key"]) as public,
        _socket(beating, made["key"]) as socket,
    ):
        assert (private.status, public.status) == (200, 200)
        _subscribe(socket, "orders")
        assert json.loads(socket.recv(timeout=10))["type"] == "subscribed"
        assert beating.api.send("DELETE", f"/keys/{made['key_id']}").status_code == 200
        assert private.until(lambda block: block.event == "bye")[-1].data["code"] == 4001
        assert _end_of(socket) == 4001
        assert public.until(lambda block: block.event in {"bye", "beat"})[-1].event == "beat"


def test_too_many_commands_end_a_socket(beating: Exchange) -> None:
    """20 commands in a second are answered; more end it with 4029."""
    with _socket(beating) as socket:
        for number in range(20):
            socket.send(json.dumps({"id": number, "cmd": "ping"}))
        assert [json.loads(socket.recv(timeout=10))["id"] for _ in range(20)] == list(range(20))
        with suppress(ConnectionClosed):  # the server need not wait for all of them
            for number in range(40):
                socket.send(json.dumps({"id": number, "cmd": "ping"}))
        assert _end_of(socket) == 4029


def test_progress_follows_the_read_models(beating: Exchange) -> None:
    """It says when the read models have an event, and nothing of the event."""
    market, trader = beating.market(), beating.trader()
    with opened(beating.running.url, "?channels=progress") as stream:
        stream.until(lambda block: block.event == "hello")
        position = trader.place(market["slug"])["position"]
        blocks = stream.until(lambda block: block.event == "progress" and block.data["projected"] >= position)
    assert {block.event for block in blocks} <= {"progress", "beat"}
    assert all(block.data["head"] >= block.data["projected"] for block in blocks)


def test_conflation_leaves_out_prices_only(beating: Exchange) -> None:
    """All trades come, the last price too, positions only rise, and there are fewer prices than orders."""
    market, trader = beating.market(), beating.trader()
    orders = [trader.place(market["slug"]) for _ in range(10)]
    query = f"?market={market['slug']}&channels=trades,prices&conflate=true&after=0"
    last = orders[-1]["position"]
    with opened(beating.running.url, query) as stream:
        blocks = [
            each
            for each in stream.until(lambda block: block.own_id and int(block.last_id) >= last)
            if "position" in each.data
        ]
        orders += [trader.place(market["slug"]) for _ in range(10)]
        last = orders[-1]["position"]
        blocks += [
            each
            for each in stream.until(lambda block: block.own_id and int(block.last_id) >= last)
            if "position" in each.data
        ]
    positions = [block.data["position"] for block in blocks]
    assert positions == sorted(positions)
    trades = [block.data["position"] for block in blocks if block.event == "trades"]
    assert trades == [order["position"] for order in orders]
    prices = [block for block in blocks if block.event == "prices"]
    assert len(prices) < len(orders)
    assert prices[-1].data["prices"] == beating.api.data(f"/markets/{market['slug']}", min_position=last)["odds"]


@pytest.mark.parametrize("where", ["hub", "tailer"])
def test_an_error_of_ours_ends_the_process(beating: Exchange, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Streams that nobody feeds would only beat: they end, and whoever watches the process starts it again."""
    market, trader = beating.market(), beating.trader()
    with opened(beating.running.url) as stream:
        stream.until(lambda block: block.event == "hello")
        assert beating.running.problem() is None
        if where == "hub":
            monkeypatch.setattr(Subscriber, "offer", lambda *_: 1 / 0)
        else:
            monkeypatch.setattr(tailer, "decoded", lambda _: 1 / 0)
        trader.place(market["slug"])
        assert stream.until(lambda block: block.event == "bye")[-1].data["code"] == 1012
    assert beating.running.problem() == "the stream stopped: division by zero"


def test_a_burst_ends_no_stream(beating: Exchange) -> None:
    """Several times as many events at once as a queue holds: whoever reads gets each of them."""
    hub = beating.running.hub
    trader, market = beating.trader(), beating.market()
    with opened(beating.running.url, "?channels=trades") as stream:
        stream.until(lambda block: block.event == "hello")
        position = trader.place(market["slug"])["position"]
        stream.until(lambda block: block.event == "trades" and int(block.last_id) >= position)
        entry, first = hub.ring.after(position - 1, 1)[0], position + 1
        burst = [copy(entry) for _ in range(3 * FRAMES_MAX)]
        for number, each in enumerate(burst):
            each.position, each._cuts = first + number, {}
        assert hub._loop is not None
        hub._loop.call_soon_threadsafe(hub._on_entries, burst)
        last = str(burst[-1].position)
        blocks = stream.until(lambda block: block.event == "bye" or block.last_id == last)
    assert [block.event for block in blocks if block.event != "beat"] == ["trades"] * len(burst)
