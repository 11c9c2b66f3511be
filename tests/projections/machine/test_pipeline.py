"""PipelineConnection: many statements at once, with the values that psycopg would write, and errors that say whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.errors import UniqueViolation

from local.processes import polls
from projections.machine.columns import column_expression, columns_encoder
from projections.machine.pipeline import encoder
from projections.machine.store import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projections.machine.pipeline import PipelineConnection

INTS = st.integers(-(2**63), 2**63 - 1)
SHORT_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
TEXTS = SHORT_TEXTS | SHORT_TEXTS.map(lambda text: 256 * text)
NUMBERS = st.integers(-(10**40), 10**40)
TYPES = ["text", "int8", "bool", "numeric", "int8[]", "text[]", "numeric[]", "int8", "text"]
ROWS = st.tuples(
    TEXTS,
    INTS,
    st.booleans(),
    NUMBERS,
    st.lists(st.none() | INTS),
    st.lists(TEXTS),
    st.lists(st.none() | NUMBERS),
    st.none() | INTS,
    st.none() | TEXTS,
)


@pytest.fixture
def connection(database: str) -> Iterator[PipelineConnection]:
    """A connection to a database with a table of every type."""
    with connect(database, "public") as connected:
        columns = ", ".join(f"c{number} {sql_type}" for number, sql_type in enumerate(TYPES))
        connected.execute(f"CREATE TABLE every_type ({columns})")
        connected.execute("CREATE TABLE numbers (number int8 UNIQUE)")
        yield connected


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, min_size=1, max_size=5))
def test_every_value_comes_back(connection: PipelineConnection, rows: list[tuple[Any, ...]]) -> None:
    """Values of every type of column, the largest and empty ones too, are stored as they are."""
    encode, formats = encoder(TYPES, [False] * 7 + [True, True])
    values = ", ".join(f"${number}" for number in range(1, len(TYPES) + 1))
    connection.execute("TRUNCATE every_type")
    for row in rows:
        connection.queue(f"INSERT INTO every_type VALUES ({values})", encode(*row), formats)

    found = connection.execute("SELECT * FROM every_type").fetchall()  # sends what is queued first
    assert [[*row[:6], [*map(_number, row[6])], *row[7:]] for row in found] == [list(row) for row in rows]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, min_size=1, max_size=5))
def test_every_value_of_a_column_comes_back(connection: PipelineConnection, rows: list[tuple[Any, ...]]) -> None:
    """The same rows as one statement with an array for each column: as they are, and in their order."""
    encode, formats = columns_encoder(TYPES)
    values = ", ".join(column_expression(sql_type, number) for number, sql_type in enumerate(TYPES, 1))
    connection.execute("TRUNCATE every_type")
    connection.queue(f"INSERT INTO every_type SELECT {values}", encode(rows), formats)

    found = connection.execute("SELECT * FROM every_type").fetchall()  # sends what is queued first
    assert [[*row[:6], [*map(_number, row[6])], *row[7:]] for row in found] == [list(row) for row in rows]


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def test_a_long_queue_is_sent_and_answered_at_the_same_time(connection: PipelineConnection) -> None:
    """Neither side waits for the other, however much is sent and answered."""
    encode, formats = encoder(["int8"], [False])
    for number in range(20_000):
        connection.queue("INSERT INTO numbers VALUES ($1) RETURNING repeat('x', 500)", encode(number), formats)
    results = connection.send()

    assert len(results) == 20_001  # one prepares the statement
    assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (20_000,)


def test_an_error_says_whose_statement_it_was(connection: PipelineConnection) -> None:
    """The first statement that fails raises; after the roll-back nothing is left, and the connection is as before."""
    encode, formats = encoder(["int8"], [False])
    for _ in range(2):
        connection.queue_begin()
        for owner, number in (("one", 1), ("two", 2), ("three", 2), ("four", 4)):
            connection.owner = owner
            connection.queue("INSERT INTO numbers VALUES ($1)", encode(number), formats)
        connection.queue_commit()
        with pytest.raises(UniqueViolation) as raised:
            connection.send()
        connection.roll_back()
        assert raised.value.owner == "three"  # type: ignore[attr-defined]
    connection.queue_begin()
    connection.queue("INSERT INTO numbers VALUES ($1)", encode(5), formats)
    connection.queue_commit()

    assert connection.execute("SELECT array_agg(number) FROM numbers").fetchone() == ([5],)
    with connection.transaction():  # a fold inside somebody else's transaction is undone alone
        connection.execute("INSERT INTO numbers VALUES (6)")
        connection.queue_begin()
        connection.queue("INSERT INTO numbers VALUES ($1)", encode(7), formats)
        connection.send()
        connection.roll_back()
    assert connection.execute("SELECT array_agg(number) FROM numbers").fetchone() == ([5, 6],)


def test_what_is_pushed_is_executed_while_nobody_waits_for_it(connection: PipelineConnection, database: str) -> None:
    """A pushed statement runs before `send`, whose results have it; its error says whose it was, and is undone with all."""
    encode, formats = encoder(["int8"], [False])
    connection.queue_begin()
    connection.queue("SELECT pg_advisory_xact_lock($1)", encode(4711), formats)
    connection.push()
    with connect(database, "public") as other:
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711"
        assert any(other.execute(held).fetchone() == (1,) for _ in polls(10))
    connection.queue("INSERT INTO numbers VALUES ($1)", encode(1), formats)
    connection.queue_commit()
    assert len(connection.send()) == 8  # each of the four statements was prepared first
    assert connection.execute("SELECT array_agg(number) FROM numbers").fetchone() == ([1],)

    connection.queue_begin()
    connection.send()
    for owner, number in (("one", 2), ("two", 1), ("three", 3)):
        connection.owner = owner
        connection.queue("INSERT INTO numbers VALUES ($1)", encode(number), formats)
        connection.push()
    with pytest.raises(UniqueViolation) as raised:
        connection.execute("SELECT 1")
    assert raised.value.owner == "two"  # type: ignore[attr-defined]
    connection.roll_back()
    connection.queue_begin()
    connection.queue("INSERT INTO numbers VALUES ($1)", encode(4), formats)
    connection.push()
    connection.roll_back()
    assert connection.execute("SELECT array_agg(number) FROM numbers").fetchone() == ([1],)
