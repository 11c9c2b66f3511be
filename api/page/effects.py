"""What an operator's command would do to whom: the payouts, corrections and refunds by account, before it is confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from domain.money import MICRO
from projections import accounts, lifecycle
from projections.positions import payments, positions
from projections.reading import AsOf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import Connection

    from domain.money import Credits, Fraction
    from projections.markets.tables import MarketRow

NEEDS: Final = (accounts.get_account, accounts.names, lifecycle.market_events, positions.holders, payments.paid_in)

HOLDERS_MAX: Final = 100_000
"""The most holdings that are looked through."""

SHOWN_MAX: Final = 100
"""The most accounts that are shown by name."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What happens to the cash of an account, and whether it is below zero afterwards."""

    account: str
    amount: Credits
    overdrawn: bool


@dataclass(frozen=True, slots=True)
class Effects:
    """The largest effects, the number of all accounts that are changed, what all get together, and who is overdrawn."""

    shown: list[Effect]
    count: int
    total: Credits
    overdrawn: int


def of_payouts(connection: Connection[Any], as_of: AsOf, market: MarketRow, payouts: Mapping[str, Fraction]) -> Effects:
    """Return the effects of paying these fractions; on a finalized market, of paying them instead of the old ones."""
    old: Mapping[str, Fraction] = {}
    at = as_of
    if market.settled:
        old = dict(zip(market.outcomes, market.payouts or (), strict=False))
        paid = lifecycle.market_events(connection, as_of, market.market_id, types=["MarketFinalized"], limit=1)
        if paid:  # nobody has held shares since
            at = AsOf(paid[0].position - 1, paid[0].time, past=True)
    changes: dict[str, Credits] = {}
    for holder in positions.holders(connection, at, market.market_id, limit=HOLDERS_MAX):
        change = payouts.get(holder.outcome, 0) - old.get(holder.outcome, 0)
        changes[holder.account_id] = changes.get(holder.account_id, 0) + holder.shares * change // MICRO
    return _effects(connection, as_of, changes)


def of_void(connection: Connection[Any], as_of: AsOf, market: MarketRow) -> Effects:
    """Return the effects of undoing every payment of the market."""
    return _effects(connection, as_of, payments.paid_in(connection, as_of, market.market_id))


def _effects(connection: Connection[Any], as_of: AsOf, changes: Mapping[str, Credits]) -> Effects:
    changed = {account_id: amount for account_id, amount in changes.items() if amount}
    ordered: Sequence[str] = sorted(
        changed, key=lambda account_id: (changed[account_id] >= 0, -abs(changed[account_id]))
    )
    names = accounts.names(connection, as_of, list(ordered[:SHOWN_MAX]))
    overdrawn = 0
    effects = []
    for number, account_id in enumerate(ordered):
        is_over = False
        if changed[account_id] < 0:  # losers come first, so that they are all looked at
            account = accounts.get_account(connection, as_of, account_id)
            is_over = account is not None and account.available + changed[account_id] < 0
            overdrawn += is_over
        if number < SHOWN_MAX:
            effects.append(Effect(names.get(account_id, account_id), changed[account_id], is_over))
    return Effects(effects, len(changed), sum(changed.values()), overdrawn)
