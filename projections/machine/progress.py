"""Waiting until read models have come to a position, without asking the database again and again.

A notification only says that it is time to look: anybody who may connect can send one, so what is believed is the table.
"""

import asyncio
import threading
from collections.abc import Iterable
from time import monotonic
from typing import Final

import psycopg
import structlog

from projections.machine.store import CHANNEL, SCHEMA

_log: Final = structlog.get_logger()

RETRY_SECONDS_MAX: Final = 5.0


class Progress:
    """How far every read model is, looked up whenever a notification comes; one thread and one connection a process."""

    def __init__(self, dsn: str, partition: int = 0, schema: str = SCHEMA) -> None:
        self._dsn = dsn
        self._partition = partition
        self._schema = schema
        self._positions: dict[str, int] = {}
        self._moved = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End listening; who still waits is told that it did not come."""
        self._stopping.set()
        with self._moved:
            self._moved.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def position(self, names: Iterable[str]) -> int:
        """Return the position that all of these read models have reached, as far as is known here."""
        return min((self._positions.get(name, 0) for name in names), default=0)

    def wait(self, names: Iterable[str], position: int, timeout_seconds: float) -> bool:
        """Wait until all of these read models have folded the position; return whether they have, in that time."""
        ends = monotonic() + timeout_seconds
        with self._moved:
            while self.position(names) < position:
                left = ends - monotonic()
                if left <= 0 or self._stopping.is_set():
                    return False
                self._moved.wait(left)
        return True

    async def wait_async(self, names: Iterable[str], position: int, timeout_seconds: float) -> bool:
        """Wait likewise, without holding up the event loop."""
        if self.position(names) >= position:
            return True
        return await asyncio.to_thread(self.wait, names, position, timeout_seconds)

    def _listen(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                with psycopg.connect(
                    self._dsn, autocommit=True, options=f"-c search_path={self._schema}"
                ) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._read_all(connection)
                    pause = 0.1
                    while not self._stopping.is_set():
                        # One look for all that have come together.
                        if list(connection.notifies(timeout=0.2, stop_after=1)):
                            self._read_all(connection)
            except psycopg.Error as error:
                _log.warning("progress_unknown", error=str(error), retry_seconds=pause)
                self._stopping.wait(pause)
                pause = min(2 * pause, RETRY_SECONDS_MAX)

    def _read_all(self, connection: psycopg.Connection) -> None:
        try:
            rows = connection.execute(
                "SELECT projection, position FROM projection_positions WHERE partition = %s", [self._partition]
            ).fetchall()
        except psycopg.errors.UndefinedTable:
            return
        for name, position in rows:
            self._reach(name, position)

    def _reach(self, name: str, position: int) -> None:
        with self._moved:
            if position > self._positions.get(name, 0):
                self._positions[name] = position
                self._moved.notify_all()
