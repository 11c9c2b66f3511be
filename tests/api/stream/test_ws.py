"""`/v1/ws` of a real server: commands, snapshot then messages, `seq` without a gap."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def _connect(exchange: Exchange, key: str | None = None) -> ClientConnection:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    url = exchange.running.url.replace("http", "ws") + "/v1/ws"
    return connect(url, additional_headers=headers, compression=None, proxy=None)


def _send(socket: ClientConnection, cmd: str, number: int = 1, **params: Any) -> None:
    socket.send(json.dumps({"id": number, "cmd": cmd, "params": params}))


def _receive(socket: ClientConnection) -> dict[str, Any]:
    while (message := json.loads(socket.recv(timeout=10)))["type"] in {"beat", "mark"}:
        pass
    found: dict[str, Any] = message
    return found


def test_a_snapshot_and_its_messages_meet(exchange: Exchange) -> None:
    """The last prices of the messages are those of the read models; `seq` counts 1, 2, 3."""
    market, trader = exchange.market(), exchange.trader()
    trader.place(market["slug"])
    with _connect(exchange) as socket:
        _send(socket, "subscribe", channels=["trades", "prices"], markets=[market["slug"]])
        subscribed, snapshot = _receive(socket), _receive(socket)
        assert (subscribed["type"], subscribed["id"], subscribed["sid"]) == ("subscribed", 1, 1)
        assert (snapshot["type"], snapshot["seq"], snapshot["position"]) == ("snapshot", 0, subscribed["position"])
        assert [each["market"] for each in snapshot["msg"]["markets"]] == [market["slug"]]
        orders = [trader.place(market["slug"]) for _ in range(3)]
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1]["position"] < orders[-1]["position"] or messages[-1]["type"] != "prices":
            messages.append(_receive(socket))
    assert [each["seq"] for each in messages] == list(range(1, len(messages) + 1))
    assert all(each["position"] > snapshot["position"] and each["sid"] == 1 for each in messages)
    assert (
        messages[-1]["msg"]["prices"]
        == exchange.api.data(f"/markets/{market['slug']}", min_position=orders[-1]["position"])["odds"]
    )


def test_subscriptions_change_and_wrong_commands_are_answered(exchange: Exchange) -> None:
    """`update`, `list`, `unsubscribe`, `ping`; an error has our code and ends nothing."""
    one, two, trader = exchange.market(), exchange.market(), exchange.trader()
    with _connect(exchange) as socket:
        start = exchange.head()
        _send(socket, "subscribe", channels=["trades"], markets=[one["slug"]], after=start)
        assert _receive(socket)["position"] == start
        _send(socket, "update", 2, sid=1, add_markets=[two["slug"]], delete_markets=[one["slug"]])
        assert _receive(socket)["type"] == "updated"
        trader.place(one["slug"])
        trader.place(two["slug"])
        assert _receive(socket)["msg"]["market"] == two["slug"]
        _send(socket, "list", 3)
        assert [each["markets"] for each in _receive(socket)["subscriptions"]] == [[two["market_id"]]]
        _send(socket, "unsubscribe", 4, sids=[1])
        assert _receive(socket) == {"id": 4, "type": "unsubscribed", "sids": [1]}
        _send(socket, "ping", 5)
        assert _receive(socket)["type"] == "pong"
        for cmd, params, code in [
            ("shout", {}, "INVALID_FIELD"),
            ("subscribe", {"channels": ["odds"]}, "INVALID_FIELD"),
            ("subscribe", {"channels": ["orders"]}, "UNAUTHENTICATED"),
            ("subscribe", {"markets": ["nowhere"]}, "MARKET_NOT_FOUND"),
            ("update", {"sid": 7}, "INVALID_FIELD"),
        ]:
            _send(socket, cmd, 6, **params)
            answer = _receive(socket)
            assert (answer["type"], answer["id"], answer["code"]) == ("error", 6, code)
        socket.send("not json")
        assert _receive(socket)["code"] == "MALFORMED_JSON"
