"""What a backtest and the process of its strategy tell each other, as msgpack."""

from __future__ import annotations

import msgspec


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
