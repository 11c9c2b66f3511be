"""Projector processes that share the read models of a partition: every one knows its own, and all deal them out alike.

A process takes the lowest free seat, an advisory lock, which PostgreSQL frees when the process's connection ends, however
that comes. Who sees which seats are taken knows every process's share. Only speed hangs on this: that a read model is
worked by one process at a time is the business of the read model's own lock (`try_lock` in projections/machine/store.py).
"""

import threading
from collections.abc import Collection, Iterable
from typing import Final

import psycopg
import structlog

from projections.machine.projection import Projection
from projections.machine.store import connect

_log: Final = structlog.get_logger()

SETTLE_SECONDS: Final = 0.2
"""So long does a process that has just taken a seat wait for others that start at the same time."""

LOOK_SECONDS: Final = 0.2
"""So often does a process look who else is there."""

RETRY_SECONDS: Final = 1.0
"""So long does it wait before it connects again."""

_SEAT_CLASS: Final = "(hashtext(%s) & 2147483647)"

_TAKE: Final = f"SELECT pg_try_advisory_lock({_SEAT_CLASS}, %s)"

_TAKEN: Final = f"""
    SELECT objid::int8 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::int8 = {_SEAT_CLASS} ORDER BY objid"""


class Assignment:
    """A process's place among those that work the same read models of a partition.

    Before it has looked who is there its share is empty. While PostgreSQL is away it keeps the share that it had.
    """

    def __init__(self, dsn: str, schema: str, partition: int, projections: Collection[Projection]) -> None:
        self._dsn = dsn
        self._schema = schema
        self._projections = projections
        self._name = " ".join(["tidings", "crew", schema, str(partition), *sorted(p.name for p in projections)])
        self._dealt = threading.Condition()
        self._share: frozenset[str] = frozenset()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="crew", daemon=True)
        self.size = 0

    def start(self) -> None:
        """Take a seat, and follow who else has one; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Give up the seat; who waits, waits no more."""
        self._stopping.set()
        with self._dealt:
            self._dealt.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def has(self, name: str) -> bool:
        """Whether a read model is this process's to work."""
        return name in self._share

    def wait(self, name: str, timeout_seconds: float) -> bool:
        """Wait until a read model is this process's, for so long at most; return whether it is."""
        with self._dealt:
            self._dealt.wait_for(lambda: self.has(name) or self._stopping.is_set(), timeout_seconds)
        return self.has(name)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                with connect(self._dsn, self._schema) as connection:
                    while not self._stopping.is_set():
                        if (seat := self._take_seat(connection)) is not None:
                            self._look(connection, seat)
                        self._stopping.wait(RETRY_SECONDS)
            except psycopg.Error as error:
                _log.warning("crew_unknown", error=str(error), retry_seconds=RETRY_SECONDS)
            self._stopping.wait(RETRY_SECONDS)

    def _take_seat(self, connection: psycopg.Connection) -> int | None:
        """Return the lowest free seat, now ours; None where there is one for every read model, and all are taken."""
        for seat in range(len(self._projections)):
            row = connection.execute(_TAKE, [self._name, seat]).fetchone()
            if row and row[0]:
                return seat
        return None

    def _look(self, connection: psycopg.Connection, seat: int) -> None:
        """Look who is there, again and again; at first only when others that start with us have a seat too, for else one of
        us would begin with all, and give half of it up at once.
        """
        self._stopping.wait(SETTLE_SECONDS)
        while not self._stopping.is_set():
            taken = [row[0] for row in connection.execute(_TAKEN, [self._name]).fetchall()]
            self._deal(taken.index(seat), len(taken))
            self._stopping.wait(LOOK_SECONDS)

    def _deal(self, place: int, size: int) -> None:
        share = deal(self._projections, size)[place]
        if (share, size) == (self._share, self.size):
            return
        with self._dealt:
            self._share, self.size = share, size
            self._dealt.notify_all()
        _log.info("share_dealt", processes=size, projections=sorted(share))


def deal(projections: Iterable[Projection], size: int) -> list[frozenset[str]]:
    """Deal read models out to so many processes: the dearest first, each to the one that has least to do."""
    shares: list[set[str]] = [set() for _ in range(size)]
    loads = [0.0] * size
    for projection in sorted(projections, key=lambda projection: (-projection.weight, projection.name)):
        least = loads.index(min(loads))
        shares[least].add(projection.name)
        loads[least] += projection.weight
    return [frozenset(share) for share in shares]
