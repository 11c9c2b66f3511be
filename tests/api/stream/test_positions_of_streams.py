"""Where a stream says that its reader is: while nothing comes for it, when it ends, and when it changes what it wants."""

from __future__ import annotations

import json
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from api.stream import catch_up, hub, key_check
from tests.api.conftest import Exchange, connected, start
from tests.api.stream.reading import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def slowly_beating(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    """An exchange whose streams beat after 0.6 s and tell positions that passed after 0.2 s."""
    monkeypatch.setattr(key_check, "RECHECK_SECONDS", 0.2)
    monkeypatch.setattr(hub, "MARK_SECONDS", 0.2)
    with start(database, tmp_path, stream_beat_ms=600) as running:
        found = connected(running)
        yield found
        found.api.client.close()


@contextmanager
def subscribed(exchange: Exchange, key: str | None = None, **params: Any) -> Iterator[ClientConnection]:
    """Open a socket with one subscription, whose answer has been read."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    url = exchange.running.url.replace("http", "ws") + "/v1/ws"
    with connect(url, additional_headers=headers, compression=None, proxy=None) as socket:
        socket.send(json.dumps({"id": 1, "cmd": "subscribe", "params": params}))
        assert json.loads(socket.recv(timeout=10))["type"] == "subscribed"
        yield socket


def closed_of(socket: ClientConnection) -> tuple[int, int, list[dict[str, Any]]]:
    """Return the code of a socket's end, where to go on, and what came before."""
    found: list[dict[str, Any]] = []
    try:
        while True:
            found.append(json.loads(socket.recv(timeout=10)))
    except ConnectionClosed as closed:
        end = closed.rcvd
    assert end is not None
    return end.code, json.loads(end.reason)["after"], found


def test_a_quiet_market_beats_while_others_trade(slowly_beating: Exchange) -> None:
    """A page cannot see a block that has only an id: marks put off no beat. Both transports tell what passed."""
    exchange, trader = slowly_beating, slowly_beating.trader()
    quiet, busy = exchange.market(), exchange.market()
    head = exchange.head()
    with (
        opened(exchange.running.url, f"?market={quiet['slug']}") as stream,
        subscribed(exchange, markets=[quiet["slug"]], after=head) as socket,
    ):
        ends, last = monotonic() + 2.5, 0
        while monotonic() < ends:
            last = trader.place(busy["slug"], quantity="0.01")["position"]
            sleep(0.05)
        end = exchange.api.done(f"/markets/{quiet['slug']}/halt")["position"]
        blocks = stream.until(lambda block: block.event == "lifecycle")
        told = [json.loads(socket.recv(timeout=10))]
        while told[-1]["type"] != "lifecycle":
            told.append(json.loads(socket.recv(timeout=10)))
    beats = [block for block in blocks if block.event == "beat"]
    assert len(beats) >= 2
    assert [each["type"] for each in told].count("beat") >= 2
    marks = [each["position"] for each in told if each["type"] == "mark"]
    assert len(marks) >= 4
    assert marks == sorted(set(marks))
    assert last - 10 <= marks[-1] < end
    assert all("seq" not in each for each in told[:-1])
    assert (told[-1]["seq"], told[-1]["position"]) == (1, end)


def test_a_stream_that_ends_says_what_was_sent(slowly_beating: Exchange) -> None:
    """What was due when the key turned out to be revoked was not sent: to go on behind it would leave it out."""
    exchange, trader = slowly_beating, slowly_beating.trader()
    market = exchange.market()
    made = exchange.api.done("/keys", {"roles": ["trader"], "account": trader.account_id})
    head, hub.MARK_SECONDS = exchange.head(), 30.0  # so that nothing but the order makes the streams look at their key
    with (
        opened(exchange.running.url, f"?channels=orders&after={head}", key=made["key"]) as stream,
        subscribed(exchange, made["key"], channels=["orders"], after=head) as socket,
    ):
        first = trader.place(market["slug"])["position"]
        stream.until(lambda block: block.event == "orders")
        assert exchange.api.send("DELETE", f"/keys/{made['key_id']}").status_code == 200
        sleep(0.25)
        second = trader.place(market["slug"])["position"]
        bye = stream.until(lambda block: block.event == "bye")[-1]
        code, after, messages = closed_of(socket)
    assert bye.data["code"] == code == 4001
    assert first <= bye.data["after"] < second
    assert first <= after < second
    assert [each["position"] for each in messages if each["type"] == "orders"] == [first]


def test_a_revoked_key_subscribes_to_nothing_more(slowly_beating: Exchange) -> None:
    """On a socket that it has opened before: the key is looked up before the first private message."""
    exchange, trader = slowly_beating, slowly_beating.trader()
    market = exchange.market()
    made = exchange.api.done("/keys", {"roles": ["trader"], "account": trader.account_id})
    trader.place(market["slug"])
    with subscribed(exchange, made["key"], markets=[market["slug"]], after=exchange.head()) as socket:
        key_check.RECHECK_SECONDS = 30.0
        assert exchange.api.send("DELETE", f"/keys/{made['key_id']}").status_code == 200
        socket.send(json.dumps({"id": 2, "cmd": "subscribe", "params": {"channels": ["orders"], "after": 0}}))
        code, _, messages = closed_of(socket)
    assert code == 4001
    assert "orders" not in [each["type"] for each in messages]


def test_a_change_while_the_log_is_read_leaves_nothing_out(
    slowly_beating: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that was read for the old markets is read again for the new ones, behind the position of the answer."""
    monkeypatch.setattr(catch_up, "EVENTS_PER_S", 50)
    exchange, trader = slowly_beating, slowly_beating.trader()
    one, two = exchange.market(), exchange.market()
    head = exchange.head()
    placed = {each["slug"]: [trader.place(each["slug"])["position"] for _ in range(5)] for each in (one, two)}
    end = exchange.api.done(f"/markets/{one['slug']}/halt")["position"]
    exchange.api.data(f"/markets/{one['slug']}", min_position=end)  # the stream begins here; all before is in the log
    with subscribed(exchange, channels=["trades", "lifecycle"], markets=[one["slug"]], after=head) as socket:
        socket.send(json.dumps({"id": 2, "cmd": "update", "params": {"sid": 1, "add_markets": [two["slug"]]}}))
        messages = [json.loads(socket.recv(timeout=10))]
        while messages[-1]["position"] < end or messages[-1]["type"] != "lifecycle":
            messages.append(json.loads(socket.recv(timeout=10)))
    (updated,) = (each for each in messages if each["type"] == "updated")
    trades = [(each["msg"]["market"], each["position"]) for each in messages if each["type"] == "trades"]
    assert trades == sorted(
        (
            (slug, position)
            for slug, positions in placed.items()
            for position in positions
            if slug == one["slug"] or position > updated["position"]
        ),
        key=lambda trade: trade[1],
    )
    assert updated["position"] == head, "the change came before the page"


def test_a_socket_asks_for_its_log(slowly_beating: Exchange) -> None:
    """With the log of an earlier answer, like `log` of an event stream: positions of another log mean nothing."""
    exchange = slowly_beating
    with subscribed(exchange, after=0) as socket:
        for log, kind in (("another", "error"), (exchange.running.hub.identity, "subscribed")):
            socket.send(json.dumps({"id": 2, "cmd": "subscribe", "params": {"after": 0, "log": log}}))
            while (answer := json.loads(socket.recv(timeout=10))).get("id") != 2:
                pass
            assert answer["type"] == kind
            assert answer.get("code") == ("LOG_CHANGED" if kind == "error" else None)
