"""Helpers for servers on this machine: a lock between processes, a free port, a process that ends when ours ends.

POSIX only (Linux, macOS).
"""

from __future__ import annotations

import contextlib
import fcntl
import random
import socket
import subprocess
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Linux gives clients ports from 32768 up. A client that keeps trying to connect to such a port could be given that very
# port: it would connect to itself, and the server could never start.
PORTS = range(20_000, 32_000)

_POLL_SECONDS = 0.05


class StartError(RuntimeError):
    """A local server did not start or stop in time. The message ends with the last lines of its log."""


def free_port() -> int:
    """Return a TCP port from `PORTS` that nobody listens on at 127.0.0.1.

    The port is not reserved: call this late, and start the server at once.
    """
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            # As servers do. Without it the system refuses a port for a minute after it was used.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise StartError(f"no free port between {PORTS.start} and {PORTS.stop}")


@contextlib.contextmanager
def locked(path: Path, *, timeout_seconds: float = 120) -> Iterator[None]:
    """Hold a lock on the file `path` in this block: one process at a time. If we are killed, the system releases it.

    Raises:
        StartError: another process has held it for `timeout_seconds`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for _ in polls(timeout_seconds):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield
            return
    raise StartError(f"another process has held {path} for {timeout_seconds} s")


def polls(timeout_seconds: float) -> Iterator[float]:
    """Yield the seconds that are left, at once and then every 50 ms, until `timeout_seconds` have passed."""
    deadline = time.monotonic() + timeout_seconds
    while (left := deadline - time.monotonic()) > 0:
        yield left
        time.sleep(min(_POLL_SECONDS, left))


def end_with_us(pid: int, sign: signal.Signals) -> Callable[[], None]:
    """Send `sign` to process `pid` when this process ends, even by kill -9; return a function that cancels this.

    A shell reads from a pipe that only this process holds open, and acts when the pipe closes. (PR_SET_PDEATHSIG exists
    on Linux only, and fires when the thread that started the child ends.)
    """
    guard = subprocess.Popen(  # noqa: S603  # fixed words and two numbers
        ["/bin/sh", "-c", 'read -r never; kill -"$1" "$0" 2>/dev/null', str(pid), str(sign.value)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal reaches us only
        cwd="/",
        env={},
    )

    def call_off() -> None:
        guard.kill()
        guard.communicate()

    return call_off


def last_lines(path: Path, count: int = 25) -> str:
    """Return the last lines of a text file, or an empty string if the file does not exist."""
    try:
        with path.open(errors="replace") as file:
            return "".join(deque(file, count)).rstrip()
    except FileNotFoundError:
        return ""
