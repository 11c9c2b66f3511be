"""The exchange and a naive reference agree on refusals, fills, balances, orders and statuses, whatever commands come."""

from random import Random
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consumers.simulation.random_commands import RandomCommands
from domain.account import DepositCash, OpenAccount, WithdrawCash
from domain.commands import Command
from domain.exchange import Exchange
from domain.market import (
    AddLiquidity,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    Evidence,
    FinalizeMarket,
    HaltMarket,
    OpenMarket,
    Payout,
    ResumeMarket,
    UpholdMarket,
    VoidMarket,
)
from domain.money import MICRO, Time
from domain.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    MergeSets,
    OrderAmended,
    OrderPlaced,
    PlaceOrder,
    RestingOrderFilled,
    SplitSets,
)
from domain.partition import CommandRejected
from domain.rejections import Rejection
from domain.story import PublishStory
from messages.results import result_of
from tests.domain.reference import Reference
from tests.domain.scenario import EFFORT

SEQUENCES = 250 * EFFORT
"""The number of random sequences of commands."""


class Pair:
    """The exchange and its reference, which get the same commands."""

    def __init__(self) -> None:
        self.exchange, self.reference = Exchange(), Reference()
        self.number = 0

    def handle(self, command: Command, time: Time, command_id: str = "") -> None:
        """Let both handle the command, and compare the results."""
        self.number += 1
        command_id = command_id or f"c{self.number}"
        while self.exchange.step(time) is not None:
            pass
        quote = self.exchange.quote(command, time) if isinstance(command, PlaceOrder) else None
        events: list[Any] = [entry.event for entry in self.exchange.handle(command, time, command_id)]
        while (step := self.exchange.step(time)) is not None:
            events += [entry.event for entry in step[1]]
        expected = self.reference.handle(command, time)
        assert expected == self.reply_of(events)
        if quote is not None and not isinstance(events[0], CommandRejected):
            assert not isinstance(quote, Rejection)
            assert quote[0] in events
            assert result_of(quote) == result_of(events)
        self.compare()

    def reply_of(self, events: list[Any]) -> dict[str, Any]:
        """Return the reply in the form of the reference."""
        if isinstance(events[0], CommandRejected):
            return {"code": events[0].code}
        for event in events:
            if isinstance(event, OrderPlaced | OrderAmended):
                done = event.execution
                if (limit := event.limit_price) is not None:
                    assert all(
                        fill.price <= limit if event.side == "buy" else fill.price >= limit for fill in done.fills
                    )
                return {
                    "status": done.status,
                    "fills": [(fill.order_id, fill.quantity, fill.cost, fill.resting_cost) for fill in done.fills],
                    "fee": done.fee,
                    "remaining": done.remaining,
                    "swept": {e.order_id: (e.quantity, e.cost) for e in events if isinstance(e, RestingOrderFilled)},
                    "prices": done.final_prices,
                }
        return {}

    def compare(self) -> None:
        """Compare all balances, markets, orders and shares."""
        exchange, reference = self.exchange, self.reference
        balances = exchange.ledger.balances
        assert (reference.house, reference.fees, reference.bonds, reference.external) == (
            balances["house"],
            balances["fees"],
            balances["bonds"],
            balances["external"],
        )
        for name in reference.money:
            account = exchange.accounts[name]
            assert (reference.available(name), reference.held(name)) == (account.cash, account.held)
        assert reference.markets.keys() == exchange.markets.keys()
        for market_id, theirs in reference.markets.items():
            ours = exchange.markets[market_id]
            assert theirs.status == ours.status
            assert theirs.sold == ours.sold
            assert theirs.pool == exchange.ledger.pool(market_id)
            resting = [
                (x.order_id, x.account_id, x.outcome, x.side, x.price, x.remaining, x.filled)
                for x in sorted(ours.book.orders.values(), key=lambda x: x.age)
            ]
            assert [
                (x.id, x.account, x.outcome, x.side, x.price, x.remaining, x.filled) for x in theirs.orders
            ] == resting
            owned = {
                (name, ours.index(outcome)): quantity
                for name, account in exchange.accounts.items()
                for outcome, quantity in account.holding(market_id).shares.items()
                if quantity
            }
            assert {key: quantity for key, quantity in theirs.shares.items() if quantity} == owned


@settings(max_examples=SEQUENCES, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_random_sequences_end_alike(seed: int) -> None:
    """Each sequence has two or three markets, four accounts, a hundred commands, and times that jump to due times."""
    commands = RandomCommands(Random(seed), accounts=4, markets=2, outcomes=(2, 3, 4), lifecycle=0.04)  # noqa: S311
    pair = Pair()
    for _ in range(100):
        time, command_id, command = commands.next_command(pair.exchange)
        pair.handle(command, time, command_id)


NAMES = {"two": ("Yes", "No"), "three": ("A", "B", "C")}
ACCOUNTS = ("alice", "bob", "carol")
accounts_ = st.sampled_from(ACCOUNTS)
markets_ = st.sampled_from(sorted(NAMES))
amounts_ = st.one_of(st.integers(1, 50), st.integers(1, 30 * MICRO), st.integers(1, 30).map(lambda n: n * MICRO))
prices_ = st.integers(1, 999).map(lambda tick: tick * 1000)


class Trading(RuleBasedStateMachine):
    """The same as rules of Hypothesis, which can shrink a failing sequence to a few commands."""

    @initialize(fee=st.sampled_from([0, 50_000]), window=st.sampled_from([0, 10]), subsidy=st.sampled_from([1, 100]))
    def open(self, fee: int, window: int, subsidy: int) -> None:
        """Open two markets and three accounts."""
        self.pair, self.time, self.orders = Pair(), 1_000_000, list[str]()
        openings = tuple(
            OpenMarket(
                name, "s", name, "?", outcomes, subsidy * MICRO, 10**9, "r", fee_rate=fee, dispute_seconds=window
            )
            for name, outcomes in NAMES.items()
        )
        self.do(PublishStory("s", "s", "t", "b", "c", 0, None, openings))
        for name in ACCOUNTS:
            self.do(OpenAccount(name, name))
            self.do(DepositCash(name, 40 * MICRO))

    def do(self, command: Command) -> None:
        """Let both handle the next command."""
        self.time += 1
        self.pair.handle(command, self.time)

    @rule(seconds=st.sampled_from([1, 9, 10, 11, 2000]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.time += seconds * 1_000_000

    @rule(
        account=accounts_,
        market=markets_,
        outcome=st.integers(0, 2),
        side=st.sampled_from(["buy", "sell"]),
        quantity=amounts_,
        price=st.one_of(st.none(), prices_),
        tif=st.sampled_from([None, "IOC", "FOK", "GTD"]),
        policy=st.sampled_from(["cancel_taker", "cancel_maker"]),
        by_spend=st.booleans(),
        post_only=st.booleans(),
    )
    def place(
        self,
        *,
        account: str,
        market: str,
        outcome: int,
        side: Any,
        quantity: int,
        price: int | None,
        tif: Any,
        policy: Any,
        by_spend: bool,
        post_only: bool,
    ) -> None:
        """Buy or sell."""
        name = f"o{len(self.orders)}"
        self.orders.append(name)
        spend = by_spend and price is None and side == "buy"
        self.do(
            PlaceOrder(
                account,
                market,
                name,
                name,
                NAMES[market][outcome % len(NAMES[market])],
                side,
                "market" if price is None else "limit",
                quantity=None if spend else quantity,
                spend=quantity if spend else None,
                limit_price=price,
                time_in_force=tif,
                expires_at=self.time + 5_000_000 if tif == "GTD" else None,
                post_only=post_only and price is not None,
                self_trade_prevention=policy,
            )
        )

    @rule(account=accounts_, number=st.integers(0, 5))
    def cancel(self, account: str, number: int) -> None:
        """Cancel one of the last orders, of any account."""
        self.do(CancelOrder(account, self.orders[-number] if len(self.orders) > number else "none"))

    @rule(account=accounts_, market=st.one_of(st.none(), markets_))
    def cancel_all(self, account: str, market: str | None) -> None:
        """Cancel all orders of an account."""
        self.do(CancelOrders(account, market))

    @rule(
        account=accounts_,
        number=st.integers(0, 5),
        price=st.one_of(st.none(), prices_),
        quantity=st.one_of(st.none(), amounts_),
    )
    def amend(self, account: str, number: int, price: int | None, quantity: int | None) -> None:
        """Amend one of the last orders."""
        self.do(AmendOrder(account, self.orders[-number] if len(self.orders) > number else "none", price, quantity))

    @rule(account=accounts_, market=markets_, amount=amounts_, kind=st.sampled_from([SplitSets, MergeSets]))
    def sets(self, account: str, market: str, amount: int, kind: Any) -> None:
        """Split or merge."""
        self.do(kind(account, market, amount))

    @rule(account=accounts_, amount=amounts_, kind=st.sampled_from([DepositCash, WithdrawCash]))
    def cash(self, account: str, amount: int, kind: Any) -> None:
        """Deposit or withdraw."""
        self.do(kind(account, amount))

    @rule(
        market=markets_,
        account=accounts_,
        kind=st.sampled_from(["halt", "resume", "close", "add", "dispute", "uphold", "finalize", "void"]),
    )
    def operate(self, market: str, account: str, kind: str) -> None:
        """Send a command of an operator or a disputer."""
        commands: dict[str, Command] = {
            "halt": HaltMarket(market),
            "resume": ResumeMarket(market),
            "close": CloseMarket(market),
            "add": AddLiquidity(market, 5 * MICRO + 1),
            "dispute": DisputeMarket(market, account, "No."),
            "uphold": UpholdMarket(market),
            "finalize": FinalizeMarket(market),
            "void": VoidMarket(market, "wrong"),
        }
        self.do(commands[kind])

    @rule(market=markets_, first=st.sampled_from([0, 1, 333_333, MICRO]), correct=st.booleans())
    def resolve(self, market: str, first: int, correct: bool) -> None:
        """Determine or correct."""
        names = NAMES[market]
        payouts = (Payout(names[0], first), Payout(names[1], MICRO - first))
        self.do((CorrectMarket if correct else DetermineMarket)(market, payouts, Evidence("So it is.")))

    @invariant()
    def money_is_conserved(self) -> None:
        """The ledger sums to zero."""
        if hasattr(self, "pair"):
            assert self.pair.exchange.ledger.total() == 0


TestTrading = Trading.TestCase
TestTrading.settings = settings(max_examples=SEQUENCES // 3, stateful_step_count=40, deadline=None)
