"""No sequence of roundings gains: a player alone in a market, who ends with the first shares, never has more cash."""

import pytest
from hypothesis import example, settings, target
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from domain.commands import Command
from domain.exchange import Exchange
from domain.market import AddLiquidity
from domain.money import MICRO
from domain.orders import CancelOrders, MergeSets, PlaceOrder, SplitSets
from domain.partition import CommandRejected
from domain.rejections import Rejection
from tests.domain.scenario import EFFORT, START, a_market, accounts

CASH = 10**9 * MICRO


class Attempt:
    """Two accounts of one player, the only ones in a market, which try to end with more cash than they began with."""

    def __init__(self, outcomes: int, subsidy: int, fee_rate: int = 0, prices: tuple[int, ...] = ()) -> None:
        names = tuple(map(str, range(outcomes)))
        self.exchange, self.number, self.outcomes = Exchange(), 0, outcomes
        for command in a_market(names, subsidy=subsidy, fee_rate=fee_rate, initial_prices=prices):
            self.do(command)
        for command in accounts("me", "myself", cash=CASH):
            self.do(command)

    def do(self, command: Command) -> bool:
        """Handle a command; return whether it was accepted."""
        self.number += 1
        entries = self.exchange.handle(command, START + self.number, f"c{self.number}")
        while self.exchange.step(START + self.number) is not None:
            pass
        return not isinstance(entries[0].event, CommandRejected)

    def trade(
        self,
        account: str,
        side: str,
        outcome: int,
        quantity: int | None,
        *,
        price: int | None = None,
        spend: int | None = None,
        tif: str | None = None,
    ) -> bool:
        """Place an order."""
        name = f"o{self.number}"
        kind = "market" if price is None else "limit"
        return self.do(
            PlaceOrder(account, "m", name, name, str(outcome), side, kind, quantity, spend, price, tif)  # type: ignore[arg-type]
        )

    def shares(self, account: str, outcome: int) -> int:
        """Return what an account owns."""
        return self.exchange.accounts[account].holding("m").shares.get(str(outcome), 0)

    def gain(self) -> int:
        """Cancel and sell everything, and return the cash now less the cash at first."""
        for account in ("me", "myself"):
            self.do(CancelOrders(account))
        for account in ("me", "myself"):
            sets = min(self.shares(account, i) for i in range(self.outcomes))
            if sets:
                self.do(MergeSets(account, "m", sets))
        for _ in range(4):
            for account in ("me", "myself"):
                for i in range(self.outcomes):
                    if self.shares(account, i):
                        self.trade(account, "sell", i, self.shares(account, i))
        return sum(self.exchange.accounts[account].cash for account in ("me", "myself")) - 2 * CASH


quantities = st.one_of(
    st.integers(1, 5),
    st.integers(1, 5_000),
    st.integers(1, 100 * MICRO),
    st.integers(1, 10**15),
    st.sampled_from([999, 1000, 1001, MICRO - 1, MICRO, MICRO + 1]),
)
actions = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "spend", "bid", "ask", "split", "merge", "cancel", "back"]),
        st.sampled_from(["me", "me", "myself"]),
        st.integers(0, 63),
        quantities,
        st.one_of(st.integers(1, 999), st.sampled_from([1, 2, 500, 998, 999])),
    ),
    min_size=1,
    max_size=25,
)


def act(attempt: Attempt, action: tuple[str, str, int, int, int]) -> None:
    """Do one action; `back` sells all that the account has of the outcome."""
    kind, account, outcome, quantity, tick = action
    outcome %= attempt.outcomes
    match kind:
        case "buy":
            attempt.trade(account, "buy", outcome, quantity)
        case "sell":
            attempt.trade(account, "sell", outcome, min(quantity, attempt.shares(account, outcome)) or 1)
        case "back":
            attempt.trade(account, "sell", outcome, attempt.shares(account, outcome) or 1)
        case "spend":
            attempt.trade(account, "buy", outcome, None, spend=quantity)
        case "bid":
            attempt.trade(account, "buy", outcome, quantity, price=tick * 1000)
        case "ask":
            attempt.trade(
                account, "sell", outcome, min(quantity, attempt.shares(account, outcome)) or 1, price=tick * 1000
            )
        case "split":
            attempt.do(SplitSets(account, "m", quantity))
        case "merge":
            attempt.do(MergeSets(account, "m", quantity))
        case _:
            attempt.do(CancelOrders(account, "m"))


@settings(max_examples=400 * EFFORT)
@hypothesis_given(
    st.sampled_from([2, 3, 5, 64]),
    st.sampled_from([MICRO, 100 * MICRO, 10**7 * MICRO]),
    st.sampled_from([0, 1, 20_000]),
    actions,
)
@example(64, 10**7 * MICRO, 0, [("buy", "me", 0, 23_688_651_832_095, 1)])  # prices that sum to 1 only within 5e-15
def test_no_sequence_found_ends_with_more_than_it_began(
    outcomes: int, subsidy: int, fee_rate: int, sequence: list[tuple[str, str, int, int, int]]
) -> None:
    """Quantities are tiny to huge, prices extreme, outcomes 2 to 64; the search maximizes the gain."""
    attempt = Attempt(outcomes, subsidy, fee_rate)
    for action in sequence:
        act(attempt, action)
    gain = attempt.gain()
    target(float(max(gain, -(10**6))))

    assert gain <= 0
    # Some shares may be left unsold. They are no profit, whichever outcome comes true.
    left = [attempt.shares("me", i) + attempt.shares("myself", i) for i in range(outcomes)]
    assert gain + min(left) <= 0


@pytest.mark.parametrize("outcomes", [2, 3, 64])
@pytest.mark.parametrize("start", [0, 10**6, 10**9])
@pytest.mark.parametrize("quantity", [1, 2, 3, 7, 999, 1_001])
def test_a_loop_of_small_trades_gains_nothing(outcomes: int, start: int, quantity: int) -> None:
    """The trades are hundreds of purchases and sales of a few micro-shares, at different prices."""
    attempt = Attempt(outcomes, 100 * MICRO)
    if start:
        attempt.trade("me", "buy", 0, start * 50)
    for number in range(60):
        attempt.trade("me", "buy", number % outcomes, quantity)
        attempt.trade("me", "buy", number % outcomes, None, spend=quantity)
        if number % 3 == 2:
            attempt.trade("me", "sell", number % outcomes, attempt.shares("me", number % outcomes))
    assert attempt.gain() <= 0


@pytest.mark.parametrize("opening", [(1_000, 999_000), (999_000, 1_000), (998_000, 1_000, 1_000)])
def test_extreme_prices_gain_nothing(opening: tuple[int, ...]) -> None:
    """At 0.001 a thousand micro-shares cost a micro-credit but bring none."""
    attempt = Attempt(len(opening), 10 * MICRO, prices=opening)
    for quantity in (1, 10, 999, 1_000, 1_001, 5_000):
        for outcome in range(len(opening)):
            attempt.trade("me", "buy", outcome, quantity)
            attempt.trade("me", "sell", outcome, quantity)
            attempt.trade("me", "buy", outcome, quantity, price=1_000)
            attempt.trade("myself", "buy", outcome, quantity, price=999_000)
    assert attempt.gain() <= 0


def test_added_liquidity_gains_nothing() -> None:
    """A trader who buys before it and sells after it gains nothing, since the price did not move."""
    for outcomes in (2, 3, 64):
        attempt = Attempt(outcomes, 10 * MICRO)
        for _ in range(20):
            attempt.trade("me", "buy", 1, 3 * MICRO + 1)
            bought = attempt.shares("me", 1)
            cash = attempt.exchange.accounts["me"].cash
            attempt.do(AddLiquidity("m", 1))
            attempt.trade("me", "sell", 1, bought)
            attempt.trade("me", "buy", 1, bought)
            assert attempt.exchange.accounts["me"].cash <= cash


def test_resting_orders_are_filled_at_their_limit_or_better_but_for_rounding() -> None:
    """Fifty orders of odd sizes on three outcomes are filled, and the player gains nothing."""
    attempt = Attempt(3, 5 * MICRO)
    attempt.do(SplitSets("myself", "m", 30 * MICRO))
    for number in range(50):
        attempt.trade("myself", "buy", number % 3, 1_003 + number * 37, price=(100 + number * 4) * 1000)
        attempt.trade("myself", "sell", number % 3, 1_001 + number * 41, price=(500 + number * 4) * 1000)
    for number in range(40):
        attempt.trade("me", "buy", number % 3, 400_007)
        attempt.trade("me", "sell", number % 3, attempt.shares("me", number % 3) // 2 or 1)
    assert not isinstance(attempt.exchange.quote(order_of("me"), attempt.exchange.time), Rejection)
    assert attempt.gain() <= 0


def order_of(account: str) -> PlaceOrder:
    """Return a small purchase."""
    return PlaceOrder(account, "m", "q", "q", "0", "buy", "market", MICRO)
