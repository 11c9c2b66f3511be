"""A replay gives the same state: from zero, from any prefix, and whatever the live exchange did in between."""

from dataclasses import fields
from random import Random
from typing import Any

import pytest

from consumers.simulation.random_commands import RandomCommands
from domain.account import DepositCash, OpenAccount
from domain.exchange import Entry, Exchange
from domain.market import CloseMarket
from domain.money import MICRO, Time
from domain.orders import CancelOrder
from domain.state_hash import lines
from tests.domain.scenario import SECOND, START, Scenario, a_market, accounts, buy, given

Log = list[tuple[str, Time, Entry]]


def replayed(log: Log, exchange: Exchange | None = None) -> Exchange:
    """Return the exchange after these events."""
    exchange = exchange or Exchange()
    for command_id, time, entry in log:
        exchange.apply(entry.event, stream=entry.stream, version=entry.version, time=time, command_id=command_id)
    return exchange


def random_log(seed: int, commands: int) -> tuple[Log, list[tuple[int, str]]]:
    """Return a log, and for the end of every command the length of the log and the hash of the state."""
    source, exchange, log, hashes = RandomCommands(Random(seed), markets=3), Exchange(), Log(), []  # noqa: S311
    for _ in range(commands):
        time, command_id, command = source.next_command(exchange)
        while (step := exchange.step(time)) is not None:
            log += [(step[0], time, entry) for entry in step[1]]
        log += [(command_id, time, entry) for entry in exchange.handle(command, time, command_id)]
        hashes.append((len(log), exchange.state_hash()))
    return log, hashes


def test_the_state_is_the_same_at_the_end_of_every_command() -> None:
    """An exchange follows the log event by event; after each command it has the state that the live one had then."""
    log, hashes = random_log(1, 400)
    follower, done = Exchange(), 0
    for length, expected in hashes:
        replayed(log[done:length], follower)
        done = length
        assert follower.state_hash() == expected


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_may_begin_at_any_prefix(seed: int) -> None:
    """An exchange that was made from a prefix of the log ends in the same state after the other events."""
    log, hashes = random_log(seed, 300)
    expected = hashes[-1][1]
    for cut in range(0, len(log), max(1, len(log) // 40)):
        assert replayed(log[cut:], replayed(log[:cut])).state_hash() == expected


def test_a_follower_that_takes_over_decides_what_the_live_one_would_have() -> None:
    """From the middle of a run on, both get the same commands and leave the same events."""
    source, live, log = RandomCommands(Random(5)), Exchange(), Log()  # noqa: S311
    other: Exchange | None = None
    for number in range(400):
        time, command_id, command = source.next_command(live)
        if number == 200:
            other = replayed(log)
        batches = []
        for exchange in [live, *([other] if other else [])]:
            batch: Log = []
            while (step := exchange.step(time)) is not None:
                batch += [(step[0], time, entry) for entry in step[1]]
            batch += [(command_id, time, entry) for entry in exchange.handle(command, time, command_id)]
            batches.append(batch)
        assert batches[0] == batches[-1]
        log += batches[0]
    assert other is not None
    assert other.state_hash() == live.state_hash()


# --- the hash


def test_the_hash_tells_states_apart() -> None:
    """A micro-credit, an order's place in the queue, a version, the time: each changes the hash."""
    base = (*a_market(), *accounts("alice"))
    orders = [buy("alice", "Yes", name=name, quantity=MICRO, limit_price=400_000) for name in "ab"]
    scenarios = [
        given(*base),
        given(*base, DepositCash("alice", 1)),
        given(*base, OpenAccount("bob", "Bob")),
        given(*base, *orders),
        given(*base, *reversed(orders)),
        given(*base, *orders, CancelOrder("alice", "a")),
        given(*base, CloseMarket("m")),
    ]
    pair = [buy(name, "Yes", name=name, quantity=MICRO, limit_price=400_000) for name in ("alice", "bob")]
    scenarios += [given(*base, *accounts("bob"), *queue) for queue in (pair, pair[::-1])]
    hashes = {scenario.exchange.state_hash() for scenario in scenarios}

    assert len(hashes) == len(scenarios)
    assert scenarios[0].exchange.state_hash() == given(*base).exchange.state_hash()


def test_the_hash_forgets_what_means_nothing() -> None:
    """A due time that is no longer pending and a balance of zero do not change the hash: a replay does not know them."""
    wish = buy(
        "alice", "Yes", name="o", quantity=MICRO, limit_price=400_000, time_in_force="GTD", expires_at=START + SECOND
    )
    scenario = given(*a_market(), *accounts("alice"), wish, CancelOrder("alice", "o"))
    before = scenario.exchange.state_hash()
    assert scenario.exchange.step(START + 2 * SECOND) is None  # the expiry of the canceled order is dropped
    assert scenario.exchange.state_hash() == before
    scenario.exchange.ledger.balances["cash:nobody"] += 0
    assert scenario.exchange.state_hash() == before


LEFT_OUT = {"prices", "book", "terms", "holdings", "orders", "age", "account_id"}
"""The fields that are derived from others, or have lines of their own."""


def different(value: object) -> object:
    """Return a different value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return "buy" if value == "sell" else "halted" if value == "active" else f"{value}x"
        case list():
            return [1] * len(value)
        case tuple():
            return (*value, value)
        case dict():
            return {**value, "x": 5}
        case _:
            return 1


@pytest.mark.parametrize("part", ["market", "account", "holding", "resting order", "reservation"])
def test_no_field_of_the_state_is_forgotten_in_the_hash(part: str) -> None:
    """A new field must be hashed too, or be named as left out."""
    scenario = given(*a_market(), *accounts("alice"), buy("alice", "Yes", quantity=MICRO))
    scenario.given(buy("alice", "Yes", name="o", quantity=MICRO, limit_price=400_000))
    exchange = scenario.exchange
    market, account = exchange.markets["m"], exchange.accounts["alice"]
    parts: dict[str, Any] = {
        "market": market,
        "account": account,
        "holding": account.holdings["m"],
        "resting order": market.book.orders["o"],
        "reservation": account.orders["o"],
    }
    state, before = parts[part], exchange.state_hash()
    for field in fields(state):
        if field.name not in LEFT_OUT:
            value = getattr(state, field.name)
            setattr(state, field.name, different(value))
            assert exchange.state_hash() != before, field.name
            setattr(state, field.name, value)
    assert exchange.state_hash() == before


def test_every_line_of_the_state_is_text_without_floats() -> None:
    """So the hash is the same on every machine."""
    scenario = given(*a_market(("A", "B", "C")), *accounts("alice"), buy("alice", "A", quantity=7 * MICRO))
    scenario.given(buy("alice", "B", quantity=7 * MICRO, limit_price=200_000))
    text = "\n".join(lines(scenario.exchange))

    assert "." not in text.replace("...", "")
    assert "alice-buy-B" in text


def test_a_scenario_checks_itself() -> None:
    """The scenario does compare the live state with the replayed one."""
    scenario = Scenario().given(*accounts("alice"))
    scenario.exchange.accounts["alice"].cash += 1
    with pytest.raises(AssertionError, match="replayed state"):
        scenario.when(DepositCash("alice", 1))
