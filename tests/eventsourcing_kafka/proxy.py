"""A TCP proxy on this machine whose connections can be cut, delayed and lost."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self


class Proxy:
    """Forwards connections to a port of this machine, in a thread of its own.

    While it is cut, nothing gets through and nobody notices: connections stay open, and new ones are accepted. Data that
    was sent meanwhile arrives late, after `heal`, although the sender may have given up. While it is slow, all data is
    late. While it is a black hole, data is lost, in both directions or only the answers; `heal` resets these connections.
    """

    def __init__(self, port: int, target: int) -> None:
        """Listen on `port`, forward to `target`."""
        self._port = port
        self._target = target
        self._delay_seconds = 0.0
        self._loses: set[str] = set()
        self._lossy: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)

    def cut(self) -> None:
        """Let nothing through."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def delay(self, seconds: float) -> None:
        """Let everything through so much later."""
        self._delay_seconds = seconds

    def lose(self, *directions: str) -> None:
        """Lose all data of these directions, "requests" and "answers"."""
        self._loses = set(directions)

    def heal(self) -> None:
        """Let everything through again, beginning with the data that has waited."""
        self._delay_seconds, self._loses = 0.0, set()
        self._loop.call_soon_threadsafe(self._whole.set)
        self._loop.call_soon_threadsafe(self._reset)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *args: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        self._loop.close()

    def _reset(self) -> None:
        for writer in self._lossy:
            writer.transport.abort()
        self._lossy.clear()

    async def _serve(self) -> None:
        self._whole.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._ready.set()
        await self._end.wait()
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._whole.wait()
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._forward(reader, to_writer, "requests"), self._forward(to_reader, writer, "answers"))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._whole.wait()
                if direction in self._loses:
                    self._lossy.add(writer)
                    continue
                if self._delay_seconds:
                    await asyncio.sleep(self._delay_seconds)
                writer.write(data)
                await writer.drain()
        self._lossy.discard(writer)
        writer.close()
