"""The events of a command or a step are bounded: under 4,000 and about a mebibyte, whatever is in the book."""

from msgspec.structs import replace

from domain.account import DepositCash, OpenAccount, PayoutPaid
from domain.commands import Command
from domain.exchange import Entry, Exchange
from domain.market import CloseMarket, DetermineMarket, Evidence, FinalizeMarket, Payout
from domain.matching import MATCHES_MAX
from domain.money import MICRO
from domain.orders import OPEN_ORDERS_MAX, CancelOrders, OrderPlaced, PlaceOrder, RestingOrderFilled, SplitSets
from domain.story import PublishStory
from domain.sweeping import SWEEP_ORDERS_MAX
from messages.stored import to_stored
from tests.domain.scenario import START, a_market, buy, sell

MIB = 1 << 20


class Batches:
    """An exchange without an audit, since there are many events; and the batches of events that commands and steps leave."""

    def __init__(self, outcomes: tuple[str, ...], subsidy: int = MICRO) -> None:
        self.exchange, self.number, self.outcomes = Exchange(), 0, outcomes
        story = a_market(outcomes, subsidy=subsidy)[0]
        assert isinstance(story, PublishStory)
        self.market = an_id("mk", 1)
        self.do(replace(story, markets=(replace(story.markets[0], market_id=self.market),)))

    def do(self, command: Command) -> list[list[Entry]]:
        """Handle a command; return its batch and those of the steps that it left."""
        self.number += 1
        batches = [self.exchange.handle(command, START, self.command_id)]
        while (step := self.exchange.step(START)) is not None:
            batches.append(step[1])
        for batch in batches:
            assert len(batch) < 4_000
        return batches

    @property
    def command_id(self) -> str:
        """A command id like those that the gateway makes for orders."""
        return f"order:{an_id('ac', 1)}:client-{self.number:012}"

    def size(self, batch: list[Entry]) -> int:
        """Return the size of a batch as stored, in bytes."""
        stored = [to_stored(entry, time=START, command_id=self.command_id) for entry in batch]
        return sum(len(event.state) + len(str(event.originator_id)) + len(event.topic) for event in stored)

    def account(self, number: int, cash: int = 10**7 * MICRO) -> str:
        """Open an account."""
        name = an_id("ac", number)
        self.do(OpenAccount(name, name))
        self.do(DepositCash(name, cash))
        return name

    def order(self, wish: PlaceOrder) -> list[list[Entry]]:
        """Place an order with ids of realistic length."""
        name = f"client-{self.number:012}"
        order = replace(wish, market_id=self.market, order_id=an_id("or", self.number), client_order_id=name)
        return self.do(order)


def an_id(prefix: str, number: int) -> str:
    """Return an id of the length of real ones."""
    return f"{prefix}_{number:026x}"


def test_an_order_that_meets_many_stops_at_the_limit() -> None:
    """After 500 resting orders the rest of it is canceled, with a reason."""
    batches = Batches(("Yes", "No"))
    for number in range(3):
        name = batches.account(number)
        for extra in range(250):
            batches.order(buy(name, "Yes", quantity=100_000 + extra, limit_price=300_000))
    seller = batches.account(10)
    batches.do(SplitSets(seller, batches.market, 900 * MICRO))
    done = batches.order(sell(seller, "Yes", quantity=800 * MICRO, limit_price=200_000))
    placed = next(entry.event for entry in done[0] if isinstance(entry.event, OrderPlaced))

    assert sum(fill.order_id is not None for fill in placed.execution.fills) == MATCHES_MAX
    assert (placed.execution.status, placed.execution.reason) == ("partially_filled", "match_limit")
    assert not placed.execution.resting
    assert batches.size(done[0]) < MIB


def test_own_orders_that_are_canceled_count_to_the_limit_too() -> None:
    """With `cancel_maker` the limit covers the canceled own orders and the matched orders together."""
    batches = Batches(("Yes", "No"))
    mine, other = batches.account(1), batches.account(2)
    for extra in range(400):
        batches.order(buy(mine, "Yes", quantity=100_000 + extra, limit_price=300_000))
        batches.order(buy(other, "Yes", quantity=100_000 + extra, limit_price=290_000))
    batches.do(SplitSets(mine, batches.market, 900 * MICRO))
    wish = sell(mine, "Yes", quantity=800 * MICRO, limit_price=200_000, self_trade_prevention="cancel_maker")
    done = batches.order(wish)
    placed = next(entry.event for entry in done[0] if isinstance(entry.event, OrderPlaced))

    assert sum(fill.order_id is not None for fill in placed.execution.fills) == MATCHES_MAX - 400
    assert placed.execution.reason == "match_limit"
    assert batches.size(done[0]) < MIB


def test_all_orders_of_an_account_are_canceled_in_one_batch() -> None:
    """They may be a thousand."""
    batches = Batches(("Yes", "No"))
    name = batches.account(1)
    for extra in range(OPEN_ORDERS_MAX):
        batches.order(buy(name, "Yes", quantity=MICRO + extra, limit_price=100_000))
    done = batches.do(CancelOrders(name))

    assert len(done[0]) == 2 * OPEN_ORDERS_MAX
    assert batches.size(done[0]) < MIB


def test_a_large_sweep_is_cut_and_goes_on() -> None:
    """A purchase of A makes B so cheap that a thousand bids on B are filled: 200 at a time, all before the next command."""
    batches = Batches(("A", "B", "C"), subsidy=1_000 * MICRO)
    for number in range(4):
        name = batches.account(number)
        for extra in range(250):
            batches.order(buy(name, "B", quantity=10_000 + extra, limit_price=100_000 + 1000 * (extra % 40)))
    done = batches.order(buy(batches.account(10), "A", quantity=10_000 * MICRO))
    fills = [[entry.event for entry in batch if isinstance(entry.event, RestingOrderFilled)] for batch in done]

    assert [len(batch) for batch in fills] == [SWEEP_ORDERS_MAX] * 5
    assert [batch[-1].more for batch in fills] == [True] * 4 + [False]
    assert all(batch[-1].prices for batch in fills)
    assert not any(event.prices for batch in fills for event in batch[:-1])
    assert len(batches.exchange.markets[batches.market].book) == 0
    assert max(map(batches.size, done)) < MIB


def test_payouts_of_many_outcomes_are_done_in_smaller_steps() -> None:
    """There are 64 outcomes with names of a hundred two-byte letters, and a hundred accounts hold all of them."""
    outcomes = tuple(f"{number:02}".ljust(100, "ä") for number in range(64))
    batches = Batches(outcomes)
    for number in range(100):
        batches.do(SplitSets(batches.account(number), batches.market, MICRO))
    batches.do(CloseMarket(batches.market))
    batches.do(DetermineMarket(batches.market, (Payout(outcomes[0], MICRO),), Evidence("So it is.")))
    done = batches.do(FinalizeMarket(batches.market))

    assert sum(isinstance(entry.event, PayoutPaid) for batch in done for entry in batch) == 100
    assert max(map(batches.size, done)) < MIB
