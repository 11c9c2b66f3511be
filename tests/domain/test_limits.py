"""How many of everything there may be: limits of the rules, the same for every process and every replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain.account import ACCOUNTS_MAX, DepositCash, OpenAccount
from domain.account_rules import open_account
from domain.exchange import Exchange
from domain.market import OpenMarket
from domain.money import MICRO
from domain.orders import (
    BOOK_ORDERS_MAX,
    BOOK_SHARE_MIN,
    OPEN_ORDERS_MAX,
    AmendOrder,
    CancelOrder,
    OrderPlaced,
    PlaceOrder,
)
from domain.partition import CommandRejected
from domain.rejections import Code, Rejection
from domain.story import STORY_ALL_MARKETS_MAX, PublishStory

if TYPE_CHECKING:
    from domain.commands import Command
    from domain.events import Event

NOW = 1_800_000_000 * MICRO
STORY = PublishStory("s", "story", "Story", "Body", "world", 0)


class Decider:
    """An exchange that is sent commands."""

    def __init__(self, *commands: Command) -> None:
        self.exchange = Exchange()
        self.sent = 0
        for command in commands:
            self.send(command)

    def send(self, command: Command) -> Event:
        """Return the first event of a command."""
        self.sent += 1
        return self.exchange.handle(command, NOW, f"c{self.sent}")[0].event

    def refusal(self, command: Command) -> tuple[Code, Any]:
        """Return why a command is refused."""
        event = self.send(command)
        assert isinstance(event, CommandRejected), event
        return Code(event.code), event.details["maximum"]


def a_market(number: int) -> OpenMarket:
    """Return a market of the story."""
    return OpenMarket(f"m{number}", "s", f"m{number}", "Will it?", ("Yes", "No"), 100 * MICRO, 2 * NOW, "news")


def bid(account: int, number: int, market: str = "m0") -> PlaceOrder:
    """Return a small bid far below the price."""
    name = f"{account}-{number}"
    return PlaceOrder(f"a{account}", market, name, name, "Yes", "buy", "limit", quantity=10_000, limit_price=1_000)


def an_account(number: int) -> tuple[Command, Command]:
    """Return the commands after which there is an account with cash."""
    return OpenAccount(f"a{number}", f"a{number}"), DepositCash(f"a{number}", 100 * MICRO)


def test_a_book_holds_ten_thousand_orders_and_a_few_of_everybody() -> None:
    """Whoever filled it gets no more in; an account with fewer than 10 orders there does; other markets are not affected."""
    full = BOOK_ORDERS_MAX // OPEN_ORDERS_MAX
    decider = Decider(STORY, a_market(0), a_market(1))
    for account in range(full + 2):
        for command in an_account(account):
            decider.send(command)
    for account in range(full):
        for number in range(OPEN_ORDERS_MAX - 1):
            assert isinstance(decider.send(bid(account, number)), OrderPlaced)
    for number in range(full):
        assert isinstance(decider.send(bid(full, number)), OrderPlaced)
    assert len(decider.exchange.markets["m0"].book) == BOOK_ORDERS_MAX

    assert decider.refusal(bid(0, 5_000)) == (Code.BOOK_FULL, BOOK_ORDERS_MAX)
    assert isinstance(decider.send(bid(0, 6_000, "m1")), OrderPlaced)
    for number in range(BOOK_SHARE_MIN):
        assert isinstance(decider.send(bid(full + 1, number)), OrderPlaced)
    assert decider.refusal(bid(full + 1, 5_000)) == (Code.BOOK_FULL, BOOK_ORDERS_MAX)
    assert not isinstance(decider.send(AmendOrder("a0", "0-0", None, 20_000)), CommandRejected), "it rests already"
    for number in range(BOOK_SHARE_MIN + 1):
        decider.send(CancelOrder("a0", f"0-{number}"))
    assert isinstance(decider.send(bid(1, 5_000)), OrderPlaced)


class Uncounted(dict[str, Any]):
    """Markets that nobody may go through."""

    def values(self) -> Any:
        """Fail."""
        raise AssertionError("opening a market went through all markets")


def test_the_markets_of_a_story_are_not_counted_over_all_markets() -> None:
    """The story knows their number, however they came, and a refused one does not count."""
    both = (a_market(0), a_market(1))
    decider = Decider(PublishStory("s", "story", "Story", "Body", "world", 0, None, both))
    decider.exchange.markets = Uncounted(decider.exchange.markets)
    decider.send(a_market(2))
    assert isinstance(decider.send(a_market(2)), CommandRejected)
    assert (len(decider.exchange.markets), decider.exchange.stories["s"].markets) == (3, 3)


def test_a_story_has_a_thousand_markets() -> None:
    """One more is refused, those of other stories are not."""
    decider = Decider(STORY, PublishStory("t", "other", "Other", "Body", "world", 0))
    for number in range(STORY_ALL_MARKETS_MAX):
        decider.send(a_market(number))
    assert decider.refusal(a_market(STORY_ALL_MARKETS_MAX)) == (Code.TOO_MANY_MARKETS, STORY_ALL_MARKETS_MAX)
    assert len(decider.exchange.markets) == STORY_ALL_MARKETS_MAX
    other = OpenMarket("o", "t", "o", "Will it?", ("Yes", "No"), 100 * MICRO, 2 * NOW, "news")
    assert not isinstance(decider.send(other), CommandRejected)


def test_an_exchange_has_a_million_accounts() -> None:
    """One more is refused."""
    accounts: Any = range(ACCOUNTS_MAX)
    refused = open_account(OpenAccount("new", "new"), accounts, {})
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.details) == (Code.TOO_MANY_ACCOUNTS, {"maximum": ACCOUNTS_MAX})
    assert not isinstance(open_account(OpenAccount("new", "new"), accounts[1:], {}), Rejection)
