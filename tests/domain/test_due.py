"""What the clock does: it closes markets, expires orders and ends dispute windows, exactly at their times."""

from domain.account import OrderReleased
from domain.due import PRUNE_AT
from domain.market import (
    CloseMarket,
    DetermineMarket,
    Evidence,
    FinalizeMarket,
    MarketClosed,
    MarketFinalized,
    MarketSettled,
    Payout,
    Status,
)
from domain.money import MICRO
from domain.orders import CancelOrder, OrderCanceled, SplitSets
from domain.partition import CommandHadNoEffect
from domain.rejections import Code
from tests.domain.scenario import CLOSE, SECOND, START, a_market, accounts, buy, given

YES = (Payout("Yes", MICRO),)
WHY = Evidence("It was in the paper.", "https://example.org/paper")
WINDOW = 60


def test_at_close_time_the_market_closes_and_releases_what_orders_reserve() -> None:
    """The clock closes it, exactly at the time."""
    scenario = given(*a_market(), *accounts("alice"), buy("alice", "Yes", quantity=MICRO, limit_price=400_000))
    assert scenario.exchange.next_due() == CLOSE
    scenario.wait_until(CLOSE - 1).then()
    scenario.wait_until(CLOSE).then(MarketClosed, OrderCanceled, OrderReleased)
    assert scenario.event(MarketClosed).reason == "close_time"
    assert scenario.event(OrderCanceled).reason == "market_closed"
    assert scenario.cash("alice") == 1_000 * MICRO


def test_an_order_at_close_time_comes_too_late_and_one_a_moment_before_does_not() -> None:
    """No timer fired, but a command at the due time finds the market as the timer would have left it."""
    scenario = given(*a_market(), *accounts("alice"))
    scenario.when(buy("alice", "Yes", quantity=MICRO), at=CLOSE - 1)
    assert scenario.placed.execution.status == "filled"
    scenario.when(buy("alice", "Yes", quantity=MICRO, name="late"), at=CLOSE)
    scenario.rejected(Code.MARKET_NOT_ACTIVE, status="closed")
    assert scenario.exchange.markets["m"].status is Status.CLOSED
    assert scenario.shares("alice", "Yes") == MICRO


def test_an_order_expires_exactly_at_its_time() -> None:
    """It rests until a microsecond before; at its time it is gone, before any command at that time."""
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
    """An exchange that is told the time every half second and one that is told it only at the end end in the same state."""
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


def test_the_clock_finalizes_the_market_at_the_end_of_the_dispute_window() -> None:
    """It pays too. An operator's command to finalize afterwards has no effect."""
    scenario = given(
        *a_market(dispute_seconds=WINDOW), *accounts("alice"), CloseMarket("m"), DetermineMarket("m", YES, WHY)
    )
    until = scenario.exchange.markets["m"].dispute_until
    assert until == scenario.time + WINDOW * SECOND
    scenario.wait_until(until - 1).then()
    scenario.wait_until(until).then(MarketFinalized, MarketSettled)
    scenario.when(FinalizeMarket("m")).then(CommandHadNoEffect)


def test_the_next_due_time_is_one_at_which_something_happens() -> None:
    """The expiry of a canceled order no longer counts, nor does the close time of a closed market."""
    wish = buy(
        "alice", "Yes", name="o", quantity=MICRO, limit_price=400_000, time_in_force="GTD", expires_at=START + SECOND
    )
    scenario = given(*a_market(), *accounts("alice"), wish)
    assert scenario.exchange.next_due() == START + SECOND
    scenario.given(CancelOrder("alice", "o"))
    assert scenario.exchange.next_due() == CLOSE
    scenario.given(CloseMarket("m"))
    assert scenario.exchange.next_due() is None


def test_due_times_that_are_no_longer_pending_do_not_pile_up() -> None:
    """A trader who places and cancels orders with a distant expiry all day does not fill the memory."""
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
