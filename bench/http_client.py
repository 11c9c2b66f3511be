"""The client of `bench.http` and `bench.whole`, in its own process: keep-alive connections, each with one request in flight.

Reads a `Load` as JSON from its standard input, and prints a `Result`. It implements only the part of HTTP that it needs, and
so takes little CPU from the programs that it measures.
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from math import inf
from statistics import quantiles
from time import perf_counter, process_time
from typing import Any, Final

import msgspec
import uvloop


class Load(msgspec.Struct):
    """The requests to send."""

    port: int
    keys: list[str]
    """One connection for each key; the key's account trades."""
    markets: list[str]
    run: str
    """The beginning of the ids of this run's orders."""
    seconds: float
    batch: int = 0
    """Orders per request; 0 for single orders, which have another path."""
    accounts: list[str] = []
    """The account of each key. With accounts there are ten reads to one order (`CYCLE`)."""
    orders_per_s: float = 0.0
    """The rate of single orders; 0 for as many as possible."""
    orders: int = 0
    """The number of orders of each connection; 0 for as many as the time allows."""
    timed: bool = False
    """Whether the result has the time of each request."""


class Result(msgspec.Struct):
    """The figures; the times are per request."""

    orders: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    by_kind_ms: dict[str, tuple[float, float]]
    """The p50 and p99 of each kind of request."""
    replies: list[tuple[float, int]]
    """When the log had come to a position: the clock (`perf_counter`, which all processes share) and the position."""
    took: list[tuple[float, float]]
    """The clock at each answer, and the seconds that its request took, in order. Empty unless the load is `timed`."""


CYCLE: Final = (
    *("order", "market", "history", "portfolio", "market", "leaderboard"),
    *("market", "history", "portfolio", "market", "history"),
)
"""The requests of a user: an order and ten reads."""

POSITION: Final = b'"position":'
NOTE_SECONDS: Final = 0.002
"""The time from one noted reply to the next: there are thousands a second."""

END_OF_HEAD: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length: "


class Notes:
    """What the connections of one run have seen."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.took: defaultdict[str, list[float]] = defaultdict(list)
        self.replies: list[tuple[float, int]] = [(began, 0)]
        self.moments: list[float] = []

    def note(self, kind: str, seconds: float, now: float, buffer: bytes) -> None:
        """Note how long a request took, and the position in its reply."""
        self.took[kind].append(seconds)
        self.moments.append(now)
        if kind == "order" and now > self.replies[-1][0] + NOTE_SECONDS and (at := buffer.rfind(POSITION)) > 0:
            digits = buffer[at + len(POSITION) : at + len(POSITION) + 20]
            self.replies.append((now, int(digits[: len(digits) - len(digits.lstrip(b"0123456789"))])))


class Connection(asyncio.Protocol):
    """Sends a request, waits for the response, and sends the next one, until the time is up."""

    def __init__(self, load: Load, number: int, notes: Notes) -> None:
        self._load, self._number, self._notes = load, number, notes
        self._until = notes.began + load.seconds
        self._pause = len(load.keys) / load.orders_per_s if load.orders_per_s else 0.0
        self._due = notes.began + self._pause * number / len(load.keys)
        self._sent = 0  # orders
        self._kinds = cycle(CYCLE[number % len(CYCLE) :] + CYCLE[: number % len(CYCLE)] if load.accounts else ["order"])
        self._buffer = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        path = "/v1/orders/batch" if load.batch else "/v1/orders"
        frame = f"HTTP/1.1\r\nhost: 127.0.0.1:{load.port}\r\nauthorization: Bearer {load.keys[number]}\r\n"
        self._head = f"POST {path} {frame}content-type: application/json\r\ncontent-length: "
        self._frame = frame
        self._good = b"HTTP/1.1 200" if load.batch else b"HTTP/1.1 201"

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self._transport = transport
        self._send_when_due()

    def data_received(self, data: bytes) -> None:
        """Handle a response, which may arrive in parts."""
        self._buffer = buffer = self._buffer + data
        head = buffer.find(END_OF_HEAD)
        if head < 0:
            return
        at = buffer.index(LENGTH) + len(LENGTH)
        if len(buffer) < head + len(END_OF_HEAD) + int(buffer[at : buffer.index(b"\r", at)]):
            return
        good = self._good if self._kind == "order" else b"HTTP/1.1 200"
        if not buffer.startswith(good) or (self._kind == "order" and b'"code"' in buffer):
            self.done.set_exception(AssertionError(buffer.decode()))
            self._transport.close()
            return
        now = perf_counter()
        self._notes.note(self._kind, now - self._sent_at, now, buffer)
        self._buffer = b""
        if now < self._until and self._sent < (self._load.orders or inf):
            self._send_when_due()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        """Fail if the time was not up."""
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server hung up"))

    def _send_when_due(self) -> None:
        if self._pause and (early := self._due - perf_counter()) > 0:
            asyncio.get_running_loop().call_later(early, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self._kind = next(self._kinds)
        self._due += self._pause
        if self._kind != "order":
            request = f"GET {self._path()} {self._frame}\r\n"
        else:
            body = self._order()
            if self._load.batch:
                body = '{"orders":[' + ",".join([body, *[self._order() for _ in range(self._load.batch - 1)]]) + "]}"
            request = f"{self._head}{len(body)}{END_OF_HEAD.decode()}{body}"
        self._sent_at = perf_counter()
        self._transport.write(request.encode())

    def _path(self) -> str:
        """Return what to read next."""
        account, market = self._load.accounts[self._number], self._load.markets[self._number % len(self._load.markets)]
        return {
            "market": f"/v1/markets/{market}",
            "history": f"/v1/markets/{market}/prices-history?outcome=Yes&interval=1d&fidelity=5",
            "portfolio": f"/v1/accounts/{account}/positions",
            "leaderboard": "/v1/leaderboard",
        }[self._kind]

    def _order(self) -> str:
        """Return an order: a purchase for one credit and a sale of two shares, in turn."""
        number = self._sent
        self._sent += 1
        market = self._load.markets[(self._number + number) % len(self._load.markets)]
        terms = (
            '"sell","type":"market","quantity":"2.000000"' if number % 2 else '"buy","type":"market","spend":"1.000000"'
        )
        return (
            f'{{"client_order_id":"{self._load.run}-{number}","market_id":"{market}","outcome":"Yes","side":{terms}}}'
        )


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [*values] * 99
    return cuts[49], cuts[98]


async def main(load: Load) -> Result:
    """Send requests for the seconds of the load, and wait for the last responses."""
    loop = asyncio.get_running_loop()
    cpu, notes = process_time(), Notes(perf_counter())
    connections = [Connection(load, number, notes) for number in range(len(load.keys))]
    for connection in connections:
        await loop.create_connection(lambda connection=connection: connection, "127.0.0.1", load.port)  # type: ignore[misc]
    await asyncio.gather(*[connection.done for connection in connections])
    seconds = perf_counter() - notes.began
    by_kind = {kind: percentiles([value * 1000 for value in took]) for kind, took in notes.took.items()}
    p50, p99 = percentiles([value * 1000 for took in notes.took.values() for value in took])
    orders = len(notes.took["order"]) * (load.batch or 1)
    took = list(zip(notes.moments, notes.took["order"], strict=True)) if load.timed else []
    return Result(orders, seconds, p50, p99, process_time() - cpu, by_kind, notes.replies, took)


if __name__ == "__main__":
    found = uvloop.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Load)))
    sys.stdout.buffer.write(msgspec.json.encode(found))
