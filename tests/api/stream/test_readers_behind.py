"""Readers that are behind: one that the ring has left catches up from the log, and silent ones are ended and harm nobody."""

from __future__ import annotations

import json
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic, sleep
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest

from api.stream import hub, ring
from api.stream.replay import Archive
from local.processes import polls
from tests.api.command_line import tidings
from tests.api.conftest import Exchange, connected, start
from tests.api.stream.cutting import COLLECTORS
from tests.api.stream.reading import opened
from tests.api.stream.test_cut_connections import NO_LIMITS, told_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from api.stream.replay import Seed

SILENT = 200
SEND_SECONDS = 2.0
MEMORY_BYTES_MAX = 64 * 1024 * 1024


@pytest.fixture
def small(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    """An exchange without limits on reads, whose streams may take 2 s to be sent a chunk."""
    monkeypatch.setattr(hub, "SEND_SECONDS", SEND_SECONDS)
    with start(database, tmp_path, **NO_LIMITS) as running:
        found = connected(running)
        yield found
        found.api.client.close()


@pytest.mark.parametrize("transport", ["sse", "ws"])
def test_whoever_the_ring_has_left_catches_up_from_the_log(
    small: Exchange, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log, then the ring, then live, without a gap, while trading goes on."""
    monkeypatch.setattr(ring, "ENTRIES_MAX", 40)
    monkeypatch.setattr(ring, "SPARE", 10)
    market, trader = small.market(), small.trader()
    head, end = small.head(), Future[int]()
    with opened(small.running.url):  # from now on the ring gathers, and leaves behind what does not fit
        for number in range(60):
            trader.place(market["slug"], outcome=("Yes", "No")[number % 2], quantity="0.1")
        ends = monotonic() + 10
        while small.running.hub.ring.begins <= head:  # the hub may be a moment behind
            assert monotonic() < ends
            sleep(0.01)
        collector = COLLECTORS[transport](small.running.url, market["slug"], head)
        with ThreadPoolExecutor(1) as pool:
            collecting = pool.submit(collector.collect, end, 60)
            for _ in range(60):
                trader.place(market["slug"], quantity="0.1")
            end.set_result(small.api.done(f"/markets/{market['slug']}/halt")["position"])
            collecting.result()
    told = told_by(small.running.dependencies.log, market["market_id"])
    assert collector.seen == [each for each in told if each[0] > head]
    assert collector.connections == 1


def _silent(exchange: Exchange, number: int, head: int) -> socket.socket:
    """Open a stream that reads nothing, half of them over WebSocket, with small buffers of the system."""
    parts = urlsplit(exchange.running.url)
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect((parts.hostname, parts.port))
    path = "/v1/ws" if number % 2 else f"/v1/stream?channels=events&after={head}"
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {exchange.api.key}"]
    if number % 2:
        lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    found.sendall("\r\n".join([*lines, "", ""]).encode())
    if number % 2:
        command = json.dumps({"cmd": "subscribe", "params": {"channels": ["events"], "after": head}}).encode()
        assert len(command) < 126
        found.sendall(bytes([0x81, 0x80 | len(command)]) + bytes(4) + command)  # a text, masked with zeros
    return found


def test_silent_readers_are_ended_and_harm_nobody(small: Exchange) -> None:
    """200 of them, a megabyte behind: all gone soon, the memory is small, and another reader hears of orders at once."""
    market, trader = small.market(), small.trader("1000")
    with opened(small.running.url, f"?market={market['slug']}") as reader, ExitStack() as stack:
        next(iter(reader))
        head = small.head()
        for _ in range(14):
            orders = [trader.order(market["market_id"], quantity="0.01") for _ in range(100)]
            position = trader.api.done("/orders/batch", {"orders": orders})["results"][-1]["position"]
            reader.until(lambda block: int(block.last_id) >= position)  # noqa: B023  it is called at once
        memory, began = psutil.Process().memory_info().rss, monotonic()
        for number in range(SILENT):
            stack.enter_context(_silent(small, number, head))
        opened_seconds = monotonic() - began
        slowest = 0.0
        while (left := small.running.hub.status()["connections"]) > 1:
            assert monotonic() - began < 25 + opened_seconds, f"{left} are left"
            sent = monotonic()
            position = trader.place(market["slug"], quantity="0.01")["position"]
            reader.until(lambda block: int(block.last_id) >= position)  # noqa: B023  it is called at once
            slowest = max(slowest, monotonic() - sent)
            grown = psutil.Process().memory_info().rss - memory
            assert grown < MEMORY_BYTES_MAX
            sleep(0.1)
    assert slowest < 2.0


def test_status_and_lag_show_the_streams(small: Exchange) -> None:
    """How many there are, how far the log has been handed over, and how far behind the slowest is."""
    assert small.api.data("/status")["streams"] == {
        "connections": 0, "position": None, "lag_events": 0, "slowest_events": 0,
    }  # fmt: skip
    market = small.market()
    with opened(small.running.url) as one, opened(small.running.url, f"?market={market['slug']}") as other:
        for stream in (one, other):
            next(iter(stream))
        ends = monotonic() + 5
        while (shown := small.api.data("/status"))["streams"]["position"] != shown["engine"]["position"]:
            assert monotonic() < ends
            sleep(0.05)
        assert shown["streams"]["connections"] == 2
        assert shown["streams"]["lag_events"] == 0
        port = urlsplit(small.running.url).port
        settings = small.running.settings.model_copy(update={"port": port})
        lag = tidings(settings, "lag", "--json")
        assert json.loads(lag.stdout)["streams"]["connections"] == 2
        lines = tidings(settings, "lag").stdout.splitlines()
    assert lines[-1].split() == [
        "streams", str(shown["engine"]["position"]), *["2", "open,", "0", "events", "behind,", "the", "slowest", "0"],
    ]  # fmt: skip


def test_a_hub_that_has_rested_goes_on(small: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without streams it reads no log. The next stream gets what happened meanwhile and what follows, however slow the start."""
    found, seed = small.running.hub, Archive.seed

    def slow_seed(self: Archive) -> Seed:
        sleep(3 * hub.TICK_SECONDS)
        return seed(self)

    monkeypatch.setattr(hub, "IDLE_SECONDS", 0.1)
    market, trader = small.market(), small.trader()
    head = small.head()
    with opened(small.running.url) as stream:
        next(iter(stream))
    assert any(found._tailer is None for _ in polls(10))
    monkeypatch.setattr(hub, "IDLE_SECONDS", 30.0)
    monkeypatch.setattr(Archive, "seed", slow_seed)
    found._idle_since = monotonic() - 100  # it has been quiet for long
    trader.place(market["slug"], quantity="0.1")
    with opened(small.running.url, f"?channels=trades&market={market['slug']}&after={head}") as stream:
        assert [next(iter(stream)).event for _ in range(2)] == ["hello", "trades"]
        trader.place(market["slug"], quantity="0.1")
        assert next(iter(stream)).event == "trades"
