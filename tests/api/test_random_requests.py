"""Random requests with every role: no error of the server, no answer outside its schema, nothing that a read model cannot fold.

pytest -m chaos tests/api/test_random_requests.py      the long form
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from local.postgres import create_database, drop_database
from tests.api.conftest import connected, start
from tests.api.random_requests import World, cases, operations, placed, problem, send, world_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from schemathesis.schemas import APIOperation

    from tests.api.conftest import Exchange

EXAMPLES = 8
LONG_EXAMPLES = 200

OPERATIONS = [pytest.param(operation, id=operation.label) for operation in operations()]


@pytest.fixture(scope="module")
def exchange_of_chance(postgres_dsn: str, run_folder: Path) -> Iterator[Exchange]:
    """An exchange of these tests' own, where no request waits long for a position."""
    name = f"random_{uuid.uuid4().hex[:12]}"
    create_database(postgres_dsn, name)
    with start(make_conninfo(postgres_dsn, dbname=name), run_folder, wait_ms=20, wait_ms_max=50) as running:
        found = connected(running)
        yield found
        found.api.client.close()
    drop_database(postgres_dsn, name)


@pytest.fixture(scope="module")
def world(exchange_of_chance: Exchange) -> World:
    """The names and keys of that exchange."""
    return world_of(exchange_of_chance)


def try_out(operation: APIOperation, world: World, examples: int, *, same_each_time: bool) -> None:
    """Send random requests with random roles and fail on the first bad answer."""

    @settings(
        max_examples=examples,
        derandomize=same_each_time,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def sent(data: st.DataObject) -> None:
        case = data.draw(placed(data.draw(cases(operation)), world))
        key = world.keys[data.draw(st.sampled_from(world.roles))]
        assert problem(send(case, world, key), case.body) is None

    sent()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_request_breaks_the_contract(operation: APIOperation, world: World) -> None:
    """A few requests for each operation, the same each time."""
    try_out(operation, world, EXAMPLES, same_each_time=True)


@pytest.mark.chaos
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_request_of_many_breaks_the_contract(operation: APIOperation, world: World) -> None:
    """Many requests for each operation, other ones each time."""
    try_out(operation, world, LONG_EXAMPLES, same_each_time=False)


def test_nothing_is_parked_afterwards(exchange_of_chance: Exchange, world: World) -> None:
    """Whatever the requests did, every read model has folded it."""
    assert world.names
    head = exchange_of_chance.head()
    exchange_of_chance.api.get("/markets", min_position=head, wait_ms=50)

    assert [row for row in exchange_of_chance.api.data("/status")["projections"] if row["parked"]] == []
