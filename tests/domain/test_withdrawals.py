"""What an account gains can be withdrawn once nobody can take it back any more; until then it can be traded."""

from __future__ import annotations

from domain.account import CashWithdrawn, DepositCash, OpenAccount, WithdrawCash
from domain.market import (
    BOND_DEFAULT,
    DISPUTE_SECONDS_DEFAULT,
    SECOND,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    Evidence,
    FinalizeMarket,
    MarketDisputed,
    MarketFinalized,
    OpenMarket,
    Payout,
    UpholdMarket,
    VoidMarket,
)
from domain.money import MICRO
from domain.orders import PlaceOrder
from domain.rejections import Code
from tests.domain.scenario import Scenario, a_market, given

DAY = 24 * 3600
YES, NO, WHY = (Payout("Yes", MICRO),), (Payout("No", MICRO),), Evidence("so it is")


def order(account: str, outcome: str, side: str, price: float, quantity: int) -> PlaceOrder:
    """Return a limit order."""
    name = f"{account}-{outcome}-{side}-{price}"
    return PlaceOrder(account, "m", name, name, outcome, side, "limit", quantity * MICRO, None, round(price * MICRO))  # type: ignore[arg-type]


def colluders(hold_seconds: int = DAY) -> Scenario:
    """Return an exchange in which a winner has bought 100 shares of a loser, who sold them dear or cheap: each had 55."""
    scenario = given(*a_market(dispute_seconds=0, subsidy=1 * MICRO))
    scenario.exchange.hold_seconds = hold_seconds
    return scenario.given(
        *(OpenAccount(name, name) for name in ("winner", "loser")),
        *(DepositCash(name, 100 * MICRO) for name in ("winner", "loser")),
        order("loser", "Yes", "buy", 0.9, 100),
        order("winner", "No", "buy", 0.101, 100),
    )


def settled(scenario: Scenario) -> Scenario:
    """Pay No: the winner's shares."""
    return scenario.given(CloseMarket("m"), DetermineMarket("m", NO, WHY), FinalizeMarket("m"))


def cash(scenario: Scenario, name: str) -> int:
    """Return the available cash of an account."""
    return scenario.exchange.accounts[name].cash


def test_a_payout_is_held_for_a_while() -> None:
    """Nothing that a correction would take back has left; afterwards all of it can go."""
    scenario = settled(colluders())
    rich = cash(scenario, "winner")
    assert rich > 150 * MICRO
    withdrawable = rich - scenario.exchange.accounts["winner"].holdings["m"].paid  # type: ignore[operator]
    refused = scenario.when(WithdrawCash("winner", withdrawable + 1))
    refused.rejected(Code.WITHDRAWAL_HELD, withdrawable=withdrawable, available=rich)
    scenario.given(WithdrawCash("winner", withdrawable), CorrectMarket("m", YES, WHY))
    assert cash(scenario, "winner") >= 0

    scenario = settled(colluders())
    scenario.time += DAY * SECOND - 2  # the next command comes a microsecond later
    scenario.when(WithdrawCash("winner", rich)).rejected(Code.WITHDRAWAL_HELD)
    scenario.when(WithdrawCash("winner", rich)).then(CashWithdrawn)


def test_a_correction_holds_anew() -> None:
    """The new payouts are as young as the correction."""
    scenario = settled(colluders())
    scenario.time += DAY * SECOND
    scenario.given(CorrectMarket("m", YES, WHY))
    paid = scenario.exchange.accounts["loser"].holdings["m"].paid
    assert paid
    scenario.when(WithdrawCash("loser", cash(scenario, "loser"))).rejected(Code.WITHDRAWAL_HELD)


def test_a_gain_in_a_market_that_can_be_voided_is_held() -> None:
    """Whoever sold dear to a mate cannot withdraw the gain; so a void leaves nobody below zero."""
    scenario = colluders()
    scenario.given(OpenAccount("mate", "mate"), DepositCash("mate", 100 * MICRO))
    scenario.given(order("mate", "No", "buy", 0.9, 100), order("winner", "No", "sell", 0.9, 90))
    gained = scenario.exchange.accounts["winner"].holdings["m"].cash_flow
    assert gained > 70 * MICRO
    available = cash(scenario, "winner")
    scenario.when(WithdrawCash("winner", available)).rejected(Code.WITHDRAWAL_HELD, withdrawable=available - gained)
    scenario.given(WithdrawCash("winner", available - gained), VoidMarket("m", "undone"))
    assert all(account.cash >= 0 for account in scenario.exchange.accounts.values())


def test_without_a_hold_everything_can_be_withdrawn() -> None:
    """The attack that the hold is against: a correction leaves a debt that nobody owes."""
    scenario = settled(colluders(hold_seconds=0))
    finalized = [entry.event for _, _, entry in scenario.log if isinstance(entry.event, MarketFinalized)]
    assert [event.held_until for event in finalized] == [0]
    scenario.given(WithdrawCash("winner", cash(scenario, "winner")), CorrectMarket("m", YES, WHY))
    assert cash(scenario, "winner") < -80 * MICRO


def test_each_dispute_costs_twice_the_last_one() -> None:
    """The smallest bond doubles, also when it is not named; the window is a day if the market names none."""
    scenario = given(*a_market(dispute_seconds=DISPUTE_SECONDS_DEFAULT))
    scenario.given(OpenAccount("ann", "ann"), DepositCash("ann", 100 * MICRO))
    scenario.given(CloseMarket("m"), DetermineMarket("m", YES, WHY))
    for number in range(4):
        least = BOND_DEFAULT << number
        scenario.when(DisputeMarket("m", "ann", "no", least - 1)).rejected(Code.BOND_TOO_SMALL, least=least)
        scenario.given(DisputeMarket("m", "ann", "no"), UpholdMarket("m"))
    bonds = [entry.event.bond for _, _, entry in scenario.log if isinstance(entry.event, MarketDisputed)]
    assert bonds == [BOND_DEFAULT << number for number in range(4)]
    terms = OpenMarket("m2", "s", "m2", "?", ("Yes", "No"), MICRO, 10**15, "us")
    assert terms.dispute_seconds == DAY
