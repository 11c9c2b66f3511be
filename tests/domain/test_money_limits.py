"""The money of an exchange is bounded, so that every balance fits 64 bits: a refusal names the field and the limit."""

import pytest
from msgspec.structs import replace

from domain.account import DepositCash
from domain.commands import Command
from domain.exchange import Exchange
from domain.ledger import EXTERNAL, HOUSE
from domain.market import SUBSIDY_MAX, ActivateMarket, AddLiquidity, OpenMarket
from domain.money import AMOUNT_MAX, MICRO, MONEY_MAX
from domain.partition import CommandRejected
from domain.rejections import Code
from domain.story import PublishStory
from tests.domain.scenario import CLOSE, START, TRADERS, YES_NO, given

OPEN = OpenMarket("n", "s-m", "n", "?", ("Yes", "No"), 1_000 * MICRO, CLOSE, "source")
STORY = PublishStory("t", "t", "t", "t", "t", START, None, (replace(OPEN, market_id="o", slug="o"), OPEN))


def with_room(source: str, amount: int) -> Exchange:
    """Return an exchange with a draft `d`, in which this amount may still come in from a source; the rest is made up."""
    draft = replace(OPEN, market_id="d", slug="d", draft=True)
    exchange = given(*YES_NO, *TRADERS, draft).exchange
    exchange.ledger.balances[source] = amount - MONEY_MAX
    return exchange


@pytest.mark.parametrize(
    ("source", "room", "command", "field"),
    [
        (EXTERNAL, AMOUNT_MAX, DepositCash("alice", AMOUNT_MAX), "amount"),
        (EXTERNAL, 1, DepositCash("alice", 1), "amount"),
        (HOUSE, 5 * MICRO, AddLiquidity("m", 5 * MICRO), "amount"),
        (HOUSE, SUBSIDY_MAX, replace(OPEN, subsidy=SUBSIDY_MAX), "subsidy"),
        (HOUSE, OPEN.subsidy, ActivateMarket("d"), "subsidy"),
        (HOUSE, 2 * OPEN.subsidy, STORY, "markets"),
    ],
)
def test_money_comes_in_up_to_the_limit(source: str, room: int, command: Command, field: str) -> None:
    """What has just room is accepted; a micro-credit less of room, and it is refused and changes nothing."""
    accepted = with_room(source, room).handle(command, START + 1_000, "c")
    assert not isinstance(accepted[0].event, CommandRejected)

    exchange = with_room(source, room - 1)
    markets = dict(exchange.markets)
    (entry,) = exchange.handle(command, START + 1_000, "c")
    assert isinstance(entry.event, CommandRejected)
    assert (entry.event.code, entry.event.details) == (Code.INVALID_FIELD, {"field": field, "given": room})
    assert entry.event.message.startswith(field)
    assert entry.event.message.endswith("above 1000000000000.000000")
    assert exchange.markets == markets
