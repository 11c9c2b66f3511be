"""Learns at once which keys were revoked, in whatever process: it listens to a channel of PostgreSQL."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import psycopg
import structlog

from api.key_store import CHANNEL
from projections.machine.background import DATABASE_FAULTS, Background

if TYPE_CHECKING:
    from api.http.auth import Keys

POLL_SECONDS: Final = 0.25
"""The time between two questions to PostgreSQL, whose answers bring the notifications that came meanwhile."""

IDLE_SECONDS: Final = 1.0
"""The same while nobody uses a key. The first request afterwards looks its key up again."""

RETRY_SECONDS_MAX: Final = 2.0
"""The longest pause before it connects again."""


class KeyWatch:
    """Empties the cache of `Keys` when a key was revoked, and tells it how recent this knowledge is.

    While PostgreSQL does not answer, the knowledge grows old, and `Keys` looks every key up again.
    """

    def __init__(self, dsn: str, keys: Keys) -> None:
        self._dsn = dsn
        self._keys = keys
        self._stopping = threading.Event()
        self._thread = Background(self._run, "key-watch")
        self.problem = self._thread.problem

    def start(self) -> None:
        """Start to listen, in a thread and with a connection of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True) as connection:
                    connection.add_notify_handler(lambda _: self._keys.forget())
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._keys.forget()  # what was revoked before is not told again
                    while not self._stopping.is_set():
                        began = time.monotonic()
                        connection.execute("SELECT 1")
                        self._keys.heard_at = began
                        pause = 0.1
                        is_used = began - self._keys.used_at < IDLE_SECONDS
                        self._stopping.wait(POLL_SECONDS if is_used else IDLE_SECONDS)
            except DATABASE_FAULTS as error:
                structlog.get_logger("api").warning("key_watch_lost", error=str(error), retry_seconds=pause)
                self._stopping.wait(pause)
                pause = min(2 * pause, RETRY_SECONDS_MAX)
