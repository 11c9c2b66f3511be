"""Waiting until read models have reached a position, without polling the database.

A notification only says that it is time to look. Anybody who may connect can send one, so only the table is believed.
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
"""The longest pause before it connects again; the first is 0.1 seconds, each one twice the last."""


class Progress:
    """The position of every read model, looked up at each notification, in one thread and one connection per process."""

    def __init__(self, dsn: str, partition: int = 0, schema: str = SCHEMA) -> None:
        self._dsn = dsn
        self._partition = partition
        self._schema = schema
        self._positions: dict[str, int] = {}
        self._moved = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="progress", daemon=True)

    def start(self) -> None:
        """Start to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; calls that still wait return False."""
        self._stopping.set()
        with self._moved:
            self._moved.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def position(self, names: Iterable[str]) -> int:
        """Return the last known position that all of these read models have reached."""
        return min((self._positions.get(name, 0) for name in names), default=0)

    def wait(self, names: Iterable[str], position: int, timeout_seconds: float) -> bool:
        """Wait until all of these read models have folded the position; return whether they did in that time."""
        ends = monotonic() + timeout_seconds
        with self._moved:
            while self.position(names) < position:
                left = ends - monotonic()
                if left <= 0 or self._stopping.is_set():
                    return False
                self._moved.wait(left)
        return True

    async def wait_async(self, names: Iterable[str], position: int, timeout_seconds: float) -> bool:
        """Do the same without blocking the event loop."""
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
                        # One look-up for all notifications that came together.
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
