"""The bound of the money that comes in: deposits, and what the house owes. It leaves every sum of balances room in 64 bits."""

from collections.abc import Sequence
from typing import Final

from domain.account import DepositCash
from domain.commands import Command
from domain.events import Event
from domain.invitations import AcceptInvitation
from domain.ledger import EXTERNAL, HOUSE, Ledger, postings
from domain.market import ActivateMarket, AddLiquidity, OpenMarket
from domain.money import MONEY_MAX, format_decimal
from domain.rejections import Rejection, invalid
from domain.story import PublishStory

MONEY_FIELDS: Final[dict[type, str]] = {
    DepositCash: "amount",
    AcceptInvitation: "credits",
    AddLiquidity: "amount",
    OpenMarket: "subsidy",
    ActivateMarket: "subsidy",
    PublishStory: "markets",
}
"""The commands that bring money in, from outside or from the house, with the field that says how much."""


def too_much_money(command: Command, decided: Sequence[Event], ledger: Ledger) -> Rejection | None:
    """Return why the events of one of these commands would bring in more money than there may be, or None."""
    for source in (EXTERNAL, HOUSE):
        taken = sum([-amount for event in decided for name, amount in postings(event) if name == source])
        if taken > 0 and taken - ledger.balances[source] > MONEY_MAX:
            whose = "all deposits" if source == EXTERNAL else "what the house owes"
            problem = f"would raise {whose} above {format_decimal(MONEY_MAX)}"
            return invalid(MONEY_FIELDS[type(command)], problem, given=taken)
    return None
