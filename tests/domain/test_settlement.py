"""The end of a market: paying out, correcting and voiding are exact, and are finished after a crash at any event."""

import pytest

from domain.account import DepositCash, PayoutPaid, PayoutReversed, PositionVoided, WithdrawCash
from domain.exchange import Exchange
from domain.invariants import Audit
from domain.market import (
    AddLiquidity,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    Evidence,
    FinalizeMarket,
    MarketCorrected,
    MarketFinalized,
    MarketReversed,
    MarketSettled,
    MarketUnwound,
    MarketVoided,
    Payout,
    UpholdMarket,
    VoidMarket,
)
from domain.money import MICRO
from domain.orders import AmendOrder, CancelOrder, MergeSets, OrderCanceled, SplitSets
from domain.rejections import Code
from domain.settlement import STEP
from tests.domain.scenario import Scenario, a_market, accounts, buy, given, sell

WHY = Evidence("It was in the paper.")
A_WINS = (Payout("A", MICRO),)
B_WINS = (Payout("B", MICRO),)
SPLIT_UP = (Payout("A", 333_333), Payout("B", 333_333), Payout("C", 333_334))
TRADERS = ("alice", "bob", "carol", "dave")


def traded(**terms: object) -> Scenario:
    """Return a market with three outcomes in which three accounts traded in many ways and dave only has an order."""
    return given(
        *a_market(("A", "B", "C"), **terms),  # type: ignore[arg-type]
        *accounts(*TRADERS),
        buy("alice", "A", quantity=31 * MICRO + 7),
        buy("bob", "B", spend=17 * MICRO),
        SplitSets("carol", "m", 20 * MICRO),
        sell("carol", "C", quantity=11 * MICRO),
        buy("bob", "B", quantity=9 * MICRO, limit_price=350_000, name="bid"),
        sell("carol", "B", quantity=5 * MICRO, limit_price=300_000),
        MergeSets("carol", "m", MICRO),
        buy("dave", "C", quantity=9 * MICRO, limit_price=100_000),
        sell("alice", "A", quantity=MICRO, limit_price=990_000),
    )


def finalized(payouts: tuple[Payout, ...], **terms: object) -> Scenario:
    """Return that market, closed, determined and paid out."""
    return traded(**terms).given(CloseMarket("m"), DetermineMarket("m", payouts, WHY), FinalizeMarket("m"))


@pytest.mark.parametrize("payouts", [A_WINS, B_WINS, SPLIT_UP], ids=["A", "B", "all"])
def test_a_finalized_market_pays_each_share_its_fraction(payouts: tuple[Payout, ...]) -> None:
    """Each account's payout is rounded down once; the rest goes to the house, and the pool is empty."""
    scenario = traded()
    scenario.given(CloseMarket("m"), DetermineMarket("m", payouts, WHY))
    fractions = {payout.outcome: payout.fraction for payout in payouts}
    before = {name: scenario.cash(name) for name in TRADERS}
    expected = {
        name: sum(scenario.shares(name, outcome) * fractions.get(outcome, 0) for outcome in "ABC") // MICRO
        for name in TRADERS
    }
    scenario.when(FinalizeMarket("m"))

    assert [type(event) for event in scenario.events] == [MarketFinalized, *[PayoutPaid] * 3, MarketSettled]
    assert {name: scenario.cash(name) - before[name] for name in TRADERS} == expected
    assert "pool:m" not in scenario.balances()
    assert all(scenario.shares(name, outcome) == 0 for name in TRADERS for outcome in "ABC")


def test_losing_shares_are_paid_nothing_but_are_taken_too() -> None:
    """So the end of every position is an event of its own."""
    scenario = finalized(A_WINS)
    bob = next(
        entry.event
        for _, _, entry in scenario.log
        if getattr(entry.event, "account_id", "") == "bob" and isinstance(entry.event, PayoutPaid)
    )
    assert bob.amount == 0
    assert [paid.outcome for paid in bob.shares] == ["B"]


# --- correct


@pytest.mark.parametrize("other", [B_WINS, SPLIT_UP], ids=["B", "all"])
def test_a_correction_to_another_outcome_and_back_leaves_every_balance_as_before(other: tuple[Payout, ...]) -> None:
    """After the first correction every balance is as if the other outcome had been right from the start."""
    scenario, direct = finalized(A_WINS, fee_rate=30_000), finalized(other, fee_rate=30_000)
    before = scenario.balances()
    scenario.when(CorrectMarket("m", other, WHY))
    kinds = [type(event) for event in scenario.events]
    assert kinds == [MarketCorrected, *[PayoutReversed] * 3, MarketReversed, *[PayoutPaid] * 3, MarketSettled]
    assert direct.balances() == scenario.balances()
    scenario.given(CorrectMarket("m", A_WINS, WHY))
    assert before == scenario.balances()


def test_an_account_that_spent_a_payout_that_is_taken_back_is_overdrawn() -> None:
    """Until its cash is not below zero, it may only deposit, sell, merge and cancel."""
    scenario = given(*a_market(market="n"), *accounts("poor", cash=60 * MICRO))
    scenario.given(*a_market(("A", "B", "C")), SplitSets("poor", "n", 5 * MICRO), buy("poor", "A", quantity=50 * MICRO))
    scenario.given(buy("poor", "Yes", market="n", quantity=MICRO, limit_price=400_000, name="bid"))
    scenario.given(CloseMarket("m"), DetermineMarket("m", A_WINS, WHY), FinalizeMarket("m"))
    scenario.given(WithdrawCash("poor", scenario.cash("poor")))
    scenario.given(CorrectMarket("m", B_WINS, WHY))

    assert scenario.cash("poor") == -50 * MICRO
    assert scenario.exchange.accounts["poor"].overdrawn
    for command in (
        buy("poor", "Yes", market="n", quantity=MICRO),
        SplitSets("poor", "n", MICRO),
        WithdrawCash("poor", 1),
    ):
        scenario.when(command).rejected(Code.ACCOUNT_OVERDRAWN, available=-50 * MICRO)
    scenario.when(AmendOrder("poor", "bid", limit_price=1_000)).rejected(Code.ACCOUNT_OVERDRAWN)
    scenario.given(AmendOrder("poor", "bid", quantity=MICRO - 1))  # shrinking cancels a part
    scenario.given(
        CancelOrder("poor", "bid"), sell("poor", "No", market="n", quantity=4 * MICRO), MergeSets("poor", "n", MICRO)
    )
    scenario.given(sell("poor", "Yes", market="n", quantity=MICRO, limit_price=900_000))
    debt = -scenario.cash("poor")
    scenario.given(DepositCash("poor", debt - 1))
    scenario.when(SplitSets("poor", "n", 1)).rejected(Code.ACCOUNT_OVERDRAWN)
    scenario.given(DepositCash("poor", 2), SplitSets("poor", "n", 1))


def test_a_correction_may_be_corrected_and_be_the_same() -> None:
    """It can be corrected again and again, also to the same payouts."""
    scenario = finalized(A_WINS)
    before = scenario.balances()
    for payouts in (A_WINS, B_WINS, B_WINS, SPLIT_UP, A_WINS):
        scenario.given(CorrectMarket("m", payouts, WHY))
    assert before == scenario.balances()


# --- void


@pytest.mark.parametrize("fee_rate", [0, 100_000])
def test_a_void_gives_everybody_the_cash_they_would_have_without_the_market(fee_rate: int) -> None:
    """Fees, bonds (forfeited ones too), added liquidity and the subsidy return to where they came from."""
    scenario = traded(fee_rate=fee_rate, dispute_seconds=60).given(AddLiquidity("m", 10 * MICRO), CloseMarket("m"))
    scenario.given(DetermineMarket("m", A_WINS, WHY), DisputeMarket("m", "dave", "No.", 3 * MICRO), UpholdMarket("m"))
    scenario.given(DisputeMarket("m", "bob", "Still no.", 4 * MICRO), UpholdMarket("m"))
    scenario.given(DisputeMarket("m", "alice", "No!", 4 * MICRO))
    scenario.when(VoidMarket("m", "wrong question"))

    assert [type(event) for event in scenario.events][1:3] == [MarketVoided, PositionVoided]
    assert isinstance(scenario.events[-1], MarketUnwound)
    assert scenario.event(MarketUnwound).residual == 110 * MICRO
    assert {name: scenario.cash(name) for name in TRADERS} == dict.fromkeys(TRADERS, 1_000 * MICRO)
    assert scenario.balances() == {"external": -4_000 * MICRO, **{f"cash:{name}": 1_000 * MICRO for name in TRADERS}}


def test_a_void_with_orders_in_the_book_first_cancels_them() -> None:
    """The cash and shares that they reserved are available again."""
    scenario = traded().when(VoidMarket("m", "wrong question"))
    reasons = {event.reason for event in scenario.events if isinstance(event, OrderCanceled)}
    assert reasons == {"market_voided"}
    assert {scenario.cash(name) for name in TRADERS} == {1_000 * MICRO}


def test_a_void_after_profits_were_withdrawn_takes_them_back_below_zero() -> None:
    """The void takes back exactly what the market paid; the account is overdrawn, and nobody else has too little."""
    scenario = given(*a_market(), *accounts("early", "late", cash=200 * MICRO))
    scenario.given(buy("early", "Yes", quantity=100 * MICRO), buy("late", "Yes", spend=150 * MICRO))
    scenario.given(sell("early", "Yes", quantity=100 * MICRO))
    profit = scenario.cash("early") - 200 * MICRO
    assert profit > 0
    scenario.given(WithdrawCash("early", scenario.cash("early")))
    scenario.given(VoidMarket("m", "wrong question"))

    assert scenario.cash("early") == -profit
    assert scenario.cash("late") == 200 * MICRO
    assert scenario.balances()["external"] == -400 * MICRO + 200 * MICRO + profit
    assert "pool:m" not in scenario.balances()
    assert "house" not in scenario.balances()


def test_a_void_takes_back_before_it_gives() -> None:
    """Profits far above the subsidy come from other traders, whom the pool could not refund first."""
    scenario = given(
        *a_market(subsidy=MICRO), *accounts("clever", "one", "other"), SplitSets("clever", "m", 100 * MICRO)
    )
    scenario.given(buy("one", "Yes", quantity=100 * MICRO, limit_price=900_000))
    scenario.given(sell("clever", "Yes", quantity=90 * MICRO, limit_price=900_000))
    scenario.given(buy("other", "No", quantity=100 * MICRO, limit_price=900_000))
    scenario.given(sell("clever", "No", quantity=90 * MICRO, limit_price=900_000))
    assert scenario.exchange.accounts["clever"].holding("m").cash_flow > 50 * MICRO
    scenario.given(VoidMarket("m", "wrong question"))

    assert {scenario.cash(name) for name in ("clever", "one", "other")} == {1_000 * MICRO}


# --- many accounts, and a crash halfway


def crowd(count: int) -> Scenario:
    """Return a scenario with a closed market that has many holders, without an audit of each event, which would take long."""
    scenario = Scenario()
    commands = [*a_market(("A", "B", "C"), subsidy=10_000 * MICRO)]
    for number in range(count):
        name = f"a{number:04}"
        commands += [*accounts(name), buy(name, "ABC"[number % 3], quantity=(number + 1) * 1000)]
        commands += [buy(name, "A", quantity=MICRO, limit_price=100_000)]
    commands += [CloseMarket("m"), DetermineMarket("m", SPLIT_UP, WHY)]
    for number, command in enumerate(commands):
        scenario.time += 1
        entries = scenario.exchange.handle(command, scenario.time, f"c{number}")
        scenario.log += [(f"c{number}", scenario.time, entry) for entry in entries]
        while (step := scenario.exchange.step(scenario.time)) is not None:
            assert 0 < len(step[1]) <= 2 * STEP
            scenario.log += [(step[0], scenario.time, entry) for entry in step[1]]
    return scenario


def finish(exchange: Exchange, scenario: Scenario, begin: int) -> list[tuple[str, int, object]]:
    """Finish everything that is unfinished, and return the whole log."""
    log: list[tuple[str, int, object]] = list(scenario.log[:begin])
    while (step := exchange.step(scenario.time)) is not None:
        log += [(step[0], scenario.time, entry) for entry in step[1]]
    return log


@pytest.mark.parametrize("way", ["finalize", "correct", "void"])
def test_work_that_a_crash_interrupts_is_finished_after_a_replay(way: str) -> None:
    """From any prefix of the events `step` continues to the same state, and its events have the id of the same command."""
    scenario = crowd(2 * STEP + 50)
    commands = {
        "finalize": [FinalizeMarket("m")],
        "correct": [FinalizeMarket("m"), CorrectMarket("m", A_WINS, WHY)],
        "void": [VoidMarket("m", "wrong")],
    }[way]
    for command in commands:
        scenario.time += 1
        start = len(scenario.log)
        scenario.log += [
            ("last", scenario.time, entry) for entry in scenario.exchange.handle(command, scenario.time, "last")
        ]
        while (step := scenario.exchange.step(scenario.time)) is not None:
            assert len(step[1]) <= 2 * STEP
            scenario.log += [("last", scenario.time, entry) for entry in step[1]]
            assert step[0] == "last"
    expected = scenario.exchange.state_hash()
    length = len(scenario.log)
    assert length - start > 2 * STEP

    for cut in (start + 1, start + 2, start + STEP, start + STEP + 1, start + STEP + 77, length - 1, length):
        exchange = Exchange()
        for command_id, time, entry in scenario.log[:cut]:
            exchange.apply(entry.event, stream=entry.stream, version=entry.version, time=time, command_id=command_id)
        log = finish(exchange, scenario, cut)
        assert all(command_id == "last" for command_id, _, _ in log[start:])
        assert exchange.state_hash() == expected
        assert exchange.ledger.total() == 0
        assert exchange.ledger.pool("m") == 0
        assert exchange.markets["m"].settled


def test_closing_a_deep_book_is_done_in_bounded_steps() -> None:
    """All orders are canceled in pieces; an audit of the log checks every invariant at every position."""
    scenario = crowd(STEP + 50)
    audit = Audit()
    for command_id, time, entry in scenario.log:
        audit.apply(entry, time=time, command_id=command_id)
    audit.check_all()
    assert audit.exchange.state_hash() == scenario.exchange.state_hash()
