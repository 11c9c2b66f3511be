"""Connections come in and end a few at a time: a crowd holds up nobody who is inside."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from api.http.bounded_http import BoundedHttp
from api.http.connections import CHECKED_AT_ONCE, Connections
from tests.api.http.test_connections import serving

if TYPE_CHECKING:
    import pytest

    from api.http.connections import Peer
    from tests.api.conftest import Exchange

CROWD = 300
REQUEST = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


def test_a_crowd_at_the_door_takes_turns(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds come while the event loop is busy. A request that comes after them is read before most are let in."""
    inside: list[int] = []
    work = Connections.work

    def noted(self: Connections, connection: BoundedHttp, peer: Peer) -> None:
        inside.append(len(self._open))
        work(self, connection, peer)

    monkeypatch.setattr(Connections, "work", noted)
    address = urlsplit(exchange.running.url)
    loop = exchange.running.http._server._doors[0]._loop
    with ExitStack() as stack:
        first = stack.enter_context(socket.create_connection((address.hostname, address.port)))
        first.sendall(REQUEST)
        assert first.recv(4096).startswith(b"HTTP/1.1 200")
        before = inside[-1]
        loop.call_soon_threadsafe(time.sleep, 1.0)
        time.sleep(0.1)
        crowd = [socket.create_connection((address.hostname, address.port)) for _ in range(CROWD)]
        for each in crowd:
            stack.enter_context(each)
        first.sendall(REQUEST)
        assert first.recv(4096).startswith(b"HTTP/1.1 200")
        assert inside[-1] < before + CROWD / 3
        for each in crowd:  # and all come in
            each.sendall(REQUEST)
            assert each.recv(4096).startswith(b"HTTP/1.1 200")


def test_those_that_were_silent_for_too_long_end_in_turns(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds are due at the same time. After a few of them the event loop takes up other work."""
    ended = [0]  # at each turn of the event loop
    end = BoundedHttp.end

    def noted(self: BoundedHttp, reason: str) -> None:
        if not ended[-1]:
            self.loop.call_soon(ended.append, 0)
        ended[-1] += 1
        end(self, reason)

    monkeypatch.setattr(BoundedHttp, "end", noted)
    with serving(exchange, header_ms=1_500) as url, ExitStack() as stack:
        crowd = [
            stack.enter_context(socket.create_connection((url.host, url.port or 0), timeout=30)) for _ in range(CROWD)
        ]
        assert [each.recv(1) for each in crowd] == [b""] * CROWD
    assert sum(ended) == CROWD
    assert max(ended) <= CHECKED_AT_ONCE
