"""Every message of a real server over both transports is one that docs/asyncapi-stream.yaml declares."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema_rs
from websockets.sync.client import connect

from messages.stream_page import stream_page
from tests.api.stream.reading import opened

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

PAGE = stream_page()


def problems(way: str, messages: list[tuple[str, Any]]) -> list[str]:
    """Return what of some messages, by name, the page does not declare."""
    found = []
    for name, message in messages:
        schema = {**PAGE["components"]["messages"][f"{way}.{name}"]["payload"], "components": PAGE["components"]}
        found += [f"{name}: {each.message}" for each in jsonschema_rs.Draft202012Validator(schema).iter_errors(message)]
    return found


def story(exchange: Exchange) -> tuple[str, str, int, int]:
    """Trade with a resting order; return a trader's key, the market, and where this begins and ends."""
    start = exchange.head()
    market, ada, bob = exchange.market(), exchange.trader(), exchange.trader()
    ada.place(market["slug"], type="limit", quantity="10", limit_price="0.4")
    bob.place(market["slug"], outcome="No", quantity="60")
    end = exchange.api.done(f"/markets/{market['slug']}/halt")["position"]
    return str(ada.api.key), market["slug"], start, end


def test_event_streams_say_what_is_declared(exchange: Exchange) -> None:
    """All channels, `hello`, `progress` and `reset`."""
    key, market, start, end = story(exchange)
    seen: list[tuple[str, Any]] = []
    for given, channels in ((key, "trades,prices,lifecycle,orders,progress"), (exchange.api.key, "events,lifecycle")):
        query = f"?channels={channels}&market={market}&after={start}"
        with opened(exchange.running.url, query, key=given) as stream:
            blocks = stream.until(lambda block: block.event == "lifecycle" and block.data["position"] >= end)
            seen += [(block.event, block.data) for block in blocks]
    with opened(exchange.running.url, f"?after={end + 1_000_000}") as stream:
        seen += [(block.event, block.data) for block in stream.until(lambda block: block.event == "reset")]
    assert {name for name, _ in seen} >= {"hello", "trades", "prices", "lifecycle", "orders", "events", "reset"}
    assert problems("sse", seen) == []


def test_sockets_say_and_take_what_is_declared(exchange: Exchange) -> None:
    """All channels but `events`, every command and its answer, an error."""
    key, market, start, end = story(exchange)
    params = {"channels": ["trades", "prices", "lifecycle", "orders"], "markets": [market], "after": start}
    commands = [
        {"id": 1, "cmd": "subscribe", "params": params},
        {"id": 2, "cmd": "subscribe", "params": {"markets": [market], "conflate": True}},
        {"id": 3, "cmd": "update", "params": {"sid": 2, "add_markets": [market]}},
        {"id": 4, "cmd": "list"},
        {"id": "five", "cmd": "unsubscribe", "params": {"sids": [2]}},
    ]
    seen: list[tuple[str, Any]] = []
    url = exchange.running.url.replace("http", "ws") + "/v1/ws"
    with connect(url, additional_headers={"authorization": f"Bearer {key}"}, proxy=None) as socket:
        for command in [*commands, {"id": 6, "cmd": "update", "params": {"sid": 9}}, {"id": 7, "cmd": "ping"}]:
            socket.send(json.dumps(command))
        open_ones = {"pong", "lifecycle"}
        while open_ones:
            message = json.loads(socket.recv(timeout=10))
            seen.append((message["type"], message))
            if message["type"] != "lifecycle" or message["position"] >= end:
                open_ones.discard(message["type"])
    assert {name for name, _ in seen} >= {
        "subscribed", "snapshot", "updated", "subscriptions", "unsubscribed", "error", "pong",
        "trades", "prices", "lifecycle", "orders",
    }  # fmt: skip
    assert problems("ws", seen) == []
    assert problems("command", [(str(command["cmd"]), command) for command in commands]) == []
