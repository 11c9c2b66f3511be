"""A proxy that cuts connections at random bytes, and clients of both transports that go on behind each cut."""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

if TYPE_CHECKING:
    from concurrent.futures import Future
    from random import Random

    from tests.api.conftest import Api

CHANNELS = ("trades", "prices", "lifecycle")
PARTIES = {"account_id", "account", "order_id", "resting_account_id", "resting_account", "resting_order_id"}
Seen = tuple[int, str, dict[str, Any]]
"""A message: position, channel, and all that it says."""


class CuttingProxy:
    """Passes connections on to a server, and resets each one after some bytes of its answer, until `cuts_left` is 0."""

    def __init__(self, url: str, chance: Random, cuts: int) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname, parts.port)
        self._chance = chance
        self.cuts_left = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=20)

    def _begin(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._server)
                except ConnectionRefusedError:
                    client.close()
                    continue
                self._begin(self._pass, client, server, None)
                self._begin(self._pass, server, client, self._chance.randrange(1, 5_000))

    def _pass(self, source: socket.socket, target: socket.socket, left: int | None) -> None:
        cuts = left is not None and self.cuts_left > 0
        with suppress(OSError):
            while data := source.recv(65_536):
                if cuts and left is not None and len(data) >= left:
                    target.sendall(data[:left])
                    self.cuts_left -= 1
                    break
                target.sendall(data)
                left = None if left is None else left - len(data)
        for each in (source, target):
            with suppress(OSError):
                if cuts:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Collector:
    """A client that resumes at the last position that it has whole, until it is at the end; `seen` are its messages."""

    def __init__(self, url: str, market: str, after: int) -> None:
        self.url, self.market, self.after = url, market, after
        self.seen: list[Seen] = []
        self.connections = 0
        self._pending: list[Seen] = []
        self._end: Future[int]

    def collect(self, end: Future[int], seconds: float) -> None:
        """Collect everything up to a position, which may be known later only."""
        self._end, ends = end, monotonic() + seconds
        while not self.reached():
            assert monotonic() < ends, f"at {self.after} after {self.connections} connections"
            self.connections += 1
            self._pending = []
            with suppress(OSError, EOFError, httpx.HTTPError, WebSocketException):
                self.read()
            sleep(0.005)

    def reached(self) -> bool:
        """Return whether everything is there."""
        return self._end.done() and self.after >= self._end.result()

    def read(self) -> None:
        """Read one connection."""
        raise NotImplementedError

    def take(self, channel: str, message: dict[str, Any]) -> None:
        """Note a message; it counts once its position is whole."""
        self._pending.append((message["position"], channel, message))

    def whole(self, position: int) -> None:
        """Note that everything up to a position is there."""
        self.seen += self._pending
        self._pending, self.after = [], position


class EventStreamCollector(Collector):
    """Over server-sent events: a position is whole with its id."""

    def read(self) -> None:
        """Read one connection."""
        headers = {"last-event-id": str(self.after)}
        parameters = {"market": self.market, "channels": ",".join(CHANNELS)}
        with httpx.stream("GET", f"{self.url}/v1/stream", params=parameters, headers=headers, timeout=30) as found:
            block: dict[str, str] = {}
            for line in found.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    block[name] = value
                    continue
                if block.get("event") in CHANNELS:
                    self.take(block["event"], json.loads(block["data"]))
                if "id" in block:
                    self.whole(int(block["id"]))
                block = {}
                if self.reached():
                    return


class SocketCollector(Collector):
    """Over WebSocket: a position is whole with its message without `more`. `seq` must count without a gap."""

    def read(self) -> None:
        """Read one connection."""
        url = self.url.replace("http", "ws") + "/v1/ws"
        with connect(url, compression=None, proxy=None, close_timeout=1, open_timeout=10) as found:
            params = {"channels": CHANNELS, "markets": [self.market], "after": self.after}
            found.send(json.dumps({"id": 1, "cmd": "subscribe", "params": params}))
            seq = 0
            while not self.reached():
                message = json.loads(found.recv(timeout=30))
                if message["type"] in CHANNELS:
                    seq += 1
                    assert message["seq"] == seq
                    self.take(message["type"], message["msg"])
                if message["type"] in {*CHANNELS, "beat"} and "more" not in message:
                    self.whole(message["position"])


COLLECTORS = {"sse": EventStreamCollector, "ws": SocketCollector}


def rows_of(api: Api, market: str, position: int) -> tuple[list[dict[str, Any]], dict[str, list[tuple[int, str]]]]:
    """Return the trades of a market in the read models, without parties, and by outcome the ticks of its price."""
    trades: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        given = {"cursor": page["next_cursor"]} if page["next_cursor"] else {"min_position": position}
        page = api.get(f"/markets/{market}/trades", limit=1000, **given).json()
        trades += page["data"]
    trades.sort(key=lambda row: (row["position"], row["number"]))
    shown = [{name: value for name, value in row.items() if name not in PARTIES} | {"market": market} for row in trades]
    histories = api.data(f"/markets/{market}/prices-history", min_position=position)["histories"]
    return shown, {each["outcome"]: [(tick["position"], tick["p"]) for tick in each["history"]] for each in histories}


def rows_in(seen: list[Seen]) -> tuple[list[dict[str, Any]], dict[str, list[tuple[int, str]]]]:
    """Return the same from the messages of a market from its beginning."""
    ticks: dict[str, list[tuple[int, str]]] = {}
    for position, channel, message in seen:
        for outcome, price in message["prices"].items() if channel == "prices" else ():
            history = ticks.setdefault(outcome, [])
            if not history or history[-1][1] != price:
                history.append((position, price))
    return [message for _, channel, message in seen if channel == "trades"], ticks
