"""Ends what the roles for dashboards leave running: no setting of PostgreSQL that a role may not lift does that.

A role may set its own `statement_timeout` and `idle_in_transaction_session_timeout` to anything. So every projector looks
at their sessions now and then, and ends a session that is much longer in one transaction than its role should be.
"""

import threading
from typing import Final

import psycopg
import structlog

from projections.dashboards.roles import IDLE_SECONDS_MAX, READ_SECONDS_MAX, ROLE_NOTE
from projections.machine.background import DATABASE_FAULTS, Background

_log: Final = structlog.get_logger()

LOOK_SECONDS: Final = 5.0
"""The time from one look to the next."""

GRACE_SECONDS: Final = 5
"""The time beyond the limit: PostgreSQL's own time-outs come first, and tell the client why."""

_END: Final = """
SELECT a.usename, a.pid, pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
WHERE shobj_description(r.oid, 'pg_authid') = %(note)s AND a.datname = current_database() AND (
    a.state = 'active' AND a.xact_start < clock_timestamp() - make_interval(secs => %(read)s)
    OR a.state LIKE 'idle in transaction%%' AND a.state_change < clock_timestamp() - make_interval(secs => %(idle)s)
)
"""


class Watchdog:
    """Looks at the sessions of these roles, in a thread of its own."""

    def __init__(
        self,
        dsn: str,
        *,
        look_seconds: float = LOOK_SECONDS,
        read_seconds: float = READ_SECONDS_MAX + GRACE_SECONDS,
        idle_seconds: float = IDLE_SECONDS_MAX + GRACE_SECONDS,
    ) -> None:
        """Nothing is connected before `start`. The times are the longest of a transaction that reads, and that idles."""
        self._dsn = dsn
        self._look_seconds = look_seconds
        self._limits = {"note": ROLE_NOTE, "read": read_seconds, "idle": idle_seconds}
        self._stopping = threading.Event()
        self._thread = Background(self._run, "watchdog")
        self.problem = self._thread.problem

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for that."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._look_seconds):
            try:
                with psycopg.connect(self._dsn, autocommit=True) as connection:
                    while not self._stopping.wait(self._look_seconds):
                        for role, pid, _ in connection.execute(_END, self._limits).fetchall():
                            _log.warning("dashboard_session_ended", role=role, pid=pid)
            except (*DATABASE_FAULTS, psycopg.errors.InsufficientPrivilege) as error:
                _log.warning("watchdog_blind", error=str(error), retry_seconds=self._look_seconds)
