"""What operators and disputers decide: every command in every status, opening, disputes and payouts."""

import pytest

from domain.account import BondForfeited, BondPosted, BondReturned, OrderReleased
from domain.commands import Command
from domain.market import (
    ActivateMarket,
    AddLiquidity,
    ClarifyMarket,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    DisputeUpheld,
    Evidence,
    FinalizeMarket,
    HaltMarket,
    LiquidityAdded,
    MarketActivated,
    MarketDetermined,
    MarketDisputed,
    MarketDrafted,
    MarketFinalized,
    MarketHalted,
    MarketSettled,
    OpenMarket,
    Payout,
    ResumeMarket,
    Status,
    UpholdMarket,
    VoidMarket,
)
from domain.market_decisions import LEGAL
from domain.money import MICRO
from domain.orders import AmendOrder, CancelOrder, MergeSets, OrderCanceled, SplitSets
from domain.partition import CommandRejected
from domain.rejections import Code
from tests.domain.scenario import CLOSE, SECOND, START, Scenario, a_market, accounts, buy, given, sell

YES = (Payout("Yes", MICRO),)
WHY = Evidence("It was in the paper.", "https://example.org/paper")
WINDOW = 60

TO_STATUS: dict[Status, tuple[Command, ...]] = {
    Status.DRAFT: (),
    Status.ACTIVE: (ActivateMarket("m"),),
    Status.HALTED: (ActivateMarket("m"), HaltMarket("m")),
    Status.CLOSED: (ActivateMarket("m"), CloseMarket("m")),
    Status.DETERMINED: (ActivateMarket("m"), CloseMarket("m"), DetermineMarket("m", YES, WHY)),
    Status.DISPUTED: (
        ActivateMarket("m"),
        CloseMarket("m"),
        DetermineMarket("m", YES, WHY),
        DisputeMarket("m", "alice", "No."),
    ),
    Status.VOIDED: (ActivateMarket("m"), VoidMarket("m", "wrong question")),
}

COMMANDS: tuple[Command, ...] = (
    ActivateMarket("m"),
    HaltMarket("m"),
    ResumeMarket("m"),
    CloseMarket("m"),
    ClarifyMarket("m", "the evening edition"),
    AddLiquidity("m", MICRO),
    DetermineMarket("m", YES, WHY),
    DisputeMarket("m", "alice", "No."),
    UpholdMarket("m"),
    FinalizeMarket("m"),
    CorrectMarket("m", YES, WHY),
    VoidMarket("m", "wrong question"),
)

TABLE = {
    "ActivateMarket": "draft",
    "HaltMarket": "active",
    "ResumeMarket": "halted",
    "CloseMarket": "active halted",
    "ClarifyMarket": "draft active halted",
    "AddLiquidity": "active halted",
    "DetermineMarket": "closed disputed",
    "DisputeMarket": "determined",
    "UpholdMarket": "disputed",
    "FinalizeMarket": "determined finalized",  # a finalized market: accepted, without effect
    "CorrectMarket": "finalized",
    "VoidMarket": "draft active halted closed determined disputed",
}
"""The table of the rules, written a second time by hand, so that a change of the one in the code is noticed."""


def in_status(status: Status) -> Scenario:
    """Return a scenario with a market in this status."""
    scenario = given(*a_market(dispute_seconds=0, draft=True), *accounts("alice"))
    if status is Status.FINALIZED:
        return scenario.given(*TO_STATUS[Status.DETERMINED], FinalizeMarket("m"))
    if status in {Status.DETERMINED, Status.DISPUTED}:
        scenario = given(*a_market(dispute_seconds=WINDOW, draft=True), *accounts("alice"))
    return scenario.given(*TO_STATUS[status])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("status", list(Status))
def test_every_command_in_every_status(status: Status, command: Command) -> None:
    """A command that the table does not allow is refused with MARKET_STATUS and the status, and changes nothing."""
    scenario = in_status(status)
    assert status == scenario.exchange.markets["m"].status
    if isinstance(command, FinalizeMarket) and status is Status.DETERMINED:
        scenario.time = (
            scenario.exchange.markets["m"].dispute_until - 1
        )  # at the end of the window the clock finalizes first
        scenario.when(command, at=scenario.time).rejected(Code.DISPUTE_WINDOW_OPEN)
        return
    balances = scenario.balances()
    scenario.when(command)

    if status in TABLE[type(command).__name__].split():
        assert not isinstance(scenario.events[0], CommandRejected)
    else:
        scenario.rejected(Code.MARKET_STATUS, status=status)
        assert balances == scenario.balances()
        assert status == scenario.exchange.markets["m"].status


def test_the_table_in_the_code_is_the_one_written_here() -> None:
    """No command is missing, and every status is the same."""
    in_code = {command.__name__: {str(status) for status in statuses} for command, statuses in LEGAL.items()}
    here = {command: set(statuses.split()) for command, statuses in TABLE.items()}
    here["FinalizeMarket"].remove("finalized")
    assert here == in_code


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.ACTIVE])
def test_orders_and_splits_are_taken_only_while_active(status: Status) -> None:
    """Any other status refuses them and is named."""
    scenario = in_status(status)
    scenario.when(buy("alice", "Yes", quantity=MICRO)).rejected(Code.MARKET_NOT_ACTIVE, status=status)
    scenario.when(SplitSets("alice", "m", MICRO)).rejected(Code.MARKET_NOT_ACTIVE, status=status)


def test_while_halted_orders_rest_and_can_be_canceled_but_not_amended() -> None:
    """A halt keeps the book."""
    scenario = given(
        *a_market(), *accounts("alice"), buy("alice", "Yes", name="o", quantity=MICRO, limit_price=400_000)
    )
    scenario.when(HaltMarket("m")).then(MarketHalted)
    assert "o" in scenario.exchange.markets["m"].book.orders
    scenario.when(AmendOrder("alice", "o", quantity=2 * MICRO)).rejected(Code.MARKET_NOT_ACTIVE)
    scenario.when(CancelOrder("alice", "o")).then(OrderCanceled, OrderReleased)


def test_sets_can_be_merged_while_halted_and_closed_but_not_later() -> None:
    """Merging moves no price, so it is allowed until the payouts are named."""
    scenario = given(*a_market(), *accounts("alice"), SplitSets("alice", "m", 5 * MICRO), HaltMarket("m"))
    scenario.given(MergeSets("alice", "m", MICRO), CloseMarket("m"), MergeSets("alice", "m", MICRO))
    scenario.given(DetermineMarket("m", YES, WHY))
    scenario.when(MergeSets("alice", "m", MICRO)).rejected(Code.MARKET_NOT_ACTIVE, status="determined")


# --- opening


def test_a_market_opens_active_and_the_house_funds_its_amm() -> None:
    """The subsidy moves from the house to the pool, and the prices are uniform to the last digit."""
    scenario = given(*a_market(("A", "B", "C")))
    assert isinstance(scenario.events[-1], MarketActivated)
    assert scenario.balances() == {"house": -100 * MICRO, "pool:m": 100 * MICRO}
    assert scenario.exchange.markets["m"].displayed_prices() == (333_334, 333_333, 333_333)


def test_a_draft_takes_no_money_before_it_is_activated() -> None:
    """It has no AMM yet."""
    scenario = Scenario().when(a_market(draft=True)[0])
    assert isinstance(scenario.events[-1], MarketDrafted)
    assert scenario.balances() == {}


@pytest.mark.parametrize(
    ("field", "terms"),
    [
        ("outcomes", {"outcomes": ("Yes",)}),
        ("outcomes", {"outcomes": tuple(map(str, range(65)))}),
        ("outcomes", {"outcomes": ("Yes", "Yes")}),
        ("initial_prices", {"initial_prices": (400_000, 500_000)}),
        ("initial_prices", {"initial_prices": (1_000_000,)}),
        ("initial_prices", {"initial_prices": (999, 999_001)}),
        ("subsidy", {"subsidy": MICRO - 1}),
        ("subsidy", {"subsidy": 10_000_000 * MICRO + 1}),
        ("fee_rate", {"fee_rate": MICRO + 1}),
        ("dispute_seconds", {"dispute_seconds": -1}),
    ],
)
def test_a_market_with_a_wrong_field_is_refused_and_the_field_named(field: str, terms: dict[str, object]) -> None:
    """The story is not published either."""
    terms = dict(terms)
    outcomes = terms.pop("outcomes", ("Yes", "No"))
    scenario = Scenario().when(a_market(outcomes, **terms)[0])  # type: ignore[arg-type]
    scenario.rejected(Code.INVALID_FIELD, field=field)
    assert scenario.exchange.stories == {}


def test_a_market_with_64_outcomes_and_skewed_prices_opens_with_them() -> None:
    """The opening prices are the given ones, to the last digit."""
    prices = (1_000,) * 63 + (MICRO - 63_000,)
    scenario = given(*a_market(tuple(map(str, range(64))), initial_prices=prices))
    assert scenario.exchange.markets["m"].displayed_prices() == prices


def test_a_clarification_is_a_new_version_that_later_orders_show() -> None:
    """Every order records the wording that its trader saw."""
    scenario = given(*a_market(), *accounts("alice"))
    assert scenario.when(buy("alice", "Yes", quantity=MICRO)).placed.resolution_version == 1
    scenario.given(ClarifyMarket("m", "the evening edition"))
    assert scenario.when(buy("alice", "Yes", quantity=MICRO, name="again")).placed.resolution_version == 2


def test_added_liquidity_moves_no_price_and_deepens_the_market() -> None:
    """The house pays for it."""
    scenario = given(*a_market(("A", "B", "C")), *accounts("alice"), buy("alice", "A", quantity=50 * MICRO))
    prices, b = scenario.exchange.markets["m"].displayed_prices(), scenario.exchange.markets["m"].liquidity
    scenario.when(AddLiquidity("m", 40 * MICRO)).then(LiquidityAdded)
    assert prices == scenario.exchange.markets["m"].displayed_prices()
    assert b < scenario.exchange.markets["m"].liquidity
    assert scenario.balances()["house"] == -140 * MICRO


def test_a_subsidy_has_an_upper_bound() -> None:
    """Above it the errors of floats would come near a micro-credit."""
    scenario = given(*a_market(subsidy=10_000_000 * MICRO))
    scenario.when(AddLiquidity("m", 1)).rejected(Code.INVALID_FIELD, field="amount")


def test_without_a_window_the_operator_finalizes_at_once() -> None:
    """With `dispute_seconds` 0 there is nothing to wait for, and no time to dispute."""
    scenario = given(*a_market(), *accounts("alice"), CloseMarket("m"), DetermineMarket("m", YES, WHY))
    scenario.when(DisputeMarket("m", "alice", "No."), at=scenario.time).rejected(Code.DISPUTE_WINDOW_CLOSED)
    scenario.when(DisputeMarket("m", "alice", "No.")).rejected(Code.DISPUTE_WINDOW_CLOSED)
    scenario.when(FinalizeMarket("m")).then(MarketFinalized, MarketSettled)


# --- dispute


def disputed() -> Scenario:
    """Return a scenario with a market that alice disputes with the smallest bond."""
    scenario = given(*a_market(dispute_seconds=WINDOW, dispute_bond=5 * MICRO), *accounts("alice"))
    scenario.given(CloseMarket("m"), DetermineMarket("m", YES, WHY))
    scenario.when(DisputeMarket("m", "alice", "It was not.")).then(BondPosted, MarketDisputed)
    return scenario


def test_a_dispute_posts_a_bond_and_stops_the_clock() -> None:
    """The end of the window passes without effect."""
    scenario = disputed()
    assert scenario.balances()["bonds"] == 5 * MICRO
    scenario.wait_until(scenario.time + 10 * WINDOW * SECOND).then()
    assert scenario.exchange.markets["m"].status is Status.DISPUTED


def test_upholding_forfeits_the_bond_and_begins_a_new_window() -> None:
    """The house gets the bond, and the market finalizes at the end of the new window."""
    scenario = disputed()
    scenario.when(UpholdMarket("m"), at=scenario.time + 500 * SECOND).then(BondForfeited, DisputeUpheld)
    assert scenario.cash("alice") == 995 * MICRO
    assert scenario.balances()["house"] == -95 * MICRO
    assert scenario.exchange.next_due() is not None
    scenario.wait_until(scenario.time + WINDOW * SECOND).then(MarketFinalized, MarketSettled)


def test_amending_returns_the_bond_and_begins_a_new_window() -> None:
    """The disputer was right, and the new payouts are final at the end of the new window."""
    scenario = disputed()
    scenario.when(DetermineMarket("m", (Payout("No", MICRO),), WHY)).then(BondReturned, MarketDetermined)
    assert scenario.cash("alice") == 1_000 * MICRO
    scenario.wait_until(scenario.time + WINDOW * SECOND).then(MarketFinalized, MarketSettled)
    assert scenario.event(MarketFinalized).payouts == (Payout("No", MICRO),)


def test_a_dispute_at_the_end_of_the_window_is_too_late() -> None:
    """A microsecond earlier it is accepted."""
    early, late = (
        given(*a_market(dispute_seconds=WINDOW), *accounts("alice"), CloseMarket("m"), DetermineMarket("m", YES, WHY))
        for _ in range(2)
    )
    until = early.exchange.markets["m"].dispute_until
    early.when(DisputeMarket("m", "alice", "No."), at=until - 1).then(BondPosted, MarketDisputed)
    late.when(DisputeMarket("m", "alice", "No."), at=until)
    assert late.exchange.markets["m"].status is Status.FINALIZED
    assert late.balances().get("bonds", 0) == 0


def test_a_bond_must_be_large_enough_and_paid() -> None:
    """It is at least the market's smallest bond, and paid from available cash."""
    scenario = given(*a_market(dispute_seconds=WINDOW, dispute_bond=5 * MICRO), *accounts("alice", cash=6 * MICRO))
    scenario.given(CloseMarket("m"), DetermineMarket("m", YES, WHY))
    scenario.when(DisputeMarket("m", "alice", "No.", 5 * MICRO - 1)).rejected(Code.BOND_TOO_SMALL, least=5 * MICRO)
    scenario.when(DisputeMarket("m", "alice", "No.", 7 * MICRO)).rejected(Code.INSUFFICIENT_FUNDS)
    scenario.when(DisputeMarket("m", "alice", "No.", 6 * MICRO)).then(BondPosted, MarketDisputed)


@pytest.mark.parametrize(
    ("payouts", "code"),
    [
        ((), Code.INVALID_PAYOUTS),
        ((Payout("Yes", MICRO - 1),), Code.INVALID_PAYOUTS),
        ((Payout("Yes", MICRO), Payout("No", 1)), Code.INVALID_PAYOUTS),
        ((Payout("Yes", 2 * MICRO), Payout("No", -MICRO)), Code.INVALID_PAYOUTS),
        ((Payout("Yes", 500_000), Payout("Yes", 500_000)), Code.INVALID_PAYOUTS),
        ((Payout("Perhaps", MICRO),), Code.UNKNOWN_OUTCOME),
    ],
)
def test_payouts_are_fractions_of_known_outcomes_that_sum_to_1(payouts: tuple[Payout, ...], code: Code) -> None:
    """A determination and a correction refuse other payouts with the same codes."""
    given(*a_market(), CloseMarket("m")).when(DetermineMarket("m", payouts, WHY)).rejected(code)
    scenario = given(*a_market(), CloseMarket("m"), DetermineMarket("m", YES, WHY), FinalizeMarket("m"))
    scenario.when(CorrectMarket("m", payouts, WHY)).rejected(code)


def test_an_existing_story_gets_further_markets_and_a_missing_one_none() -> None:
    """A market can be added only to a story that exists."""
    scenario = given(*a_market())
    more = OpenMarket("n", "s-m", "n", "another?", ("A", "B"), 10 * MICRO, CLOSE, "source")
    scenario.when(more).then(MarketDrafted, MarketActivated)
    scenario.when(more).rejected(Code.MARKET_EXISTS)
    scenario.when(OpenMarket("x", "nowhere", "x", "?", ("A", "B"), MICRO, CLOSE, "s")).rejected(Code.STORY_NOT_FOUND)
    scenario.when(OpenMarket("x", "s-m", "x", "?", ("A", "B"), MICRO, START, "s")).rejected(Code.CLOSE_TIME_PASSED)


def test_a_draft_whose_close_time_has_passed_cannot_be_activated() -> None:
    """It can be voided."""
    scenario = given(*a_market(draft=True))
    scenario.when(ActivateMarket("m"), at=CLOSE).rejected(Code.CLOSE_TIME_PASSED)
    scenario.given(VoidMarket("m", "too late"))
    assert scenario.balances() == {}


def test_selling_is_also_refused_when_the_market_is_closed() -> None:
    """The holder of shares then waits for the payout."""
    scenario = given(*a_market(), *accounts("alice"), buy("alice", "Yes", quantity=MICRO), CloseMarket("m"))
    scenario.when(sell("alice", "Yes", quantity=MICRO)).rejected(Code.MARKET_NOT_ACTIVE)
