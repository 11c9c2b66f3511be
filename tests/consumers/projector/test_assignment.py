"""Projector processes share the read models, and take over from each other."""

from collections import Counter
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from consumers.projector.assignment import Assignment, deal
from local.processes import polls
from projections.machine.store import SCHEMA
from projections.registry import PROJECTIONS

WAIT = 30.0
ALL = PROJECTIONS.values()

Join = Callable[..., Assignment]


@pytest.fixture
def join(database: str) -> Iterator[Join]:
    """Returns a new member of the crew that works all read models of a partition, 0 by default."""
    crews: list[Assignment] = []

    def joined(partition: int = 0) -> Assignment:
        crew = Assignment(make_conninfo(database, application_name=f"crew-{len(crews)}"), SCHEMA, partition, ALL)
        crews.append(crew)
        crew.start()
        return crew

    yield joined
    for crew in crews:
        crew.stop()


def share(crew: Assignment) -> set[str]:
    """Return what a member works."""
    return {name for name in PROJECTIONS if crew.has(name)}


def shared_by(*crews: Assignment) -> bool:
    """Wait until these, and no others, share the read models: none without one, none twice; return whether they do."""
    for _ in polls(WAIT):
        worked = Counter(name for crew in crews for name in share(crew))
        if worked == Counter(list(PROJECTIONS)) and all(crew.size == len(crews) for crew in crews):
            return True
    return False


def test_every_read_model_is_dealt_out_once_and_evenly() -> None:
    """However many share: nothing is left over or dealt twice, and nobody has more than another one by a whole read model."""
    dearest = max(projection.weight for projection in ALL)
    for size in range(1, len(PROJECTIONS) + 3):
        shares = deal(ALL, size)
        loads = [sum(PROJECTIONS[name].weight for name in names) for names in shares]

        assert Counter(name for names in shares for name in names) == Counter(list(PROJECTIONS))
        assert max(loads) - min(loads) <= dearest


def test_who_joins_gets_a_share_and_who_leaves_gives_it_back(join: Join) -> None:
    """One has all; two, then three share; when the first one ends, the others have all again. Partitions are apart."""
    elsewhere = join(partition=1)
    one = join()
    assert one.wait("positions", WAIT)
    assert shared_by(one)
    two = join()
    assert shared_by(one, two)
    three = join()
    assert shared_by(one, two, three)
    one.stop()
    assert shared_by(two, three)
    assert shared_by(elsewhere)


def test_a_member_that_is_cut_off_keeps_its_share_until_it_is_back(database: str, join: Join) -> None:
    """The other one takes all meanwhile (the read models' own locks decide who works); then they share again."""
    one, two = join(), join()
    assert shared_by(one, two)
    before = share(one)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crew-0'")

    assert share(one) == before
    assert two.wait(next(iter(before)), WAIT)
    assert shared_by(one, two)
