"""Where stories and accounts are to live: partition 0 binds each name to a partition, for ever."""

from itertools import pairwise

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.account import OpenAccount
from domain.assignments import AssignPartition, PartitionAssigned
from domain.exchange import Exchange
from domain.invitations import AcceptInvitation, CreateInvitation
from domain.partition import CommandRejected
from domain.rejections import Code
from domain.slugs import free_slug, slug_root
from domain.state_hash import lines
from messages.ids import with_ids
from messages.wire import parse_wire_details, wire_details
from tests.domain.scenario import START, Scenario


class Placing(Scenario):
    """A scenario in partition 0 of some."""

    def __init__(self, partitions: int = 4, placing: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.exchange.partitions, self.exchange.placing = partitions, placing

    def place(self, name: str, partition: int | None = None, *, of: str = "story") -> int:
        """Return the partition that a name is bound to; -1 if the wish is refused."""
        command = AssignPartition(of, name, partition)  # type: ignore[arg-type]
        self.when(with_ids("c", command))  # type: ignore[arg-type]
        (event,) = self.events
        if isinstance(event, CommandRejected):
            assert event.code == Code.INVALID_FIELD
            assert event.details["field"] == "partition"
            assert wire_details(event.details)["given"] == partition, "it is no amount"
            assert parse_wire_details(wire_details(event.details)) == event.details
            return -1
        assert isinstance(event, PartitionAssigned)
        return event.partition


@for_all(st.lists(st.tuples(st.sampled_from(["a", "a-2", "a-2-3", "b", "2024", "c-d"]), st.none() | st.integers(0, 3))))
def test_a_name_is_bound_for_ever(wishes: list[tuple[str, int | None]]) -> None:
    """To one partition, whoever asks and whatever there is by then: also with all names that a number could make of it."""
    scenario, bound = Placing(), {}
    for number, (name, wish) in enumerate(wishes):
        scenario.exchange.placing = (number % 4,)
        found, root = scenario.place(name, wish), slug_root(name)
        assert wish is None or found in {wish, -1}
        if found == -1:
            assert wish != bound[root], "only a name that is bound elsewhere is refused"
        else:
            assert bound.setdefault(root, found) == found


def test_names_are_spread_over_the_partitions_that_take_new_ones() -> None:
    """Each gets its share; a partition that takes no new ones gets none unless somebody wishes it."""
    scenario = Placing(4, placing=(1, 3))
    places = [scenario.place(f"story-{chr(97 + number % 26)}{number}") for number in range(200)]

    assert set(places) == {1, 3}
    assert 60 < places.count(1) < 140
    assert scenario.place("wished", 2) == 2
    assert scenario.place("wished") == 2
    assert scenario.place("wished", 1) == -1
    assert scenario.place("nowhere", 4) == -1
    assert {Placing(4).place(f"x{n}") for n in range(50)} == {0, 1, 2, 3}


def test_accounts_are_bound_by_what_looks_alike() -> None:
    """`ADA` and `Ada` are given out by one partition; a story of that name has nothing to do with them."""
    scenario = Placing()
    assert scenario.place("Ada", 3, of="account") == 3
    assert scenario.place("ADA", of="account") == 3
    assert scenario.place("ada", 1) == 1


def test_what_lived_here_before_there_were_others_is_given_out_here() -> None:
    """Names of the time of one partition stay in partition 0."""
    scenario = Placing(1)
    scenario.given(OpenAccount("ac_a", "Ada", "ada"))
    scenario.exchange.partitions, scenario.exchange.placing = 4, (2,)

    assert scenario.place("ADA", of="account") == 0
    assert scenario.place("Bob", of="account") == 2
    assert scenario.place("house", of="account") == 0


def test_an_invitation_opens_no_account_with_a_name_of_elsewhere() -> None:
    """All invitations are accepted in partition 0; names that are bound to it are free."""
    scenario = Placing()
    scenario.given(CreateInvitation("iv", "ab" * 32, 9, START + 10**12))
    scenario.place("Ada", 3, of="account")
    scenario.place("Bob", 0, of="account")

    def accept(name: str) -> Scenario:
        command = AcceptInvitation("ab" * 32, "", name, "key", "cd" * 32)
        return scenario.when(with_ids(f"accept {name}", command))  # type: ignore[arg-type]

    accept("ADA").rejected(Code.ACCOUNT_EXISTS, name="ADA")
    assert not isinstance(accept("Bob").events[0], CommandRejected)


def test_only_the_first_partition_answers() -> None:
    """Others say where to ask."""
    elsewhere = Exchange(partition=2, partitions=3)
    (refused,) = elsewhere.handle(AssignPartition("story", "s"), 1, "c")
    assert isinstance(refused.event, CommandRejected)
    assert (refused.event.code, refused.event.details) == (Code.WRONG_PARTITION, {"partition": 0})


def test_one_partition_is_asked_for_nothing() -> None:
    """There everything lives in partition 0. Whoever asks is refused, which binds no name."""
    alone = Placing(1)
    for number, wish in enumerate((None, 0, 1)):
        question = AssignPartition("account", "Ada", wish)
        alone.when(with_ids(f"c{number}", question)).rejected(Code.INVALID_FIELD, field="partition", maximum=0)  # type: ignore[arg-type]
    assert not [line for line in lines(alone.exchange) if "assigned" in line]


def test_the_state_tells_of_assignments_only_where_there_are_any() -> None:
    """And whoever has other ones decides otherwise."""
    scenario = Placing()
    before = list(lines(scenario.exchange))
    assert not [line for line in before if "assigned" in line]
    scenario.place("s-2", 3)
    assert [line for line in lines(scenario.exchange) if "assigned" in line] == ["assigned story 's' 3"]


@pytest.mark.parametrize("base", ["a", "a-2", "2024", "election-2024", "x-1-2-3"])
def test_every_free_slug_has_the_root_of_its_base(base: str) -> None:
    """So that what is free in its partition is free in all."""
    taken: set[str] = set()
    for _ in range(30):
        taken.add(free_slug(base, taken))
    assert {slug_root(slug) for slug in taken} == {slug_root(base)}
    assert all(slug_root(one) == slug_root(other) for one, other in pairwise(sorted(taken)))
