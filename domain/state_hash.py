"""A hash of the whole state: the same after a replay, from any prefix, from a snapshot, and on every machine.

The state is written as lines of text, one fact a line, and the lines are hashed. What follows from the rest is left out: float
caches, due times (which follow from open orders and windows), the names that are taken, ages (the lines of orders stand in the
order of age).
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Protocol

from domain.account import Account
from domain.assignments import Assignments
from domain.invitations import Invitation
from domain.ledger import Ledger
from domain.market_state import Market
from domain.money import Time
from domain.settlement import phase_of
from domain.story import Story
from domain.transfers import Channels


class HashedState(Protocol):
    """What is hashed: the state of one partition, as an `Exchange` has it."""

    partition: int
    time: Time
    stories: dict[str, Story]
    markets: dict[str, Market]
    accounts: dict[str, Account]
    invitations: dict[str, Invitation]
    holders: dict[str, dict[str, None]]
    ledger: Ledger
    channels: Channels
    assigned: Assignments
    versions: dict[str, int]
    unfinished: dict[str, str]


def state_hash(state: HashedState) -> str:
    """Return 32 hex digits of the state."""
    digest = blake2b(digest_size=16)
    for line in lines(state):
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def lines(state: HashedState) -> Iterator[str]:
    """Yield the lines of the state; to find where two states differ, compare these."""
    yield f"partition {state.partition} time {state.time}"
    for stream, version in sorted(state.versions.items()):
        yield f"version {stream!r} {version}"
    for _, story in sorted(state.stories.items()):
        yield f"story {story!r}"
    for _, account in sorted(state.accounts.items()):
        yield from _account(account)
    for _, invitation in sorted(state.invitations.items()):
        yield f"invitation {invitation!r}"
    for market_id, market in sorted(state.markets.items()):
        yield from _market(market)
        yield f" holders {list(state.holders.get(market_id, ()))}"
        if market.sweeping or phase_of(market):
            yield f" unfinished {state.unfinished.get(market_id)!r}"
    for name, balance in sorted(state.ledger.balances.items()):
        if balance:
            yield f"balance {name!r} {balance}"
    yield from _channels(state.channels)
    yield from _assigned(state.assigned)


def _assigned(assigned: Assignments) -> Iterator[str]:
    """Yield nothing where there is one partition."""
    for kind, bound in (("story", assigned.stories), ("account", assigned.accounts)):
        for name_key, partition in sorted(bound.items()):
            yield f"assigned {kind} {name_key!r} {partition}"


def _channels(channels: Channels) -> Iterator[str]:
    """Yield nothing where there is one partition."""
    for to_partition, number in sorted(channels.sent.items()):
        yield f"sent {to_partition} {number}"
        for transfer in channels.outgoing.get(to_partition, ()):
            yield f" outgoing {transfer!r}"
    for from_partition, number in sorted(channels.received.items()):
        yield f"received {from_partition} {number}"


def _account(account: Account) -> Iterator[str]:
    yield f"account {account.account_id!r} {account.name!r} {account.name_key!r} {account.cash} {account.held}"
    for order_id, reservation in account.orders.items():
        yield f" order {order_id!r} {reservation!r}"
    for market_id, holding in sorted(account.holdings.items()):
        shares = sorted((outcome, quantity) for outcome, quantity in holding.shares.items() if quantity)
        held = sorted((outcome, quantity) for outcome, quantity in holding.held.items() if quantity)
        yield f" holding {market_id!r} {shares} {held} {holding.cash_flow} {holding.paid} {holding.paid_shares} {holding.voided}"


def _market(market: Market) -> Iterator[str]:
    yield f"market {market.terms!r}"
    yield f" {market.status} {market.close_time} {market.liquidity} {market.weights} {market.sold} {market.issued}"
    yield f" {market.subsidy} {market.fees} {market.resolution_version} {market.payouts} {market.dispute_until}"
    yield f" {market.disputer!r} {market.bond} {market.forfeited} {market.residual} {market.disputes} {market.held_until}"
    yield f" {market.reversing} {market.settled} {market.sweeping}"
    for order in sorted(market.book.orders.values(), key=lambda order: order.age):
        yield (
            f" order {order.order_id!r} {order.account_id!r} {order.outcome} {order.side} {order.price} {order.remaining}"
            f" {order.quantity} {order.filled} {order.expires_at} {order.client_order_id!r} {order.post_only}"
        )
