"""What a backtest and the process of its strategy tell each other: frames of msgpack, each with its length before it."""

from __future__ import annotations

from typing import IO, Final

import msgspec

LENGTH_BYTES: Final = 4


class LogStep(msgspec.Struct, array_like=True):
    """To the strategy: the events since the last step, as the log keeps them, and the position of the recorded command.

    Each event is its stream, its version there, its topic and its state.
    """

    position: int
    events: list[tuple[str, int, str, bytes]]


class StrategyAnswer(msgspec.Struct, array_like=True):
    """From the strategy: what it sends, in its order; or the traceback of the error that it ended with.

    An order is the `data` of a PlaceOrder command as JSON, without its ids. A cancellation is a market's id, or "" for all.
    """

    sent: list[tuple[str, bytes]]
    error: str = ""


def write_frame(file: IO[bytes], frame: LogStep | StrategyAnswer) -> None:
    """Write one frame."""
    content = msgspec.msgpack.encode(frame)
    file.write(len(content).to_bytes(LENGTH_BYTES, "big") + content)
    file.flush()


def read_frame(file: IO[bytes]) -> bytes | None:
    """Return the content of the next frame, None where the other side has ended."""
    length = file.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    content = file.read(int.from_bytes(length, "big"))
    return content if len(content) == int.from_bytes(length, "big") else None
