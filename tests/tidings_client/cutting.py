"""A connection to a real server that breaks where a test says."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Cutter:
    """A TCP proxy. `limits` has, connection by connection, the bytes of the answer that pass; without one all pass.

    The server's wish to be left alone for seconds is made shorter, so that a test may have many cuts.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.limits: list[int] = []
        self.change: Callable[[bytes], bytes] = lambda data: data
        self.connections = 0

    def run(self) -> None:
        """Accept connections until the end."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                self.connections += 1
                limit = self.limits.pop(0) if self.limits else None
                threading.Thread(target=self._pass, args=(near, far, None), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, limit), daemon=True).start()

    def cut(self) -> None:
        """Break all connections."""
        while self._open:
            _break(self._open.pop())

    def close(self) -> None:
        """Accept no more, and break all."""
        _break(self._listener)
        self.cut()

    def _pass(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                answer = source.getpeername() == self._target
                passed = self.change(re.sub(rb"retry: \d{4}\n", b"retry: 0010\n", data)) if answer else data
                target.sendall(passed if limit is None else passed[:limit])
                if limit is not None and (limit := limit - len(passed)) <= 0:
                    break
        _break(source)
        _break(target)


def _break(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def cutting(url: str) -> Iterator[Cutter]:
    """Run a proxy before a server."""
    cutter = Cutter(url)
    thread = threading.Thread(target=cutter.run, daemon=True)
    thread.start()
    try:
        yield cutter
    finally:
        cutter.close()
        thread.join(5)
