"""Assignment: projector processes share the read models, and take over from each other."""

from collections import Counter
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from consumers.projector.assignment import Assignment, assign
from local.processes import polls
from projections.machine.store import SCHEMA
from projections.registry import PROJECTIONS

WAIT = 30.0
ALL = PROJECTIONS.values()

Join = Callable[..., Assignment]


@pytest.fixture
def join(database: str) -> Iterator[Join]:
    """Returns a new member that shares the read models of a partition, 0 by default."""
    members: list[Assignment] = []

    def joined(partition: int = 0) -> Assignment:
        member = Assignment(make_conninfo(database, application_name=f"member-{len(members)}"), SCHEMA, partition, ALL)
        members.append(member)
        member.start()
        return member

    yield joined
    for member in members:
        member.stop()


def assigned_to(member: Assignment) -> set[str]:
    """Return a member's read models."""
    return {name for name in PROJECTIONS if member.has(name)}


def shared_by(*members: Assignment) -> bool:
    """Wait until these members, and no others, share the read models, each assigned once; return whether they do."""
    for _ in polls(WAIT):
        worked = Counter(name for member in members for name in assigned_to(member))
        if worked == Counter(list(PROJECTIONS)) and all(member.members == len(members) for member in members):
            return True
    return False


def test_every_read_model_is_assigned_once_and_evenly() -> None:
    """For any number of members: every read model has one, and loads differ by at most the heaviest read model."""
    heaviest = max(projection.weight for projection in ALL)
    for size in range(1, len(PROJECTIONS) + 3):
        parts = assign(ALL, size)
        loads = [sum(PROJECTIONS[name].weight for name in names) for names in parts]

        assert Counter(name for names in parts for name in names) == Counter(list(PROJECTIONS))
        assert max(loads) - min(loads) <= heaviest


def test_members_that_join_and_leave_change_the_assignment(join: Join) -> None:
    """One member has everything; two, then three share; when the first one stops, the others take over. Partitions are apart."""
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


def test_a_member_that_is_alone_asks_nothing_until_another_one_comes(database: str, join: Join) -> None:
    """PostgreSQL has no statement of it for a second; a new member is seen at once, also after that."""
    one = join()
    assert shared_by(one)
    last = "SELECT query_start FROM pg_stat_activity WHERE application_name = 'member-0'"
    with psycopg.connect(database, autocommit=True) as connection:
        for _ in polls(WAIT):  # its first check may have found its own notification
            before = connection.execute(last).fetchall()
            connection.execute("SELECT pg_sleep(1)")
            if connection.execute(last).fetchall() == before:
                break
        else:
            pytest.fail("it asks again and again")

    assert shared_by(one, join())


def test_a_member_that_is_cut_off_keeps_its_part_until_it_is_back(database: str, join: Join) -> None:
    """Meanwhile the other member takes everything (the read models' own locks decide who works); then they share again."""
    one, two = join(), join()
    assert shared_by(one, two)
    before = assigned_to(one)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'member-0'")

    assert assigned_to(one) == before
    assert two.wait(next(iter(before)), WAIT)
    assert shared_by(one, two)
