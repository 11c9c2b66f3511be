"""A reader of `GET /v1/stream` for tests: blocks as a browser would dispatch them."""

from __future__ import annotations

import json
import socket
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Block:
    """One block: its event, its data, and the last id as it is after the block; `own_id` says whether the block set it."""

    event: str
    data: Any
    last_id: str
    own_id: bool


class Blocks:
    """The blocks of one connection, as they arrive. `status` and `headers` are those of the answer."""

    def __init__(self, connection: socket.socket, last_id: str = "") -> None:
        self.file = connection.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers: dict[str, str] = {}
        for line in iter(self.file.readline, b"\r\n"):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        self.last_id = last_id
        self.retry: int | None = None
        self._rest = b""

    def body(self) -> Any:
        """Return the JSON of an answer that is no stream."""
        return json.loads(self.file.read(int(self.headers["content-length"])))

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks with data; those with only an id move `last_id`."""
        while (chunk := self._chunk()) is not None:
            self._rest += chunk
            while b"\n\n" in self._rest:
                text, _, self._rest = self._rest.partition(b"\n\n")
                if (block := self._block(text.decode())) is not None:
                    yield block

    def until(self, enough: Callable[[Block], bool]) -> list[Block]:
        """Return the blocks up to the first one that is enough, or to the end."""
        found = []
        for block in self:
            found.append(block)
            if enough(block):
                break
        return found

    def _chunk(self) -> bytes | None:
        size = self.file.readline()
        if not size or int(size, 16) == 0:
            return None
        chunk = self.file.read(int(size, 16))
        return chunk if self.file.readline() else None

    def _block(self, text: str) -> Block | None:
        event, data, own = "message", None, False
        for line in text.split("\n"):
            name, _, value = line.partition(": ")
            if name == "id":
                self.last_id, own = value, True
            elif name == "event":
                event = value
            elif name == "data":
                data = json.loads(value)
            elif name == "retry":
                self.retry = int(value)
        return None if data is None else Block(event, data, self.last_id, own)


@contextmanager
def opened(url: str, query: str = "", *, key: str | None = None, **headers: str) -> Iterator[Blocks]:
    """Open a stream; the end of the block hangs up."""
    parts = urlsplit(url)
    with closing(socket.create_connection((parts.hostname, parts.port), timeout=20)) as connection:
        lines = [f"GET /v1/stream{query} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"Authorization: Bearer {key}"] if key else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        found = Blocks(connection)
        with found.file:
            yield found
