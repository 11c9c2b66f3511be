"""Another command of this program as a child process: it ends when we end, even by kill -9."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from local.processes import StartError, end_with_us
from settings import environment

if TYPE_CHECKING:
    from settings import Settings

STOP_SECONDS: Final = 15
"""The time that a child has to stop before it is killed."""


class ChildProcess:
    """`tidings NAME` with the given settings, from its start on."""

    def __init__(self, name: str, settings: Settings, *, output: Any = None) -> None:
        """Start it. Its lines go to the file `output`. By default its log lines go to where ours go, and we read its stdout."""
        self._name = name
        self._process = subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, "-P", "-m", "api", name],  # -P: not from the user's folder
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=output,
            start_new_session=True,  # Ctrl-C in the terminal reaches only us, and we stop all in order
        )
        self._call_off = end_with_us(self._process.pid, signal.SIGTERM)

    @property
    def exit_code(self) -> int | None:
        """The code with which it ended, minus the signal's number if a signal ended it; None while it runs."""
        return self._process.poll()

    def wait_until_started(self, timeout_seconds: float) -> None:
        """Wait for the line on stdout that says that it has started. Raises StartError: it ended, or it is late."""
        assert self._process.stdout is not None, "it was started without an output"
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_seconds)
        if not ready:
            raise StartError(f"the {self._name} has not started in {timeout_seconds:.0f} s")
        if not self._process.stdout.readline():
            raise StartError(f"the {self._name} ended with exit code {self._process.wait()}")

    def stop(self) -> None:
        """Let it stop in order; kill it when that takes too long."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._call_off()
