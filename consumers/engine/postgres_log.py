"""The log in PostgreSQL: one session that holds the partition's lock and writes through nothing else.

An advisory lock ends with its session, and a session ends after its last transaction. So the holder of the lock knows
that no earlier writer can append any more. The log itself is a second fence: each stream takes each version only once.
Tables, reading and subscriptions are the library's. The insert is our own: it sends arrays, at a sixth of the cost of
the composites that the library sends, and a batch here is large.
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
from eventsourcing.utils import Environment, get_topic
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier, Literal
from slugify import slugify

from consumers.engine.log import (
    START,
    Append,
    Checkpoint,
    ErrorTable,
    EventHandler,
    Fenced,
    FinishedAppend,
    InDoubt,
    RecorderLog,
    mapped_errors,
    state_digest,
)
from consumers.engine.postgres_subscription import LogRecorder

LOCK_SECONDS: Final = 10.0
"""The longest wait of a writer that lost its session until the server notices that and frees the lock."""

_ERRORS: Final[ErrorTable] = {psycopg.Error: InDoubt, PersistenceError: InDoubt}


class PostgresLog:
    """One partition's log in a PostgreSQL database. Positions increase and may have gaps."""

    def __init__(self, dsn: str, partition: int = 0, *, append_seconds: float = 5.0) -> None:
        """Nothing is connected before `take_over`. An append that takes longer than `append_seconds` is in doubt."""
        self._dsn = dsn
        self._partition = partition
        self._append_seconds = append_seconds
        self._session: psycopg.Connection[tuple[Any, ...]] | None = None
        self._reading: RecorderLog | None = None
        self._opened = ExitStack()  # closes the recorder of `_reading`
        self._was_writer = False
        self.epoch = 0
        self.checkpoints: list[Checkpoint] = []
        self._checkpoint = START
        table = table_name(partition)
        self._insert = SQL(
            "WITH news AS MATERIALIZED (SELECT pg_notify({channel}, '')) "  # what the library's subscriptions wait for
            "INSERT INTO {table} (originator_id, originator_version, topic, state) "
            "SELECT stream, version, topic, state "
            "FROM unnest(%b::text[], %b::bigint[], %b::text[], %b::bytea[]) AS event(stream, version, topic, state), news "
            "RETURNING notification_id"
        ).format(channel=Literal(table), table=Identifier("public", table))

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint after all that this writer has read and confirmed."""
        return self._checkpoint

    @property
    def place(self) -> str:
        """The name of the database, and the partition."""
        name = str(conninfo_to_dict(self._dsn).get("dbname", "postgres"))
        return f"postgres-{slugify(name)}-{self._partition}"

    def identity(self) -> str:
        """Return the random name that was given to the log when its table was made. A restored copy keeps it."""
        with mapped_errors(_ERRORS, "the log cannot be reached"):
            self._recorder()  # makes the table
            with psycopg.connect(self._dsn, autocommit=True, connect_timeout=10) as session:
                return log_identity(session, self._partition)

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise StaleCheckpoint unless the log has this very event at the checkpoint's position."""
        with mapped_errors(_ERRORS, "the log cannot be reached"):
            self._recorder().check(checkpoint)

    def raise_if_unsafe(self) -> None:
        """Do nothing: no setting of a table lets it lose rows."""

    def follow(self, handle: EventHandler, after: Checkpoint, timeout_seconds: float) -> None:
        """Pass the events after the checkpoint to `handle`; waits for nothing."""
        with mapped_errors(_ERRORS, "the log cannot be reached"):
            self._recorder().follow(handle, after, timeout_seconds)

    def take_over(self, handle: EventHandler, after: Checkpoint = START) -> None:
        """Take the partition's lock and read the log."""
        self._drop_session()
        with mapped_errors(_ERRORS, "the log cannot be reached"):
            reading = self._recorder()
            self._session = self._locked_session()
            reading.take_over(handle, after)
        self._checkpoint = reading.checkpoint
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
            with mapped_errors(_ERRORS, "the append failed"), self._session.cursor(binary=True) as cursor:
                positions = [row[0] for row in cursor.execute(self._insert, columns, prepare=True)]
        except InDoubt:
            self._drop_session()
            raise
        self._checkpoint = Checkpoint(positions[-1], writer=state_digest(events[-1].state))
        return FinishedAppend(positions)

    def read(self, first: int, limit: int) -> Sequence[Notification]:
        """Return events from a position on."""
        return self._recorder().read(first, limit)

    def close(self) -> None:
        """Free the lock and close the connections."""
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
    """Return the name of the table that holds a partition's log; the library derives it from `log_<partition>`."""
    return f"log_{partition}_events"


def identity_table(partition: int, schema: str = "public") -> Identifier:
    """Return the table that holds the identity of a partition's log in its one row. Back it up with the log."""
    return Identifier(schema, f"log_{partition}_identity")


def log_identity(connection: psycopg.Connection[Any], partition: int) -> str:
    """Return the identity of a log in PostgreSQL, "" if the database has none."""
    try:
        row = connection.execute(SQL("SELECT identity FROM {}").format(identity_table(partition))).fetchone()
    except psycopg.errors.UndefinedTable:
        return ""
    return str(row[0]) if row else ""


@contextmanager
def postgres_recorder(
    dsn: str, partition: int, connections_max: int = 10, schema: str = "public"
) -> Iterator[ApplicationRecorder]:
    """Yield the library's recorder for a log in a schema of PostgreSQL; the table is made if it is missing.

    The end of the block closes the connections and stops the threads of their pool. The library alone would do this in
    `__del__`. That is too late when the interpreter ends: the threads are gone by then, and from Python 3.13 on the pool
    waits for them for ever.
    """
    given: dict[str, Any] = conninfo_to_dict(dsn)
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "ORIGINATOR_ID_TYPE": "text",
        "APPLICATION_RECORDER_TOPIC": get_topic(LogRecorder),
        "POSTGRES_DBNAME": str(given.pop("dbname", "postgres")),
        "POSTGRES_HOST": str(given.pop("host", "")),
        "POSTGRES_PORT": str(given.pop("port", "")),
        "POSTGRES_USER": str(given.pop("user", "")),
        "POSTGRES_PASSWORD": str(given.pop("password", "")),
        "POSTGRES_SCHEMA": schema,
        "POSTGRES_POOL_SIZE": "1",
        "POSTGRES_MAX_OVERFLOW": str(connections_max - 1),
        "POSTGRES_CONNECT_TIMEOUT": "10",
    }
    with closing(InfrastructureFactory.construct(Environment(f"log_{partition}", env))) as factory:
        # The library has no settings for the rest of the DSN (TLS, options).
        factory.datastore.pool.kwargs.update(given)  # type: ignore[attr-defined]
        # Without the lock, one of two processes that make the table at once would fail.
        with psycopg.connect(dsn) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('tidings log', 0))")
            recorder = factory.application_recorder()
            table = identity_table(partition, schema)
            connection.execute(SQL("CREATE TABLE IF NOT EXISTS {} (identity text NOT NULL)").format(table))
            connection.execute(
                SQL(
                    "INSERT INTO {0} SELECT 'postgres-' || gen_random_uuid() WHERE NOT EXISTS (SELECT FROM {0})"
                ).format(table)
            )
        yield recorder
