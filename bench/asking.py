"""Reads over HTTP from one event loop, for parts that need many clients at a time."""

import asyncio
from typing import NamedTuple


class ShortAnswer(NamedTuple):
    """The status of an answer, and its headers by their names in lower case."""

    status: int
    headers: dict[str, str]


class Asker:
    """A keep-alive connection with one request in flight."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, **headers: str) -> ShortAnswer:
        """Read a path and pass over the body. The underscores of headers' names are hyphens."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items() if value)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}\r\n".encode())
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        found = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        await reader.readexactly(int(found.get("content-length", 0)))
        return ShortAnswer(int(status.split(" ", 2)[1]), found)

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
