"""Frames: how two of our processes tell each other messages through a pipe. Each has its length before it."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from typing import IO, Final

LENGTH_BYTES: Final = 4

PIPE_BYTES: Final = 1 << 20
"""The size of a widened pipe: the most that Linux allows everybody."""


def widen_pipe(file: IO[bytes]) -> None:
    """Let a pipe hold a megabyte, where the system allows it.

    A large frame is then read and written in few steps, each of which waits for its turn beside busy threads.
    """
    with suppress(OSError, AttributeError):  # only Linux has it
        fcntl.fcntl(file, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def write_frame(file: IO[bytes], *parts: bytes) -> None:
    """Write one frame, which consists of these parts. Raises BrokenPipeError where the other side has ended."""
    file.write(sum(map(len, parts)).to_bytes(LENGTH_BYTES, "big"))
    for part in parts:
        file.write(part)
    file.flush()


def read_frame(file: IO[bytes]) -> bytes | None:
    """Return the content of the next frame, None where the other side has ended."""
    length = file.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    content = file.read(int.from_bytes(length, "big"))
    return content if len(content) == int.from_bytes(length, "big") else None
