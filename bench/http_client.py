"""The client of `bench.http`, in its own process: keep-alive connections, each with one request in flight.

Reads a `Load` as JSON from its standard input, and prints a `Result`. It implements only the part of HTTP that it needs, and
so takes little CPU from the programs that it measures.
"""

import asyncio
import sys
from itertools import count
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


class Result(msgspec.Struct):
    """The figures; the times are per request."""

    orders: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float


END_OF_HEAD: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length: "


class Connection(asyncio.Protocol):
    """Sends a request, waits for the response, and sends the next one, until the time is up."""

    def __init__(self, load: Load, number: int, until: float, took: list[float]) -> None:
        self._load, self._number, self._until, self._took = load, number, until, took
        self._orders = count()
        self._buffer = b""
        self._began = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        path = "/v1/orders/batch" if load.batch else "/v1/orders"
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{load.port}\r\nauthorization: Bearer {load.keys[number]}\r\n"
            "content-type: application/json\r\ncontent-length: "
        )
        self._good = b"HTTP/1.1 200" if load.batch else b"HTTP/1.1 201"

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Handle a response, which may arrive in parts."""
        self._buffer = buffer = self._buffer + data
        head = buffer.find(END_OF_HEAD)
        if head < 0:
            return
        at = buffer.index(LENGTH) + len(LENGTH)
        if len(buffer) < head + len(END_OF_HEAD) + int(buffer[at : buffer.index(b"\r", at)]):
            return
        if not buffer.startswith(self._good) or b'"code"' in buffer:
            self.done.set_exception(AssertionError(buffer.decode()))
            self._transport.close()
            return
        now = perf_counter()
        self._took.append(now - self._began)
        self._buffer = b""
        if now < self._until:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        """Fail if the time was not up."""
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server hung up"))

    def _send(self) -> None:
        if self._load.batch:
            body = '{"orders":[' + ",".join(self._order() for _ in range(self._load.batch)) + "]}"
        else:
            body = self._order()
        self._began = perf_counter()
        self._transport.write(f"{self._head}{len(body)}{END_OF_HEAD.decode()}{body}".encode())

    def _order(self) -> str:
        """Return an order: a purchase for one credit and a sale of two shares, in turn."""
        number = next(self._orders)
        market = self._load.markets[(self._number + number) % len(self._load.markets)]
        terms = (
            '"sell","type":"market","quantity":"2.000000"' if number % 2 else '"buy","type":"market","spend":"1.000000"'
        )
        return (
            f'{{"client_order_id":"{self._load.run}-{number}","market_id":"{market}","outcome":"Yes","side":{terms}}}'
        )


async def main(load: Load) -> Result:
    """Send requests for the seconds of the load, and wait for the last responses."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    cpu, began = process_time(), perf_counter()
    connections = [Connection(load, number, began + load.seconds, took) for number in range(len(load.keys))]
    for connection in connections:
        await loop.create_connection(lambda connection=connection: connection, "127.0.0.1", load.port)  # type: ignore[misc]
    await asyncio.gather(*[connection.done for connection in connections])
    seconds = perf_counter() - began
    cuts = quantiles(took, n=100)
    orders = len(took) * (load.batch or 1)
    return Result(orders, seconds, cuts[49] * 1000, cuts[98] * 1000, process_time() - cpu)


if __name__ == "__main__":
    found = uvloop.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Load)))
    sys.stdout.buffer.write(msgspec.json.encode(found))
