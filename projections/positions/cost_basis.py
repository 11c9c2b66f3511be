"""Cost basis and realized profit of one account in one outcome: the arithmetic that positions and leaderboard share.

Fees count against realized profit when they are paid. For a settled market the realized profit of an account, summed
over its outcomes, is the net cash that its trades, sets and payouts moved, to the micro-credit. A dispute's bond is no
part of it.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from domain.account import PayoutPaid, PayoutReversed, PositionVoided, SetsMerged, SetsSplit, TradeSettled
from domain.money import MICRO, divide_half_even

OTHER_KINDS: Final = frozenset({SetsSplit, SetsMerged, PayoutPaid, PayoutReversed, PositionVoided})
"""The events, besides `TradeSettled`, that change a holding."""

HOLDING_KINDS: Final = OTHER_KINDS | {TradeSettled}


class Holding(Protocol):
    """What the arithmetic changes; `settled_*` is what a payout took and paid, for a correction to give back."""

    shares: int
    cost_basis: int
    realized: int
    fees: int
    volume: int
    buys: int
    trades: int
    settled_shares: int
    settled_basis: int
    settled_amount: int


def trade(holding: Holding, side: str, quantity: int, cost: int, fee: int) -> None:
    """Take in an execution: a buy adds its cost to the basis, a sale realizes its proceeds less its part of the basis."""
    if side == "buy":
        holding.shares += quantity
        holding.cost_basis += cost
        holding.buys += cost
    else:
        remove(holding, quantity, cost)
    holding.volume += cost
    holding.trades += 1
    if fee:
        holding.fees += fee
        holding.realized -= fee


def add(holding: Holding, quantity: int, cost: int) -> None:
    """Take in shares at a cost."""
    holding.shares += quantity
    holding.cost_basis += cost


def remove(holding: Holding, quantity: int, proceeds: int) -> None:
    """Take shares out: the basis goes in proportion, rounded half even; the last share takes the rest."""
    basis, shares = holding.cost_basis, holding.shares
    part = basis if quantity == shares else divide_half_even(basis * quantity, shares)
    holding.shares -= quantity
    holding.cost_basis -= part
    holding.realized += proceeds - part


class Step(NamedTuple):
    """What one event other than a trade does to one outcome of an account: `quantity` shares are signed."""

    outcome: str
    kind: str
    quantity: int
    amount: int


def steps(event: Any, outcomes: Sequence[str], payouts: Sequence[int] | None) -> list[Step]:
    """Return what an event of `OTHER_KINDS` does, by outcome. `payouts` are the fractions that the market pays now."""
    match event:
        case SetsSplit(amount=amount):
            parts = split_evenly(amount, len(outcomes))
            return [Step(outcome, "split", amount, part) for outcome, part in zip(outcomes, parts, strict=True)]
        case SetsMerged(amount=amount):
            parts = split_evenly(amount, len(outcomes))
            return [Step(outcome, "merge", -amount, part) for outcome, part in zip(outcomes, parts, strict=True)]
        case PayoutPaid(shares=(paid,), amount=amount):
            return [Step(paid.outcome, "payout", -paid.quantity, amount)]
        case PayoutPaid(shares=shares):
            assert payouts is not None, "a market is finalized before it pays"
            fractions = [payouts[outcomes.index(paid.outcome)] for paid in shares]
            parts = payout_parts([paid.quantity for paid in shares], fractions)
            assert sum(parts) == event.amount, "the parts of a payout sum to it"
            return [
                Step(paid.outcome, "payout", -paid.quantity, part) for paid, part in zip(shares, parts, strict=True)
            ]
        case PayoutReversed(shares=shares):
            return [Step(paid.outcome, "reversal", paid.quantity, 0) for paid in shares]
        case _:
            return [Step(outcome, "void", 0, 0) for outcome in outcomes]


def apply(holding: Holding, step: Step) -> int:
    """Take in a step, and return the signed cash that went to the account."""
    match step.kind:
        case "split":
            add(holding, step.quantity, step.amount)
            return -step.amount
        case "merge":
            remove(holding, -step.quantity, step.amount)
            return step.amount
        case "payout":
            basis, amount = holding.cost_basis, step.amount
            holding.settled_shares, holding.settled_basis, holding.settled_amount = holding.shares, basis, amount
            remove(holding, holding.shares, amount)
            return amount
        case "reversal":
            amount = holding.settled_amount
            holding.realized -= amount - holding.settled_basis
            holding.shares, holding.cost_basis = holding.settled_shares, holding.settled_basis
            holding.settled_shares = holding.settled_basis = holding.settled_amount = 0
            return -amount
        case _:  # a void: the profit becomes 0; what was traded stays traded, volume and buys do not change
            returned = holding.cost_basis - holding.realized
            holding.shares = holding.cost_basis = holding.realized = holding.fees = 0
            holding.settled_shares = holding.settled_basis = holding.settled_amount = 0
            return returned


def split_evenly(amount: int, count: int) -> list[int]:
    """Return equal parts that sum to the amount; what does not divide goes to the first ones.

    So much of the credits of complete sets falls on each outcome.
    """
    share, rest = divmod(amount, count)
    return [share + (i < rest) for i in range(count)]


def payout_parts(quantities: Sequence[int], fractions: Sequence[int]) -> list[int]:
    """Return what a payout pays for each outcome: cumulated and rounded down, so that it sums to the whole payout."""
    parts: list[int] = []
    total = paid = 0
    for quantity, fraction in zip(quantities, fractions, strict=True):
        total += quantity * fraction
        parts.append(total // MICRO - paid)
        paid = total // MICRO
    return parts
