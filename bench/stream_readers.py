"""The readers of `bench.stream`, in their own process: event streams that count what arrives, and look at the time of some.

    python -m bench.stream_readers PORT CONNECTIONS [POSITION]

Prints a line once all streams have said hello. Ends with its standard input, and then prints a `Delivered`. With a position,
one stream reads the log from its beginning up to there, and the seconds that this took are printed.
"""

import asyncio
import sys
from datetime import datetime
from time import perf_counter, process_time, time
from typing import Any, Final

import msgspec
import uvloop

from bench.http_client import percentiles

TIMED: Final = 10
"""One of so many streams looks at the time of what arrives."""

TIME: Final = b'"time":"'


class Delivered(msgspec.Struct):
    """The figures. A delivery is a piece with trades. `least` and `most` are the trades of the streams with fewest and most."""

    deliveries: int
    least: int
    most: int
    ended: int
    p50_ms: float
    p99_ms: float
    cpu_seconds: float


class Reader(asyncio.Protocol):
    """One stream."""

    def __init__(self, port: int, *, timed: bool) -> None:
        self.trades = self.deliveries = 0
        self.late: list[float] = []
        self.hello: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = False
        self._port, self._timed = port, timed

    def connection_made(self, transport: Any) -> None:
        """Ask for the stream."""
        transport.write(b"GET /v1/stream?channels=trades,prices HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n" % self._port)

    def data_received(self, data: bytes) -> None:
        """Count trades."""
        if not self.hello.done():
            if b"event: hello" in data:
                self.hello.set_result(None)
            elif not data.startswith(b"HTTP/1.1 200"):
                self.hello.set_exception(AssertionError(data.decode()))
            return
        trades = data.count(b"event: trades")
        self.trades += trades
        self.deliveries += bool(trades)
        if trades and self._timed:
            at = data.index(TIME) + len(TIME)
            happened = datetime.fromisoformat(data[at : data.index(b'"', at)].decode()).timestamp()
            self.late.append((time() - happened) * 1000)

    def connection_lost(self, _: Exception | None) -> None:
        """Note an end that nobody wanted."""
        self.ended = True


async def main(port: int, count: int) -> Delivered:
    """Read until the standard input ends."""
    loop = asyncio.get_running_loop()
    readers = [Reader(port, timed=number % TIMED == 0) for number in range(count)]
    for start in range(0, count, 50):
        some = readers[start : start + 50]
        await asyncio.gather(
            *[loop.create_connection(lambda reader=reader: reader, "127.0.0.1", port) for reader in some]  # type: ignore[misc]
        )
        await asyncio.gather(*[reader.hello for reader in some])
    print("open", flush=True)
    cpu = process_time()
    await asyncio.to_thread(sys.stdin.read)
    trades = [reader.trades for reader in readers]
    p50, p99 = percentiles([each for reader in readers for each in reader.late])
    ended = sum(reader.ended for reader in readers)
    deliveries = sum(reader.deliveries for reader in readers)
    return Delivered(deliveries, min(trades), max(trades), ended, p50, p99, process_time() - cpu)


async def read_all(port: int, position: int) -> float:
    """Read the log from its beginning up to a position; return the seconds."""
    began = perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(b"GET /v1/stream?after=0 HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n" % port)
    reached = 0
    if not (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"):
        raise AssertionError(f"it was refused: {await reader.read(4096)!r}")
    while reached < position:
        line = await reader.readline()
        if not line or line.startswith(b"event: bye"):
            raise AssertionError(f"it ended after {reached}: {line!r} {await reader.readline()!r}")
        if line.startswith(b"id: "):
            reached = int(line[4:])
    writer.close()
    return perf_counter() - began


if __name__ == "__main__":
    if len(sys.argv) > 3:
        print(uvloop.run(read_all(int(sys.argv[1]), int(sys.argv[3]))))
    else:
        print(msgspec.json.encode(uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))).decode())
