"""Runs an engine, in a thread of its own or in the caller's, until it is asked to stop or fails."""

import threading
from contextlib import suppress
from typing import Final

import structlog

from consumers.engine.log import Fenced, LogLost, UnsafeLog
from consumers.engine.measures import EngineMeasures

_logger: Final = structlog.get_logger()


class EngineFailedError(Exception):
    """The engine stopped because an error of ours came again each time."""


class EngineRunner:
    """The start and the end of an engine, which says what is done in between (`_run`)."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._stopping, self._ready = threading.Event(), threading.Event()
        self._runner: threading.Thread | None = None
        self.measures = EngineMeasures()
        """What the engine counts, for metrics."""
        self.position = 0
        """The position of the last event that is known to be in the log."""
        self.error: Exception | None = None
        """Why the engine stopped by itself, or None."""

    def start(self) -> None:
        """Run in a thread; returns at once."""
        self._runner = threading.Thread(target=self._run_in_thread, name=f"engine-{self._partition}", daemon=True)
        self._runner.start()

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Return when the log is read and commands are taken. Raises what stopped the engine, or TimeoutError."""
        if not self._ready.wait(timeout_seconds):
            raise TimeoutError("the engine has not taken over the log in time")
        if self.error is not None:
            raise self.error

    def request_stop(self) -> None:
        """End after the current batch; returns at once, may be called in a signal handler."""
        self._stopping.set()
        self._wake()

    def stop(self) -> None:
        """End after the current batch, and wait for that."""
        self.request_stop()
        if self._runner is not None:
            self._runner.join()

    def run(self) -> None:
        """Run until stopped.

        Raises:
            Fenced: another engine writes the log.
            LogLost: the log is another one, or has lost events.
            UnsafeLog: a setting of the log or of a topic beside it could lose events.
            EngineFailedError: an error of ours came again and again.
        """
        _logger.info("engine_started", partition=self._partition)
        try:
            self._run()
        except Exception as error:
            self.error = error
            _logger.error(  # noqa: TRY400  the error is raised: its traceback is not lost
                "engine_stopped", partition=self._partition, error=str(error), position=self.position
            )
            raise
        else:
            _logger.info("engine_stopped", partition=self._partition, position=self.position)
        finally:
            self.measures.state = "stopped"
            self._ready.set()
            self._close()

    def _run_in_thread(self) -> None:
        with suppress(Fenced, LogLost, UnsafeLog, EngineFailedError):  # `error` has it
            self.run()

    def _wake(self) -> None:
        """End the wait for commands; may be called in a signal handler."""
        raise NotImplementedError

    def _run(self) -> None:
        """Do the work until `_stopping`. Sets `_ready` once commands are taken."""
        raise NotImplementedError

    def _close(self) -> None:
        """Close what was opened. `error` says why the engine ends."""
        raise NotImplementedError
