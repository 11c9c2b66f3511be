"""The assignment of read models to projector processes: every process computes the same one by itself.

A process becomes a member by taking the lowest free number, an advisory lock, which PostgreSQL releases when the process's
connection ends, however that happens. From the numbers that are taken, each member knows every member's read models. An
assignment only affects speed. The read model's own lock (`try_lock` in projections/machine/store.py) ensures that one process
at a time keeps it up to date.

A new member notifies a channel, so a member that is alone waits and asks nothing. One that ends, however that happens, tells
nobody: while there are several, each looks again and again.
"""

import select
import socket
import threading
from collections.abc import Collection, Iterable
from typing import Final

import psycopg
import structlog

from projections.machine.background import DATABASE_FAULTS, Background
from projections.machine.projection import Projection
from projections.machine.store import connect

_log: Final = structlog.get_logger()

SETTLE_SECONDS: Final = 0.2
"""The time that a new member waits for others that start at the same time."""

LOOK_SECONDS: Final = 0.2
"""The interval at which a member checks who the members are, while there are several."""

CHANNEL: Final = "tidings_members"
"""The channel that a new member notifies."""

RETRY_SECONDS: Final = 1.0
"""The pause before a member connects again."""

_LOCK_CLASS: Final = "(hashtext(%s) & 2147483647)"

_TAKE_NUMBER: Final = f"SELECT pg_try_advisory_lock({_LOCK_CLASS}, %s)"

_TAKEN_NUMBERS: Final = f"""
    SELECT objid::int8 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::int8 = {_LOCK_CLASS} ORDER BY objid"""


class Assignment:
    """One member's part of the read models of a partition; `members` is how many members share them.

    Before the member has seen the others its part is empty. While PostgreSQL is away it keeps the part that it had.
    """

    def __init__(self, dsn: str, schema: str, partition: int, projections: Collection[Projection]) -> None:
        self._dsn = dsn
        self._schema = schema
        self._projections = projections
        self._name = " ".join(["tidings", "projectors", schema, str(partition), *sorted(p.name for p in projections)])
        self._changed = threading.Condition()
        self._assigned: frozenset[str] = frozenset()
        self._stopping = threading.Event()
        self._waker, self._woken = socket.socketpair()  # when one is closed, the other one wakes the thread
        self._thread = Background(self._follow, "assignment")
        self.problem = self._thread.problem
        self.members = 0

    def start(self) -> None:
        """Become a member, and follow who the others are; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Cease to be a member; threads in `wait` return."""
        self._stopping.set()
        self._waker.close()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._woken.close()

    def has(self, name: str) -> bool:
        """Return whether a read model is assigned to this member."""
        return name in self._assigned

    def wait(self, name: str, timeout_seconds: float) -> bool:
        """Wait until a read model is assigned to this member, at most this long; return whether it is."""
        with self._changed:
            self._changed.wait_for(lambda: self.has(name) or self._stopping.is_set(), timeout_seconds)
        return self.has(name)

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                with connect(self._dsn, self._schema) as connection:
                    while not self._stopping.is_set():
                        if (number := self._take_number(connection)) is not None:
                            self._follow_members(connection, number)
                        self._stopping.wait(RETRY_SECONDS)
            except DATABASE_FAULTS as error:
                _log.warning("members_unknown", error=str(error), retry_seconds=RETRY_SECONDS)
            self._stopping.wait(RETRY_SECONDS)

    def _take_number(self, connection: psycopg.Connection) -> int | None:
        """Take the lowest free number and return it; None where there is a member for every read model already."""
        for number in range(len(self._projections)):
            row = connection.execute(_TAKE_NUMBER, [self._name, number]).fetchone()
            if row and row[0]:
                return number
        return None

    def _follow_members(self, connection: psycopg.Connection, number: int) -> None:
        """Check who the members are, whenever that may have changed.

        The first check waits until members that start at the same time have a number too. Without that, the first of them
        would begin with all read models and give half of them up at once.
        """
        connection.execute(f"LISTEN {CHANNEL}")  # whoever takes a number after the first check says so
        connection.execute(f"NOTIFY {CHANNEL}")
        self._stopping.wait(SETTLE_SECONDS)
        while not self._stopping.is_set():
            taken = [row[0] for row in connection.execute(_TAKEN_NUMBERS, [self._name]).fetchall()]
            self._update(taken.index(number), len(taken))
            self._wait_for_news(connection, LOOK_SECONDS if len(taken) > 1 else None)

    def _wait_for_news(self, connection: psycopg.Connection, seconds: float | None) -> None:
        """Wait until the channel is notified, the connection is lost or `stop` is called, at most this long."""
        # psycopg waits by looking ten times a second. So wait for its socket, or for `stop`.
        if not list(connection.notifies(timeout=0)):
            arrived = select.poll()
            arrived.register(connection.fileno(), select.POLLIN)
            arrived.register(self._woken.fileno(), select.POLLIN)
            arrived.poll(None if seconds is None else seconds * 1000)

    def _update(self, place: int, members: int) -> None:
        assigned = assign(self._projections, members)[place]
        if (assigned, members) == (self._assigned, self.members):
            return
        with self._changed:
            self._assigned, self.members = assigned, members
            self._changed.notify_all()
        _log.info("assignment_changed", members=members, projections=sorted(assigned))


def assign(projections: Iterable[Projection], members: int) -> list[frozenset[str]]:
    """Return the names of each member's read models: the heaviest first, each to the member with the least weight so far."""
    parts: list[set[str]] = [set() for _ in range(members)]
    loads = [0.0] * members
    for projection in sorted(projections, key=lambda projection: (-projection.weight, projection.name)):
        least = loads.index(min(loads))
        parts[least].add(projection.name)
        loads[least] += projection.weight
    return [frozenset(part) for part in parts]
