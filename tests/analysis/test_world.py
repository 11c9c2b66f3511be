"""Worlds under other terms: money is conserved, nothing changes without a change, and a fee is only paid to the house."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from analysis.control import Control
from analysis.recovered import recovered_commands
from analysis.terms import Terms
from analysis.world import World
from domain.account import DepositCash, OpenAccount
from domain.exchange import Entry
from domain.invariants import Audit
from domain.market import (
    DISPUTE_SECONDS_MAX,
    SUBSIDY_MIN,
    DetermineMarket,
    Evidence,
    MarketFinalized,
    OpenMarket,
    Payout,
)
from domain.money import MICRO
from domain.orders import OrderPlaced, PlaceOrder
from domain.partition import CommandRejected
from domain.story import PublishStory
from messages.commands import new_id
from tests.analysis.random_logs import random_log
from tests.messages.decided_log import START, DecidedLog

if TYPE_CHECKING:
    from domain.events import Recorded

STORY, M, N = new_id("st", "story"), new_id("mk", "story"), new_id("mk", "story", 1)
ACCOUNTS = [f"account {number}" for number in range(3)]


def decided(log: DecidedLog, terms: Terms) -> tuple[World, list[Recorded]]:
    """A world under these terms, and its events."""
    world, control = World(terms), Control(World(is_recorded=True))
    events: list[Recorded] = []
    for recovered in recovered_commands(log.log):
        assert list(control.decide(recovered))
        world.exchange.hold_seconds = control.hold.seconds
        events += world.decide(recovered)
    return world, events


@cache
def some_log(seed: int) -> DecidedLog:
    """One of a few logs of random commands."""
    return random_log(seed, 150)


TERMS = st.builds(
    Terms,
    fee_rate=st.none() | st.integers(0, MICRO),
    subsidy=st.none() | st.integers(SUBSIDY_MIN, 100_000 * MICRO),
    dispute_seconds=st.none() | st.sampled_from([0, 1, 600, DISPUTE_SECONDS_MAX]),
    tick=st.none() | st.sampled_from([1_000, 3_000, 10_000, 50_000]),
)


@given(TERMS, st.integers(0, 3))
@settings(max_examples=10)
def test_money_is_conserved_under_any_terms(terms: Terms, seed: int) -> None:
    """All books sum to zero, and every invariant of the rules holds, at every position; a replay has the same state."""
    world, events = decided(some_log(seed), terms)

    audit = Audit()
    for one in events:
        audit.apply(Entry(one.stream, one.version, one.event), time=one.time, command_id=one.command_id)
    audit.check_all()
    assert world.exchange.ledger.total() == 0
    assert audit.exchange.state_hash() == world.exchange.state_hash()
    assert [one.position for one in events] == list(range(1, len(events) + 1))
    assert [one.time for one in events] == sorted(one.time for one in events)


def test_no_change_changes_nothing() -> None:
    """Without other terms, and with terms for a market that is not there, the other world is the recorded one."""
    log = some_log(1)

    for terms in (Terms(), Terms(subsidy=5 * MICRO, markets=frozenset({"mk_nowhere"}))):
        world, events = decided(log, terms)
        assert [(one.event, one.command_id, one.time, one.digest) for one in events] == [
            (one.event, one.command_id, one.time, one.digest) for one in log.log
        ]
        assert world.exchange.state_hash() == log.exchange.state_hash()
        assert not world.terms.found


def market(number: int, **fields: object) -> OpenMarket:
    """A market that lives for 1,000 seconds."""
    opened = OpenMarket(
        "", STORY, f"slug-{number}", "Will it?", ("No", "Yes"), 100 * MICRO, START + 1_000 * MICRO, "The paper"
    )
    return replace(opened, fee_rate=0, dispute_seconds=3_600, **fields)


def short_life(**fields: object) -> DecidedLog:
    """Two markets, three rich accounts that trade in both, and a resolution of the first."""
    log = DecidedLog()
    log.send(PublishStory("", "s", "Title", "Body", "world", 5, None, (market(0, **fields), market(1))), "story")
    for name in ACCOUNTS:
        log.send(OpenAccount("", name), name)
        log.send(DepositCash(new_id("ac", name), 100_000 * MICRO))
    for number in range(60):
        account, limit = new_id("ac", ACCOUNTS[number % 3]), (number * 37 % 900 + 50) * 1_000
        rests = number % 2 == 0
        order = PlaceOrder(
            account, (M, N)[number % 4 > 1], "", str(number), ("No", "Yes")[number % 5 > 2], "buy",
            "limit" if rests else "market", quantity=(number % 7 + 1) * MICRO, limit_price=limit if rests else None,
        )  # fmt: skip
        log.send(order)
    evidence = Evidence("So it is.")
    log.send(OpenAccount("", "late"), "late", wait=1_001 * MICRO)
    log.send(DetermineMarket(M, (Payout("Yes", MICRO),), evidence))
    log.send(OpenAccount("", "later"), "later", wait=4_000 * MICRO)
    log.send(OpenAccount("", "last"), "last", wait=40_000 * MICRO)
    return log


def test_a_fee_goes_to_the_house_alone() -> None:
    """Where nobody runs out of money, the same fills happen, and cash differs by the fees."""
    log = short_life()
    free, _ = decided(log, Terms())
    dear, events = decided(log, Terms(fee_rate=50_000))

    fees = dear.exchange.ledger.balances["fees"]
    assert fees > 0
    assert free.exchange.ledger.balances["fees"] == 0
    before, after = free.exchange.ledger.balances, dear.exchange.ledger.balances
    changed = {name for name in {*before, *after} if before[name] != after[name]}
    assert changed <= {"fees", *(f"{kind}:{new_id('ac', name)}" for name in ACCOUNTS for kind in ("cash", "held"))}
    assert sum(after[name] - before[name] for name in changed - {"fees"}) == -fees
    placed = [one.event for one in log.log if isinstance(one.event, OrderPlaced)]
    again = [one.event for one in events if isinstance(one.event, OrderPlaced)]
    fills = [[(fill.quantity, fill.price, fill.order_id) for fill in one.execution.fills] for one in placed]
    assert fills == [[(fill.quantity, fill.price, fill.order_id) for fill in one.execution.fills] for one in again]


def test_terms_of_one_market_leave_the_other_alone() -> None:
    """Named by id or by slug."""
    log = short_life()

    for name in (M, "slug-0"):
        world, _ = decided(log, Terms(fee_rate=30_000, subsidy=400 * MICRO, markets=frozenset({name})))
        changed, kept = world.exchange.markets[M].terms, world.exchange.markets[N].terms
        assert (changed.fee_rate, changed.subsidy) == (30_000, 400 * MICRO)
        assert kept == log.exchange.markets[N].terms
        assert world.terms.found == {name}
        assert world.exchange.markets[N].sold == log.exchange.markets[N].sold


def finalized_at(events: list[Recorded]) -> list[int]:
    """When markets were finalized."""
    return [one.time for one in events if isinstance(one.event, MarketFinalized)]


def test_another_dispute_window_ends_at_its_own_time() -> None:
    """A shorter one ends at its due time, though nothing was recorded then, and so does a longer one."""
    log = short_life()
    (determined,) = (one.time for one in log.log if type(one.event).__name__ == "MarketDetermined")
    (recorded,) = finalized_at(log.log)

    assert finalized_at(decided(log, Terms(dispute_seconds=60))[1]) == [determined + 60 * MICRO]
    assert finalized_at(decided(log, Terms(dispute_seconds=20_000))[1]) == [determined + 20_000 * MICRO]
    assert finalized_at(decided(log, Terms(dispute_seconds=3_600))[1]) == [recorded]
    assert finalized_at(decided(log, Terms(dispute_seconds=DISPUTE_SECONDS_MAX))[1]) == []


def test_a_coarser_tick_moves_limits_away_from_a_trade() -> None:
    """Bids down, asks up; a bid below the first tick is refused, and nobody trades beyond the limit that they sent."""
    log = short_life()
    _, events = decided(log, Terms(tick=100_000))
    sent = {one.event.order_id: one.event for one in log.log if isinstance(one.event, OrderPlaced)}

    placed = [one.event for one in events if isinstance(one.event, OrderPlaced) and one.event.limit_price is not None]
    refused = [one.event for one in events if isinstance(one.event, CommandRejected)]

    assert placed
    for event in placed:
        assert event.limit_price is not None
        before = sent[event.order_id].limit_price
        assert before is not None
        assert event.limit_price % 100_000 == 0
        assert before - 100_000 < event.limit_price <= before
    assert {event.code for event in refused} == {"INVALID_PRICE"}
    low = [one for one in sent.values() if one.limit_price is not None and one.limit_price < 100_000]
    assert len(refused) == len(low) > 0
