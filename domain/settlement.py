"""The end of a market: determination and dispute, paying out, correcting, voiding.

What touches every holder is done in phases of bounded steps; which accounts a phase still has to do follows from the
state alone, so a step that was lost with a crash is simply done again.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, Literal

from domain import trading
from domain.account import (
    Account,
    BondForfeited,
    BondPosted,
    BondReturned,
    PayoutPaid,
    PayoutReversed,
    PositionVoided,
    SharesPaid,
)
from domain.account_rules import spendable
from domain.events import Event
from domain.ledger import Ledger
from domain.market import (
    SECOND,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    DisputeUpheld,
    Market,
    MarketCorrected,
    MarketDisputed,
    MarketFinalized,
    MarketReversed,
    MarketSettled,
    MarketUnwound,
    MarketVoided,
    Status,
    VoidMarket,
)
from domain.market_rules import check_payouts, determination
from domain.money import MICRO, Credits, Time, format_decimal
from domain.rejections import Code, Rejection, reject

STEP: int = 200
"""How many accounts or orders one step does: at most twice as many events."""

STEP_SHARES: Final = 2_000
"""How many lines of shares the payouts of one step may have: with many outcomes it does fewer accounts."""

Phase = Literal["cancel", "reverse", "pay", "unwind"]

# --- decide


def determine(market: Market, command: DetermineMarket, time: Time) -> Sequence[Event] | Rejection:
    """Return the determination; amending a disputed one returns the bond."""
    determined = determination(market, command, time)
    if isinstance(determined, Rejection):
        return determined
    if market.status is Status.DISPUTED:
        return [BondReturned(market.disputer, market.market_id, market.bond), determined]
    return [determined]


def dispute(market: Market, account: Account, command: DisputeMarket, time: Time) -> Sequence[Event] | Rejection:
    """Return the dispute and its bond, within the window."""
    if time >= market.dispute_until:
        return reject(
            Code.DISPUTE_WINDOW_CLOSED, "the dispute window is over", dispute_until=market.dispute_until, now=time
        )
    least = market.terms.dispute_bond
    bond = least if command.bond is None else command.bond
    if bond < least:
        return reject(Code.BOND_TOO_SMALL, f"the bond must be at least {format_decimal(least)}", bond=bond, least=least)
    return spendable(account, bond) or [
        BondPosted(account.account_id, market.market_id, bond),
        MarketDisputed(market.market_id, account.account_id, bond, command.reason),
    ]


def uphold(market: Market, time: Time) -> Sequence[Event]:
    """Return the events that keep a disputed determination: the bond goes to the house, a new window begins."""
    return [
        BondForfeited(market.disputer, market.market_id, market.bond),
        DisputeUpheld(market.market_id, time + market.terms.dispute_seconds * SECOND),
    ]


def finalize(market: Market, time: Time) -> Sequence[Event] | Rejection:
    """Return the event after which the holders are paid, once the window is over."""
    if time < market.dispute_until:
        return reject(
            Code.DISPUTE_WINDOW_OPEN, "it may still be disputed", dispute_until=market.dispute_until, now=time
        )
    return [MarketFinalized(market.market_id, market.payouts)]


def correct(market: Market, command: CorrectMarket) -> Sequence[Event] | Rejection:
    """Return the event after which old payouts are reversed and new ones paid."""
    return check_payouts(market, command.payouts) or [
        MarketCorrected(market.market_id, command.payouts, command.evidence, market.residual)
    ]


def void(market: Market, command: VoidMarket) -> Sequence[Event]:
    """Return the events after which everybody is refunded; an open dispute's bond returns first."""
    returned = (
        [BondReturned(market.disputer, market.market_id, market.bond)] if market.status is Status.DISPUTED else []
    )
    return [*returned, MarketVoided(market.market_id, command.reason, market.fees, market.forfeited)]


# --- phases


def phase_of(market: Market) -> Phase | None:
    """Return what is still to be done for the market's orders and holders, or None."""
    status = market.status
    if status is Status.ACTIVE or status is Status.HALTED or status is Status.DRAFT:
        return None
    if len(market.book):
        return "cancel"
    if status is Status.FINALIZED and market.reversing:
        return "reverse"
    if status is Status.FINALIZED and not market.settled:
        return "pay"
    if status is Status.VOIDED and market.subsidy and not market.settled:
        return "unwind"
    return None


def accounts_of(phase: Phase, market: Market, holders: Sequence[Account]) -> list[str]:
    """Return the accounts that a phase still has to do, the first at the end of the list."""
    held = [(account, account.holdings[market.market_id]) for account in holders]
    match phase:
        case "cancel":
            return []
        case "reverse":
            left = [account for account, holding in held if holding.paid is not None]
        case "pay":
            left = [account for account, holding in held if holding.paid is None and any(holding.shares.values())]
        case "unwind":
            # Those who pay back come first, so that the pool is never short.
            left = [
                account for account, holding in sorted(held, key=lambda pair: -pair[1].cash_flow) if not holding.voided
            ]
    return [account.account_id for account in reversed(left)]


def accounts_at_once(market: Market) -> int:
    """Return how many accounts one step does."""
    return min(STEP, STEP_SHARES // len(market.terms.outcomes))


def cancel_step(market: Market, accounts: Mapping[str, Account]) -> Sequence[Event]:
    """Return the cancellations of some of the orders that rest in a market that has ended."""
    reason = "market_voided" if market.status is Status.VOIDED else "market_closed"
    events: list[Event] = []
    for order in islice(market.book.orders.values(), STEP):
        events += trading.cancel_events(market, order, accounts[order.account_id], reason)
    return events


def step_of(phase: Phase, market: Market, batch: Sequence[Account], ledger: Ledger, *, last: bool) -> Sequence[Event]:
    """Return the events of one step of a phase; the last one ends the phase."""
    market_id = market.market_id
    events: list[Event] = []
    pool = ledger.pool(market_id)
    for account in batch:
        holding = account.holdings[market_id]
        if phase == "reverse":
            events.append(PayoutReversed(account.account_id, market_id, holding.paid_shares, holding.paid or 0))
        elif phase == "pay":
            paid = _payout(market, account)
            pool -= paid.amount
            events.append(paid)
        else:
            pool += holding.cash_flow
            events.append(PositionVoided(account.account_id, market_id, -holding.cash_flow))
    if last and phase == "reverse":
        events.append(MarketReversed(market_id))
    elif last and phase == "pay":
        events.append(MarketSettled(market_id, pool))
    elif last:
        events.append(MarketUnwound(market_id, pool))
    return events


def _payout(market: Market, account: Account) -> PayoutPaid:
    """Return the payout of an account, rounded down to a micro-credit over all its shares together."""
    held = account.holdings[market.market_id].shares
    shares = tuple(SharesPaid(outcome, held[outcome]) for outcome in market.terms.outcomes if held.get(outcome))
    amount: Credits = sum(paid.quantity * market.payout_fraction(paid.outcome) for paid in shares) // MICRO
    return PayoutPaid(account.account_id, market.market_id, shares, amount)
