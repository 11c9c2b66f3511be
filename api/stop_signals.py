"""Waiting for SIGINT or SIGTERM."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

CHECK_SECONDS: Final = 1.0
"""The time between two looks at whether a process still works."""


class StopSignals:
    """SIGINT and SIGTERM as something to wait for, instead of an exception in the middle of the work. A context manager."""

    def __init__(self) -> None:
        self._received = threading.Event()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Handle both signals from now on."""
        for name in (signal.SIGINT, signal.SIGTERM):
            self._previous[name] = signal.signal(name, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the previous handlers."""
        for name, handler in self._previous.items():
            signal.signal(name, handler)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until one of the signals comes; return False when these seconds pass without one."""
        return self._received.wait(seconds)

    def _receive(self, number: int, _: FrameType | None) -> None:
        structlog.get_logger("process").info("stopping", signal=signal.Signals(number).name)
        self._received.set()


def wait_for_stop(problem: Callable[[], str | None]) -> str | None:
    """Wait for SIGINT or SIGTERM and return None, or return the first problem; `problem` is asked every second."""
    with StopSignals() as signals:
        while not signals.wait(CHECK_SECONDS):
            found = problem()
            if found is not None:
                return found
    return None
