"""A connection that sends many statements to PostgreSQL at once and waits once for all of them.

psycopg has a pipeline mode too, in which each statement still costs 16 us of Python: 20 inserts take 330 us. What is here goes
straight to libpq, with prepared statements and values in binary form: 20 inserts take 22 us of Python, and a third of the
time that PostgreSQL needs for them otherwise.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from struct import Struct
from typing import Any, Final, Self

from psycopg import Connection, Error
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.waiting import Ready, Wait

from projections.machine.adapters import IntegerListDumper, TextListDumper

Encoded = Sequence[bytes | None]
"""The values of a statement, as `encode` returns them."""

Encode = Callable[..., Encoded]
"""Takes the values of a row, and returns them as PostgreSQL receives them."""

_SAVEPOINT: Final = "tidings_fold"


class PipelineConnection(Connection[tuple[Any, ...]]):
    """A connection in autocommit mode with a queue of statements.

    Queued statements are sent by `push` or `send`, and before anything else is executed. They return nothing.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._queued: list[tuple[str, Encoded, Sequence[int], str]] = []
        self._statement_names: dict[str, bytes] = {}
        self._names = 0
        self._pushed: list[str] = []  # the owner of each statement that was sent, those that prepare others included
        self._within = False
        self.owner = ""
        """For whom statements are queued: noted with each, and with its error."""

    def queue(self, statement: str, values: Encoded = (), formats: Sequence[int] = ()) -> None:
        """Put a statement into the queue, with `$1`, `$2`, ... for its values.

        `formats` has a 1 for each value in binary form and a 0 for each text.
        """
        self._queued.append((statement, values, formats, self.owner))

    def push(self) -> None:
        """Send what is queued and wait for nothing: PostgreSQL executes it while more is queued. `send` waits for it.

        Statements that are sent so should return no rows: nobody reads what comes back until then.
        """
        queue, self._queued = self._queued, []
        pgconn = self.pgconn
        if queue and not pgconn.pipeline_status:
            pgconn.enter_pipeline_mode()
        for statement, values, formats, owner in queue:
            name = self._statement_names.get(statement)
            if name is None:
                name = self._name(statement)
                pgconn.send_prepare(name, statement.encode())
                self._pushed.append(owner)
            pgconn.send_query_prepared(name, values, formats)
            self._pushed.append(owner)
        if queue:
            pgconn.flush()

    def send(self) -> list[PGresult]:
        """Send what is queued, wait for it and for what was pushed, and return the results.

        Raises whatever psycopg would raise for the first statement that fails, with its owner in `error.owner`.
        """
        try:
            self.push()
            if not self._pushed:
                return []
            self.pgconn.pipeline_sync()
            results: list[PGresult] = self.wait(_receive(self))
        finally:
            sent, self._pushed = self._pushed, []
            if self.pgconn.pipeline_status and self.pgconn.status == ConnStatus.OK:
                self.pgconn.exit_pipeline_mode()
        for result, owner in zip(results, sent, strict=True):
            if result.status == ExecStatus.FATAL_ERROR:
                self._statement_names.clear()  # what was to be prepared after it was not
                error = error_from_result(result, encoding="utf-8")
                error.owner = owner  # type: ignore[attr-defined]
                raise error
        return results

    def _name(self, statement: str) -> bytes:
        self._names += 1
        name = self._statement_names[statement] = f"q{self._names}".encode()
        return name

    def execute(self, *arguments: Any, **named: Any) -> Any:
        """Send what is queued, then do what psycopg does."""
        self.send()
        return super().execute(*arguments, **named)

    def queue_begin(self) -> None:
        """Queue the begin of a transaction, or of a part of the transaction that there is already."""
        self._within = self.pgconn.transaction_status != TransactionStatus.IDLE
        self.queue(f"SAVEPOINT {_SAVEPOINT}" if self._within else "BEGIN")

    def queue_commit(self) -> None:
        """Queue the end of what `queue_begin` began."""
        self.queue(f"RELEASE SAVEPOINT {_SAVEPOINT}" if self._within else "COMMIT")

    def roll_back(self) -> None:
        """Undo everything since `queue_begin`, and forget what is queued. Does nothing on a connection that is lost."""
        self._queued.clear()
        with suppress(Error):  # whatever was pushed is undone too
            self.send()
        if self.pgconn.status == ConnStatus.OK and self.pgconn.transaction_status != TransactionStatus.IDLE:
            self.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}" if self._within else "ROLLBACK")

    @classmethod
    def open(cls, dsn: str, options: str) -> Self:
        """Connect with these options of the server.

        psycopg prepares nothing here: after a rollback it would deallocate all statements, those of the queue as well.
        """
        return cls.connect(dsn, autocommit=True, prepare_threshold=None, options=options)


def _receive(connection: PipelineConnection) -> Generator[Wait, Ready | int, list[PGresult]]:
    """Flush what was sent and collect the results, one for each statement; both at once, so that neither side blocks."""
    pgconn = connection.pgconn
    results: list[PGresult] = []
    while True:
        ready = yield Wait.R if pgconn.flush() == 0 else Wait.RW
        if not ready & Ready.R:
            continue
        pgconn.consume_input()
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                continue  # the end of a statement's results
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)


_INT: Final = Struct("!q").pack
_INTS: Final = IntegerListDumper(list).dump
_TEXTS: Final = TextListDumper(list).dump

_FORMS: Final[dict[str, tuple[str, int]]] = {
    "text": ("{}.encode()", 1),
    "int8": ("int({})", 1),
    "bool": (r"b'\1' if {} else b'\0'", 1),
    "numeric": ("str({}).encode()", 0),
    "int8[]": ("ints({})", 1),
    "text[]": ("texts({})", 1),
    "numeric[]": ("numbers({})", 0),
}
"""How the value of each type is written: the expression, and 1 for a binary form or 0 for a text."""


def _numbers(values: Sequence[int | None]) -> bytes:
    return b"{%s}" % ",".join("NULL" if value is None else str(value) for value in values).encode()


def encoder(types: Sequence[str], nullable: Sequence[bool]) -> tuple[Encode, list[int]]:
    """Return the function that encodes a row of these types, and the formats of its values."""
    names = [f"v{number}" for number in range(len(types))]
    parts = []
    for name, sql_type, may_be_null in zip(names, types, nullable, strict=True):
        form = _FORMS[sql_type][0].format(name)
        parts.append(f"None if {name} is None else ({form})" if may_be_null else f"({form})")
    source = f"lambda {', '.join(names)}: [{', '.join(parts)}]"
    names_of_forms = {"int": _INT, "ints": _INTS, "texts": _TEXTS, "numbers": _numbers, "str": str}
    encode: Encode = eval(source, names_of_forms)  # noqa: S307  nothing from outside
    return encode, [_FORMS[sql_type][1] for sql_type in types]
