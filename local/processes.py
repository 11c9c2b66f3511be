"""Small helpers for servers started on this machine: a lock between processes, a free port, an end with ours.

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

# From 32768 on Linux hands ports out to clients: a client that keeps connecting to a server not yet up could be given
# the server's own port, meet itself, and keep the server from ever starting.
PORTS = range(20_000, 32_000)

_POLL_SECONDS = 0.05


class StartError(RuntimeError):
    """A local server did not start or stop in time; the message ends with the last lines it wrote."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on, from `PORTS`.

    It is not reserved: choose late, and start the server at once.
    """
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            # Servers bind with SO_REUSEADDR too; without it a port just left would be refused for a minute.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise StartError(f"no free port between {PORTS.start} and {PORTS.stop}")


@contextlib.contextmanager
def locked(path: Path, *, timeout_seconds: float = 120) -> Iterator[None]:
    """Hold the file `path` for this block: of all processes only one is inside. The system frees it if we are killed.

    Raises:
        StartError: somebody else has held it for `timeout_seconds`.
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
    """Yield at once and then every 50 ms, with the seconds that are left, until `timeout_seconds` have gone."""
    deadline = time.monotonic() + timeout_seconds
    while (left := deadline - time.monotonic()) > 0:
        yield left
        time.sleep(min(_POLL_SECONDS, left))


def end_with_us(pid: int, sign: signal.Signals) -> Callable[[], None]:
    """Send `sign` to process `pid` when this process ends, however it ends (kill -9 too); the result calls that off.

    A shell waits for the end of a pipe that only we hold open. (Linux's PR_SET_PDEATHSIG would fire when the starting
    thread ends, and exists nowhere else.)
    """
    guard = subprocess.Popen(  # noqa: S603  # fixed words and two numbers
        ["/bin/sh", "-c", 'read -r never; kill -"$1" "$0" 2>/dev/null', str(pid), str(sign.value)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal is for us
        cwd="/",
        env={},
    )

    def call_off() -> None:
        guard.kill()
        guard.communicate()

    return call_off


def last_lines(path: Path, count: int = 25) -> str:
    """Return the last lines of a text file, or an empty string when there is none."""
    try:
        with path.open(errors="replace") as file:
            return "".join(deque(file, count)).rstrip()
    except FileNotFoundError:
        return ""
