"""The threads that a test starts, apart from those of tests before it, which may start and end at any time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import pytest

from local.processes import polls

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED: Final = frozenset({"wait-guard"})
"""The names of threads that go on as long as any part of the process needs them, whoever started them."""


class OwnThreads:
    """The threads that the test's thread has started, and those that they have started."""

    def __init__(self) -> None:
        self._started = {threading.current_thread()}

    def note(self, thread: threading.Thread) -> None:
        """Note a thread that the running thread is about to start."""
        if threading.current_thread() in self._started and thread.name not in SHARED:
            self._started.add(thread)

    def running(self) -> list[threading.Thread]:
        """Return those that run now, without the test's own."""
        return [each for each in tuple(self._started) if each.is_alive() and each is not threading.current_thread()]

    def left(self, seconds: float = 10) -> list[threading.Thread]:
        """Return those that still run after so many seconds; return none as soon as all have ended."""
        for _ in polls(seconds):
            if not self.running():
                return []
        return self.running()


@pytest.fixture
def own_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnThreads]:
    """The threads that this test starts. Name it before the fixtures whose threads count."""
    own, start = OwnThreads(), threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        own.note(thread)
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", noted)
        yield own
