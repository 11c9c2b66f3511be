"""A hash of all that the exchange knows: equal after a replay, from any prefix, from a snapshot, on every machine.

The state is written down as lines of text, one fact a line, and the lines are hashed. What is derived from the rest is left
out: float caches, due times (they follow from open orders and windows), ages (the lines stand in the order of age).
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING

from domain import settlement
from domain.account import Account
from domain.market import Market

if TYPE_CHECKING:
    from domain.exchange import Exchange


def state_hash(exchange: "Exchange") -> str:
    """Return 32 hex digits of the state."""
    digest = blake2b(digest_size=16)
    for line in lines(exchange):
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def lines(exchange: "Exchange") -> Iterator[str]:
    """Yield the state, line by line; two states are compared best by these."""
    yield f"partition {exchange.partition} time {exchange.time}"
    for stream, version in sorted(exchange.versions.items()):
        yield f"version {stream!r} {version}"
    for _, story in sorted(exchange.stories.items()):
        yield f"story {story!r}"
    for _, account in sorted(exchange.accounts.items()):
        yield from _account(account)
    for market_id, market in sorted(exchange.markets.items()):
        yield from _market(market)
        yield f" holders {list(exchange.holders.get(market_id, ()))}"
        if market.sweeping or settlement.phase_of(market):
            yield f" unfinished {exchange.unfinished.get(market_id)!r}"
    for name, balance in sorted(exchange.ledger.balances.items()):
        if balance:
            yield f"balance {name!r} {balance}"


def _account(account: Account) -> Iterator[str]:
    yield f"account {account.account_id!r} {account.name!r} {account.cash} {account.held}"
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
    yield f" {market.disputer!r} {market.bond} {market.forfeited} {market.residual}"
    yield f" {market.reversing} {market.settled} {market.sweeping}"
    for order in sorted(market.book.orders.values(), key=lambda order: order.age):
        yield (
            f" order {order.order_id!r} {order.account_id!r} {order.outcome} {order.side} {order.price} {order.remaining}"
            f" {order.quantity} {order.filled} {order.expires_at} {order.client_order_id!r} {order.post_only}"
        )
