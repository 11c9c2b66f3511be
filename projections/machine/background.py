"""Threads that run as long as their process, and what they may outlive: a database or a log that is away, nothing else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

DATABASE_FAULTS: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
"""What psycopg raises while PostgreSQL is away or fails. Its other errors say that a statement of ours is wrong."""


class Background(threading.Thread):
    """A daemon thread that names the faults it outlives. Any other error ends it, and is logged with its traceback.

    Whoever runs the process asks for `problem` and ends the process: nobody would do the thread's work any more.
    """

    def __init__(self, work: Callable[..., object], name: str, *arguments: Any) -> None:
        super().__init__(target=work, name=name, args=arguments, daemon=True)
        self.error: Exception | None = None
        """The error that has ended it, or None."""

    def run(self) -> None:
        """Do the work."""
        try:
            super().run()
        except Exception as error:  # noqa: BLE001  whoever runs the process is told
            self.error = error
            structlog.get_logger("process").exception("thread_stopped", thread=self.name)

    def problem(self) -> str | None:
        """Return the error that has ended the thread as a sentence, or None."""
        return None if self.error is None else f"{self.name} stopped: {type(self.error).__name__}: {self.error}"
