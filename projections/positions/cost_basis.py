"""Cost basis and realized profit of one account in one outcome: the arithmetic of positions.

Fees reduce the realized profit when they are paid. The realized profit of an account in a settled market, summed over its
outcomes, equals the net cash of the account's trades, sets and payouts there, to the micro-credit. Bonds of disputes are
not part of it.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol, assert_never, get_args

from domain.account import PayoutPaid, PayoutReversed, PositionVoided, SetsMerged, SetsSplit, TradeSettled
from domain.money import MICRO, divide_half_even

SettlementKind = Literal["payout", "reversal", "void"]
"""The kinds of changes by the end of a market. A reversal takes a payout back, for a correction."""

SETTLEMENT_KINDS: Final[tuple[SettlementKind, ...]] = get_args(SettlementKind)

IS_SETTLEMENT: Final = f"kind IN ({', '.join(map(repr, SETTLEMENT_KINDS))})"
"""The SQL for whether a change of the column `kind` is a settlement."""

StepKind = Literal["split", "merge", SettlementKind]
"""The kinds of changes other than a trade."""

HoldingChange = SetsSplit | SetsMerged | PayoutPaid | PayoutReversed | PositionVoided
"""The events, besides `TradeSettled`, that change what an account holds."""

HOLDING_KINDS: Final = frozenset({TradeSettled, *get_args(HoldingChange)})
"""The events that change what an account holds."""


class PositionSums(Protocol):
    """The sums of a position that the arithmetic changes; `trades` counts executions, not fills.

    `settled_*` are the state before the payout, so that a reversal can restore it, and the amount that it paid.
    """

    shares: int
    cost_basis: int
    realized: int
    fees: int
    volume: int
    buys: int
    trades: int
    settled_shares: int
    settled_cost_basis: int
    settled_amount: int


def trade(sums: PositionSums, side: str, quantity: int, cost: int, fee: int) -> None:
    """Take in an execution, whatever the number of its fills. A buy adds its cost to the cost basis.

    A sale realizes the proceeds minus the cost basis of the shares sold.
    """
    if side == "buy":
        sums.shares += quantity
        sums.cost_basis += cost
        sums.buys += cost
    else:
        remove(sums, quantity, cost)
    sums.volume += cost
    sums.trades += 1
    if fee:
        sums.fees += fee
        sums.realized -= fee


def remove(sums: PositionSums, quantity: int, proceeds: int) -> None:
    """Take out shares for these proceeds.

    Their part of the cost basis is proportional, rounded half even; the last share takes all that is left.
    """
    cost_basis, shares = sums.cost_basis, sums.shares
    part = cost_basis if quantity == shares else divide_half_even(cost_basis * quantity, shares)
    sums.shares -= quantity
    sums.cost_basis -= part
    sums.realized += proceeds - part


class Step(NamedTuple):
    """The effect of an event, other than a trade, on one outcome of an account; `quantity` is the signed change of shares."""

    outcome: str
    kind: StepKind
    quantity: int
    amount: int


def steps(event: HoldingChange, outcomes: Sequence[str], payouts: Sequence[int] | None) -> list[Step]:
    """Return the effect of an event on each outcome. `payouts` are the fractions that the market pays now."""
    match event:
        case SetsSplit(amount=amount):
            parts = split_evenly(amount, len(outcomes))
            return [Step(outcome, "split", amount, part) for outcome, part in zip(outcomes, parts, strict=True)]
        case SetsMerged(amount=amount):
            parts = split_evenly(amount, len(outcomes))
            return [Step(outcome, "merge", -amount, part) for outcome, part in zip(outcomes, parts, strict=True)]
        case PayoutPaid(shares=(paid,), amount=amount):  # one outcome gets the whole amount: there is nothing to divide
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
        case PositionVoided():
            return [Step(outcome, "void", 0, 0) for outcome in outcomes]


def apply(sums: PositionSums, step: Step) -> int:
    """Take in a step, and return the signed cash that the account received."""
    match step.kind:
        case "split":
            sums.shares += step.quantity
            sums.cost_basis += step.amount
            return -step.amount
        case "merge":
            remove(sums, -step.quantity, step.amount)
            return step.amount
        case "payout":
            sums.settled_shares, sums.settled_cost_basis = sums.shares, sums.cost_basis
            sums.settled_amount = step.amount
            remove(sums, sums.shares, step.amount)
            return step.amount
        case "reversal":
            amount = sums.settled_amount
            sums.realized -= amount - sums.settled_cost_basis
            sums.shares, sums.cost_basis = sums.settled_shares, sums.settled_cost_basis
            sums.settled_shares = sums.settled_cost_basis = sums.settled_amount = 0
            return -amount
        case "void":  # profit and fees become 0; the trades did happen, so volume, buys and trades stay
            returned = sums.cost_basis - sums.realized
            sums.shares = sums.cost_basis = sums.realized = sums.fees = 0
            sums.settled_shares = sums.settled_cost_basis = sums.settled_amount = 0
            return returned
        case _:
            assert_never(step.kind)


def split_evenly(amount: int, count: int) -> list[int]:
    """Spread the price of complete sets over the outcomes.

    The parts are equal and sum to the amount; the first ones take the remainder.
    """
    share, rest = divmod(amount, count)
    return [share + (i < rest) for i in range(count)]


def payout_parts(quantities: Sequence[int], fractions: Sequence[int]) -> list[int]:
    """Return what a payout pays for each outcome: cumulative sums are rounded down, so the parts sum to the payout."""
    parts: list[int] = []
    total = paid = 0
    for quantity, fraction in zip(quantities, fractions, strict=True):
        total += quantity * fraction
        parts.append(total // MICRO - paid)
        paid = total // MICRO
    return parts
