"""Which partition has what: ids say it."""

import re

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from domain.account import OpenAccount
from domain.invitations import AcceptInvitation, CreateInvitation
from domain.market import OpenMarket
from domain.orders import PlaceOrder
from domain.placement import PARTITION_MAX, lives_elsewhere, partition_of
from domain.story import PublishStory
from messages.commands import new_id, with_ids
from messages.names import is_id

PARTITIONS = st.integers(0, PARTITION_MAX)
STAMPED = re.compile(r"(?:st|mk|ac|or)([0-9]*)_")


@for_all(st.sampled_from(["st", "mk", "ac", "or"]), st.text(max_size=20), PARTITIONS)
def test_an_id_names_its_partition(prefix: str, command_id: str, partition: int) -> None:
    """Every id is read back, and is known as an id; only the first partition leaves no mark."""
    made = new_id(prefix, command_id, partition=partition)

    assert partition_of(made) == partition
    assert is_id(made)
    assert (made == new_id(prefix, command_id)) == (partition == 0)


@for_all(st.text(max_size=12) | st.from_regex(r"(st|mk|ac|or|iv|house)?[0-9]{0,5}_?[0-9a-z]{0,4}", fullmatch=True))
def test_anything_else_names_the_first_partition(text: str) -> None:
    """Only a known prefix, digits and an underscore name a partition."""
    stamped = STAMPED.match(text)

    assert partition_of(text) == (int(stamped[1] or 0) if stamped else 0)


@pytest.mark.parametrize("partition", [0, 7])
def test_a_story_has_its_markets_and_orders_beside_it(partition: int) -> None:
    """The story and the account get the partition they are made in, and what belongs to the story follows it."""
    market = OpenMarket("", "", None, "Will it?", ("Yes", "No"), 1, 2, "source")
    story = with_ids("c1", PublishStory("", None, "Title", "Body", "world", 0, None, (market,)), partition)
    account = with_ids("c2", OpenAccount("", "Ada"), partition)
    invited = with_ids("c3", AcceptInvitation("ab" * 32, "", "Bob", "key", "cd" * 32), partition)
    invitation = with_ids("c4", CreateInvitation("", "ab" * 32, 1, 2), partition)
    assert isinstance(story, PublishStory)
    assert isinstance(account, OpenAccount)
    assert isinstance(invited, AcceptInvitation)
    assert isinstance(invitation, CreateInvitation)

    another = with_ids("c5", OpenMarket("", story.story_id, None, "And?", ("Yes", "No"), 1, 2, "source"))
    order = with_ids("c6", PlaceOrder("ac_ada", story.markets[0].market_id, "", "1", "Yes", "buy", "market", spend=1))
    assert isinstance(another, OpenMarket)
    assert isinstance(order, PlaceOrder)

    made = [story.story_id, story.markets[0].market_id, account.account_id, invited.account_id, another.market_id]
    assert {partition_of(name) for name in [*made, order.order_id]} == {partition}
    assert invitation.invitation_id == new_id("iv", "c4")


def test_what_no_partition_has_lives_nowhere_else() -> None:
    """With one partition nothing lives elsewhere, whatever an id says; with three an id of a fourth names none."""
    assert not any(lives_elsewhere(name, 0, 1) for name in ("mk_a", "mk3_a", "ac2_b", "x"))
    assert [lives_elsewhere(f"mk{number}_a", 1, 3) for number in range(5)] == [True, False, True, False, False]
    assert lives_elsewhere("anything", 1, 3)
