"""The clock of an engine."""

from collections.abc import Callable
from time import time_ns

from domain.money import Time

Clock = Callable[[], Time]


def system_clock() -> Time:
    """Return the time of this machine."""
    return time_ns() // 1_000
