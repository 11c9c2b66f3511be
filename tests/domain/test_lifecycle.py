"""The life of a market: every command in every status, and what happens by itself when its time has come."""

import pytest

from domain.account import BondForfeited, BondPosted, BondReturned, OrderReleased
from domain.commands import Command
from domain.due import PRUNE_AT
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
    MarketClosed,
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
from domain.partition import CommandHadNoEffect, CommandRejected
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
    "FinalizeMarket": "determined finalized",  # finalized: accepted without effect
    "CorrectMarket": "finalized",
    "VoidMarket": "draft active halted closed determined disputed",
}
"""Written down a second time, by hand from the rules, so that a change of the table in the code is noticed."""


def in_status(status: Status) -> Scenario:
    """Return a scenario whose market is in this status."""
    scenario = given(*a_market(dispute_seconds=0, draft=True), *accounts("alice"))
    if status is Status.FINALIZED:
        return scenario.given(*TO_STATUS[Status.DETERMINED], FinalizeMarket("m"))
    if status in {Status.DETERMINED, Status.DISPUTED}:
        scenario = given(*a_market(dispute_seconds=WINDOW, draft=True), *accounts("alice"))
    return scenario.given(*TO_STATUS[status])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("status", list(Status))
def test_every_command_in_every_status(status: Status, command: Command) -> None:
    """What the table does not allow is refused with MARKET_STATUS, names the status and changes nothing."""
    scenario = in_status(status)
    assert status == scenario.exchange.markets["m"].status
    if isinstance(command, FinalizeMarket) and status is Status.DETERMINED:
        scenario.time = scenario.exchange.markets["m"].dispute_until - 1  # at the end of the window the timer is first
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
    """No command is missing from it."""
    in_code = {command.__name__: {str(status) for status in statuses} for command, statuses in LEGAL.items()}
    here = {command: set(statuses.split()) for command, statuses in TABLE.items()}
    here["FinalizeMarket"].remove("finalized")
    assert here == in_code


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.ACTIVE])
def test_orders_and_splits_are_taken_only_while_active(status: Status) -> None:
    """Also no amendment; but a cancellation is possible while halted."""
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


def test_a_market_opens_active_and_the_house_funds_its_maker() -> None:
    """The subsidy moves from the house to the pool; the prices are uniform to the last digit."""
    scenario = given(*a_market(("A", "B", "C")))
    assert isinstance(scenario.events[-1], MarketActivated)
    assert scenario.balances() == {"house": -100 * MICRO, "pool:m": 100 * MICRO}
    assert scenario.exchange.markets["m"].displayed_prices() == (333_334, 333_333, 333_333)


def test_a_draft_takes_no_money_before_it_is_activated() -> None:
    """Its maker does not exist yet."""
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
def test_what_cannot_be_a_market_is_refused_by_the_name_of_the_field(field: str, terms: dict[str, object]) -> None:
    """And nothing of the story is published either."""
    terms = dict(terms)
    outcomes = terms.pop("outcomes", ("Yes", "No"))
    scenario = Scenario().when(a_market(outcomes, **terms)[0])  # type: ignore[arg-type]
    scenario.rejected(Code.INVALID_FIELD, field=field)
    assert scenario.exchange.stories == {}


def test_a_market_with_64_outcomes_and_skewed_prices_opens_with_them() -> None:
    """As asked for, to the last digit."""
    prices = (1_000,) * 63 + (MICRO - 63_000,)
    scenario = given(*a_market(tuple(map(str, range(64))), initial_prices=prices))
    assert scenario.exchange.markets["m"].displayed_prices() == prices


def test_a_clarification_is_a_new_version_that_later_orders_show() -> None:
    """Every order says which wording its trader saw."""
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
    """Above it floats would come near a micro-credit."""
    scenario = given(*a_market(subsidy=10_000_000 * MICRO))
    scenario.when(AddLiquidity("m", 1)).rejected(Code.INVALID_FIELD, field="amount")


# --- what happens by itself


def test_at_close_time_the_market_closes_and_gives_back_what_orders_hold() -> None:
    """The timer, or whatever comes first at or after the time."""
    scenario = given(*a_market(), *accounts("alice"), buy("alice", "Yes", quantity=MICRO, limit_price=400_000))
    assert scenario.exchange.next_due() == CLOSE
    scenario.wait_until(CLOSE - 1).then()
    scenario.wait_until(CLOSE).then(MarketClosed, OrderCanceled, OrderReleased)
    assert scenario.event(MarketClosed).reason == "close_time"
    assert scenario.event(OrderCanceled).reason == "market_closed"
    assert scenario.cash("alice") == 1_000 * MICRO


def test_an_order_at_close_time_comes_too_late_and_one_a_moment_before_does_not() -> None:
    """Although no timer fired: a command at the due time finds the market as the timer would have left it."""
    scenario = given(*a_market(), *accounts("alice"))
    scenario.when(buy("alice", "Yes", quantity=MICRO), at=CLOSE - 1)
    assert scenario.placed.execution.status == "filled"
    scenario.when(buy("alice", "Yes", quantity=MICRO, name="late"), at=CLOSE)
    scenario.rejected(Code.MARKET_NOT_ACTIVE, status="closed")
    assert scenario.exchange.markets["m"].status is Status.CLOSED
    assert scenario.shares("alice", "Yes") == MICRO


def test_an_order_expires_exactly_at_its_time() -> None:
    """It rests up to a microsecond before, and an order at that very time no longer meets it."""
    resting = buy(
        "alice", "Yes", name="o", quantity=MICRO, limit_price=400_000, time_in_force="GTD", expires_at=START + SECOND
    )
    scenario = given(*a_market(), *accounts("alice", "bob"), resting)
    assert scenario.exchange.next_due() == START + SECOND
    scenario.wait_until(START + SECOND - 1).then()
    assert "o" in scenario.exchange.markets["m"].book.orders
    scenario.when(SplitSets("bob", "m", MICRO), at=START + SECOND)
    assert scenario.exchange.markets["m"].book.orders == {}
    expired = next(entry.event for _, _, entry in scenario.log if isinstance(entry.event, OrderCanceled))
    assert expired.reason == "expired"
    assert scenario.cash("alice") == 1_000 * MICRO


def test_a_late_timer_changes_nothing_but_the_time_of_its_events() -> None:
    """Two exchanges, one told the time every second and one only at the end, end alike."""
    resting = buy("alice", "Yes", quantity=MICRO, limit_price=400_000, time_in_force="GTD", expires_at=CLOSE - SECOND)
    setup = (*a_market(dispute_seconds=WINDOW), *accounts("alice"), buy("alice", "No", quantity=3 * MICRO), resting)
    punctual, late = given(*setup), given(*setup)
    for time in range(CLOSE - 2 * SECOND, CLOSE + 2 * SECOND, SECOND // 2):
        punctual.wait_until(time)
    for scenario in (punctual, late):
        scenario.when(DetermineMarket("m", YES, WHY), at=CLOSE + 10 * SECOND)
    for time in range(CLOSE + 11 * SECOND, CLOSE + 100 * SECOND, SECOND):
        punctual.wait_until(time)
    for scenario in (punctual, late):
        scenario.when(SplitSets("alice", "m", MICRO), at=CLOSE + 200 * SECOND)

    assert punctual.exchange.state_hash() == late.exchange.state_hash()
    assert [type(entry.event) for _, _, entry in punctual.log] == [type(entry.event) for _, _, entry in late.log]


def test_the_market_finalizes_by_itself_at_the_end_of_the_dispute_window() -> None:
    """And pays; an operator who asks for it afterwards is told that it is so already."""
    scenario = given(
        *a_market(dispute_seconds=WINDOW), *accounts("alice"), CloseMarket("m"), DetermineMarket("m", YES, WHY)
    )
    until = scenario.exchange.markets["m"].dispute_until
    assert until == scenario.time + WINDOW * SECOND
    scenario.wait_until(until - 1).then()
    scenario.wait_until(until).then(MarketFinalized, MarketSettled)
    scenario.when(FinalizeMarket("m")).then(CommandHadNoEffect)


def test_without_a_window_the_operator_finalizes_at_once() -> None:
    """`dispute_seconds` 0: there is nothing to wait for, and no time to dispute."""
    scenario = given(*a_market(), *accounts("alice"), CloseMarket("m"), DetermineMarket("m", YES, WHY))
    scenario.when(DisputeMarket("m", "alice", "No."), at=scenario.time).rejected(Code.DISPUTE_WINDOW_CLOSED)
    scenario.when(DisputeMarket("m", "alice", "No.")).rejected(Code.DISPUTE_WINDOW_CLOSED)
    scenario.when(FinalizeMarket("m")).then(MarketFinalized, MarketSettled)


def test_the_next_due_time_is_one_at_which_something_happens() -> None:
    """A canceled order's expiry wakes nobody up."""
    wish = buy(
        "alice", "Yes", name="o", quantity=MICRO, limit_price=400_000, time_in_force="GTD", expires_at=START + SECOND
    )
    scenario = given(*a_market(), *accounts("alice"), wish)
    assert scenario.exchange.next_due() == START + SECOND
    scenario.given(CancelOrder("alice", "o"))
    assert scenario.exchange.next_due() == CLOSE
    scenario.given(CloseMarket("m"))
    assert scenario.exchange.next_due() is None


def test_due_times_that_became_pointless_do_not_pile_up() -> None:
    """Whoever places and cancels orders with a distant expiry all day long does not fill the memory."""
    scenario = given(*a_market(), *accounts("alice"))
    exchange = scenario.exchange
    for number in range(3 * PRUNE_AT):
        name = f"{number}"
        wish = buy(
            "alice", "Yes", name=name, quantity=MICRO, limit_price=400_000, time_in_force="GTD", expires_at=CLOSE - 5
        )
        exchange.handle(wish, START + 100, name)
        if number % 10:
            exchange.handle(CancelOrder("alice", name), START + 100, f"x{number}")
    assert len(exchange.due.heap) <= PRUNE_AT + 1
    exchange.step(CLOSE - 6)
    assert len(exchange.markets["m"].book) == 3 * PRUNE_AT // 10
    while exchange.step(CLOSE - 5) is not None:
        pass
    assert len(exchange.markets["m"].book) == 0


# --- dispute


def disputed() -> Scenario:
    """Return a market that alice disputes with the least bond."""
    scenario = given(*a_market(dispute_seconds=WINDOW, dispute_bond=5 * MICRO), *accounts("alice"))
    scenario.given(CloseMarket("m"), DetermineMarket("m", YES, WHY))
    scenario.when(DisputeMarket("m", "alice", "It was not.")).then(BondPosted, MarketDisputed)
    return scenario


def test_a_dispute_posts_a_bond_and_stops_the_clock() -> None:
    """The window's end passes without effect."""
    scenario = disputed()
    assert scenario.balances()["bonds"] == 5 * MICRO
    scenario.wait_until(scenario.time + 10 * WINDOW * SECOND).then()
    assert scenario.exchange.markets["m"].status is Status.DISPUTED


def test_upholding_forfeits_the_bond_and_begins_a_new_window() -> None:
    """The house takes it; the market may be disputed again, then finalizes by itself."""
    scenario = disputed()
    scenario.when(UpholdMarket("m"), at=scenario.time + 500 * SECOND).then(BondForfeited, DisputeUpheld)
    assert scenario.cash("alice") == 995 * MICRO
    assert scenario.balances()["house"] == -95 * MICRO
    assert scenario.exchange.next_due() is not None
    scenario.wait_until(scenario.time + WINDOW * SECOND).then(MarketFinalized, MarketSettled)


def test_amending_returns_the_bond_and_begins_a_new_window() -> None:
    """The disputer was right."""
    scenario = disputed()
    scenario.when(DetermineMarket("m", (Payout("No", MICRO),), WHY)).then(BondReturned, MarketDetermined)
    assert scenario.cash("alice") == 1_000 * MICRO
    scenario.wait_until(scenario.time + WINDOW * SECOND).then(MarketFinalized, MarketSettled)
    assert scenario.event(MarketFinalized).payouts == (Payout("No", MICRO),)


def test_a_dispute_at_the_end_of_the_window_is_too_late() -> None:
    """A microsecond earlier it is not."""
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
    """At least what the market asks, from available cash."""
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
    """For a determination as for a correction."""
    given(*a_market(), CloseMarket("m")).when(DetermineMarket("m", payouts, WHY)).rejected(code)
    scenario = given(*a_market(), CloseMarket("m"), DetermineMarket("m", YES, WHY), FinalizeMarket("m"))
    scenario.when(CorrectMarket("m", payouts, WHY)).rejected(code)


def test_an_existing_story_gets_further_markets_and_a_missing_one_none() -> None:
    """A market belongs to a story."""
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
    """Whoever holds shares then waits for the payout."""
    scenario = given(*a_market(), *accounts("alice"), buy("alice", "Yes", quantity=MICRO), CloseMarket("m"))
    scenario.when(sell("alice", "Yes", quantity=MICRO)).rejected(Code.MARKET_NOT_ACTIVE)
