"""The log in PostgreSQL: one session that holds the partition's lock and writes through nothing else.

An advisory lock ends with its session, and a session ends after its last transaction. So whoever holds the lock knows
that no former writer can append any more; that each stream takes a version only once is a second fence, in the log itself.
Tables, reading and subscriptions are the library's; the insert is our own: its arrays cost a sixth of the composites
that the library sends, and a batch here is large.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from hashlib import blake2b
from time import monotonic, sleep
from typing import Any, Final

import psycopg
from eventsourcing.persistence import (
    ApplicationRecorder,
    InfrastructureFactory,
    Notification,
    PersistenceError,
    StoredEvent,
)
from eventsourcing.utils import Environment
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier, Literal

from consumers.engine.log import START, Append, Appended, Checkpoint, EventHandler, Fenced, InDoubt, RecorderLog

LOCK_SECONDS: Final = 10.0
"""How long a writer that lost its session waits for the server to notice that, and to give the lock back."""


class PostgresLog:
    """One partition's log in a PostgreSQL database. Positions increase and may have gaps."""

    def __init__(self, dsn: str, partition: int = 0, *, append_seconds: float = 5.0) -> None:
        """Connect at the first `take_over`. An append that takes longer than `append_seconds` is in doubt."""
        self._dsn = dsn
        self._partition = partition
        self._append_seconds = append_seconds
        self._session: psycopg.Connection[tuple[Any, ...]] | None = None
        self._reading: RecorderLog | None = None
        self._opened = ExitStack()  # closes what `_reading` reads through
        self._was_writer = False
        self.epoch = 0
        self.marks: list[Checkpoint] = []
        self._place = START
        table = table_name(partition)
        self._insert = SQL(
            "WITH news AS MATERIALIZED (SELECT pg_notify({channel}, '')) "  # what the library's subscriptions wait for
            "INSERT INTO {table} (originator_id, originator_version, topic, state) "
            "SELECT stream, version, topic, state "
            "FROM unnest(%b::text[], %b::bigint[], %b::text[], %b::bytea[]) AS event(stream, version, topic, state), news "
            "RETURNING notification_id"
        ).format(channel=Literal(table), table=Identifier("public", table))

    @property
    def place(self) -> Checkpoint:
        """Where a reader goes on that knows all this writer has taken over and confirmed."""
        return self._place

    def identity(self) -> str:
        """Return the server's, the database's and the table's number: a table made anew has another one."""
        query = SQL(
            "SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()), {}::regclass::oid "
            "FROM pg_control_system()"
        ).format(Literal(f"public.{table_name(self._partition)}"))
        try:
            self._recorder()  # makes the table
            with psycopg.connect(self._dsn, autocommit=True, connect_timeout=10) as session:
                row = session.execute(query).fetchone()
        except (psycopg.Error, PersistenceError) as error:
            raise InDoubt(f"the log cannot be reached: {error}") from error
        assert row is not None, "the query has one row"
        return "postgres-" + "-".join(str(number) for number in row)

    def follow(self, apply: EventHandler, after: Checkpoint, timeout_seconds: float) -> None:
        """Pass what is behind the place to `apply`; waits for nothing."""
        try:
            self._recorder().follow(apply, after, timeout_seconds)
        except (psycopg.Error, PersistenceError) as error:
            raise InDoubt(f"the log cannot be reached: {error}") from error

    def take_over(self, apply: EventHandler, after: Checkpoint = START) -> None:
        """Take the partition's lock and read the log."""
        self._drop_session()
        try:
            reading = self._recorder()
            self._session = self._locked_session()
            reading.take_over(apply, after)
        except (psycopg.Error, PersistenceError) as error:
            raise InDoubt(f"the log cannot be reached: {error}") from error
        self._place = reading.place
        self._was_writer = True

    def begin(self, events: Sequence[StoredEvent]) -> Append:
        """Append the events; when this returns they are committed."""
        assert self._session is not None, "take over first"
        columns = (
            [str(event.originator_id) for event in events],
            [event.originator_version for event in events],
            [event.topic for event in events],
            [event.state for event in events],
        )
        try:
            with self._session.cursor(binary=True) as cursor:
                positions = [row[0] for row in cursor.execute(self._insert, columns, prepare=True)]
        except psycopg.Error as error:
            self._drop_session()
            raise InDoubt(f"{type(error).__name__}: {error}") from error
        self._place = Checkpoint(positions[-1])
        return Appended(positions)

    def read(self, first: int, limit: int) -> Sequence[Notification]:
        """Return events from a position on."""
        return self._recorder().read(first, limit)

    def close(self) -> None:
        """Give the lock back and close the connections."""
        self._drop_session()
        self._was_writer = False
        self._reading = None
        self._opened.close()

    def _recorder(self) -> RecorderLog:
        if self._reading is None:
            recorder = self._opened.enter_context(postgres_recorder(self._dsn, self._partition))
            self._reading = RecorderLog(recorder)
        return self._reading

    def _locked_session(self) -> psycopg.Connection[tuple[Any, ...]]:
        with ExitStack() as failing:
            session = psycopg.connect(
                self._dsn, autocommit=True, row_factory=tuple_row, connect_timeout=10, keepalives_idle=5
            )
            failing.callback(session.close)
            session.execute(SQL("SET statement_timeout = {}").format(Literal(int(self._append_seconds * 1000))))
            deadline = monotonic() + (LOCK_SECONDS if self._was_writer else 0)
            while not self._try_lock(session):
                if monotonic() >= deadline:
                    raise Fenced(f"another engine is running: it holds the lock of partition {self._partition}'s log")
                sleep(0.1)
            failing.pop_all()
            return session

    def _try_lock(self, session: psycopg.Connection[tuple[Any, ...]]) -> bool:
        name = f"tidings log {self._partition}".encode()
        key = int.from_bytes(blake2b(name, digest_size=8).digest(), "big", signed=True)
        row = session.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()
        return row is not None and bool(row[0])

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with suppress(psycopg.Error):
                session.close()


def table_name(partition: int) -> str:
    """Return the name of the table that holds a partition's log, as the library derives it from `log_<partition>`."""
    return f"log_{partition}_events"


@contextmanager
def postgres_recorder(dsn: str, partition: int, connections_max: int = 10) -> Iterator[ApplicationRecorder]:
    """Yield the library's recorder for a log in PostgreSQL; the table is made if it is missing.

    The end of the block closes its connections and ends their pool's threads. The library would do so in `__del__`, which
    is too late: at the interpreter's end those threads are gone, and from Python 3.13 on it waits for them for ever.
    """
    given: dict[str, Any] = conninfo_to_dict(dsn)
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "ORIGINATOR_ID_TYPE": "text",
        "POSTGRES_DBNAME": str(given.pop("dbname", "postgres")),
        "POSTGRES_HOST": str(given.pop("host", "")),
        "POSTGRES_PORT": str(given.pop("port", "")),
        "POSTGRES_USER": str(given.pop("user", "")),
        "POSTGRES_PASSWORD": str(given.pop("password", "")),
        "POSTGRES_POOL_SIZE": "1",
        "POSTGRES_MAX_OVERFLOW": str(connections_max - 1),
        "POSTGRES_CONNECT_TIMEOUT": "10",
    }
    with closing(InfrastructureFactory.construct(Environment(f"log_{partition}", env))) as factory:
        # What else the DSN says (TLS, options) the library has no setting for.
        factory.datastore.pool.kwargs.update(given)  # type: ignore[attr-defined]
        # Of two processes that make the table at once one would fail.
        with psycopg.connect(dsn) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('tidings log', 0))")
            recorder = factory.application_recorder()
        yield recorder
