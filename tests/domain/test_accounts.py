"""Accounts: deposits, withdrawals, complete sets, and the ledger behind them."""

import pytest
from msgspec.structs import replace

from domain.account import CashDeposited, CashWithdrawn, DepositCash, OpenAccount, SetsMerged, SetsSplit, WithdrawCash
from domain.market import SetsBurned, SetsMinted
from domain.money import MICRO
from domain.orders import MergeSets, SplitSets
from domain.rejections import Code
from domain.story import PublishStory
from tests.domain.scenario import Scenario, a_market, accounts, buy, given, sell


def test_an_account_is_opened_once() -> None:
    """It has no cash."""
    scenario = given(OpenAccount("alice", "Alice"))
    assert scenario.cash("alice") == 0
    scenario.when(OpenAccount("alice", "Alice")).rejected(Code.ACCOUNT_EXISTS)


def test_cash_comes_in_from_outside_and_goes_out_again() -> None:
    """The balance of `external` is minus what came in plus what went out."""
    scenario = given(OpenAccount("alice", "Alice"))
    scenario.when(DepositCash("alice", 10 * MICRO)).then(CashDeposited)
    scenario.when(WithdrawCash("alice", 4 * MICRO)).then(CashWithdrawn)
    assert scenario.balances() == {"external": -6 * MICRO, "cash:alice": 6 * MICRO}
    scenario.when(WithdrawCash("alice", 6 * MICRO + 1)).rejected(Code.INSUFFICIENT_FUNDS, available=6 * MICRO)
    scenario.given(WithdrawCash("alice", 6 * MICRO))
    scenario.when(DepositCash("bob", 1)).rejected(Code.ACCOUNT_NOT_FOUND)
    scenario.when(WithdrawCash("bob", 1)).rejected(Code.ACCOUNT_NOT_FOUND)


def test_reserved_cash_cannot_be_withdrawn() -> None:
    """Only available cash can be withdrawn."""
    scenario = given(*a_market(), *accounts("alice", cash=10 * MICRO))
    scenario.given(buy("alice", "Yes", quantity=10 * MICRO, limit_price=400_000))
    scenario.when(WithdrawCash("alice", 6 * MICRO + 1)).rejected(Code.INSUFFICIENT_FUNDS, available=6 * MICRO)
    scenario.given(WithdrawCash("alice", 6 * MICRO))


@pytest.mark.parametrize("outcomes", [2, 3, 64])
def test_a_set_is_a_share_of_every_outcome_for_a_credit_each_way(outcomes: int) -> None:
    """Splitting and merging are free and move no price."""
    names = tuple(map(str, range(outcomes)))
    scenario = given(*a_market(names, fee_rate=100_000), *accounts("alice"))
    prices = scenario.exchange.markets["m"].prices
    scenario.when(SplitSets("alice", "m", 7 * MICRO + 1)).then(SetsSplit, SetsMinted)
    assert {scenario.shares("alice", name) for name in names} == {7 * MICRO + 1}
    assert scenario.cash("alice") == 993 * MICRO - 1
    scenario.when(MergeSets("alice", "m", 7 * MICRO + 1)).then(SetsBurned, SetsMerged)
    assert scenario.cash("alice") == 1_000 * MICRO
    assert prices == scenario.exchange.markets["m"].prices


def test_a_merge_needs_available_shares_of_every_outcome() -> None:
    """Shares that a resting sale reserves do not count."""
    scenario = given(*a_market(), *accounts("alice"), SplitSets("alice", "m", 5 * MICRO))
    scenario.given(sell("alice", "No", quantity=2 * MICRO, limit_price=900_000))
    scenario.when(MergeSets("alice", "m", 3 * MICRO + 1)).rejected(
        Code.INSUFFICIENT_SHARES, outcome="No", available=3 * MICRO
    )
    scenario.given(MergeSets("alice", "m", 3 * MICRO))


def test_a_split_needs_the_cash() -> None:
    """All of it must be available."""
    scenario = given(*a_market(), *accounts("alice", cash=MICRO))
    scenario.when(SplitSets("alice", "m", MICRO + 1)).rejected(Code.INSUFFICIENT_FUNDS)
    scenario.when(SplitSets("alice", "x", 1)).rejected(Code.MARKET_NOT_FOUND)
    scenario.when(MergeSets("bob", "m", 1)).rejected(Code.ACCOUNT_NOT_FOUND)


def test_a_story_is_published_once_and_all_of_it_or_nothing() -> None:
    """If one of its markets is refused, neither the story nor the other markets are published."""
    first = a_market()[0]
    given(first).when(first).rejected(Code.STORY_EXISTS)
    assert isinstance(first, PublishStory)
    good = first.markets[0]
    bad = replace(good, market_id="n", slug="n", subsidy=0)
    scenario = Scenario().when(replace(first, markets=(good, bad)))
    scenario.rejected(Code.INVALID_FIELD, field="subsidy")
    assert scenario.exchange.markets == {}
    twice = replace(good, market_id="n")
    Scenario().when(replace(first, markets=(good, twice))).rejected(Code.INVALID_FIELD, field="markets")
    many = tuple(replace(good, market_id=f"{i}", slug=f"{i}") for i in range(51))
    Scenario().when(replace(first, markets=many)).rejected(Code.INVALID_FIELD, field="markets")
