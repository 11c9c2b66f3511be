"""The end of a market, for everybody in it: canceling its book, paying out, reversing, refunding.

This touches every order and every holder, so it is done in phases of bounded steps. The state alone says which
accounts remain, so a step that was lost in a crash is simply done again.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, Literal

from domain.account import Account, PayoutPaid, PayoutReversed, PositionVoided, SharesPaid
from domain.events import Event
from domain.ledger import Ledger
from domain.market import MarketReversed, MarketSettled, MarketUnwound, Status
from domain.market_state import Market
from domain.money import MICRO, Credits, Time
from domain.reservations import cancel_events

STEP: int = 200
"""The most accounts or orders in one step, which has at most twice as many events."""

STEP_SHARES: Final = 2_000
"""The most lines of shares in the payouts of one step: with many outcomes a step does fewer accounts."""

Phase = Literal["cancel", "reverse", "pay", "unwind"]


def withheld(account: Account, markets: Mapping[str, Market], time: Time) -> Credits:
    """Return how much of the account's cash could still be taken back, and so cannot be withdrawn.

    That is what it has gained so far in a market that can still be voided, and what a finalized market paid it, until the
    market's `held_until`.
    """
    amount: Credits = 0
    for market_id, holding in account.holdings.items():
        market = markets[market_id]
        if not market.settled:
            amount += max(holding.cash_flow, 0)
        elif holding.paid is not None and time < market.held_until:
            amount += holding.paid
    return amount


class Settlement:
    """Does the phases of markets step by step. It caches the accounts that the current phase still has to do."""

    def __init__(self) -> None:
        self._todo: tuple[str, str, list[str]] | None = None

    def step(
        self, market: Market, accounts: Mapping[str, Account], holders: Iterable[str], ledger: Ledger
    ) -> Sequence[Event]:
        """Return the events of the market's next step, or none when it has nothing left to do.

        Args:
            market: the market; one that has not ended has nothing to do here.
            accounts: all accounts.
            holders: the ids of the accounts that ever had a holding in the market.
            ledger: the balances.
        """
        phase = phase_of(market)
        if phase is None:
            return ()
        if phase == "cancel":
            return _cancel_step(market, accounts)
        if self._todo is None or self._todo[:2] != (market.market_id, phase):
            self._todo = (market.market_id, phase, _accounts_of(phase, market, [accounts[name] for name in holders]))
        todo = self._todo[2]
        batch = [accounts[todo.pop()] for _ in range(min(_accounts_at_once(market), len(todo)))]
        if not todo:
            self._todo = None
        return _step_of(phase, market, batch, ledger, last=not todo)


def phase_of(market: Market) -> Phase | None:
    """Return the phase in which the market's orders or holders still have something to be done, or None."""
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


def _accounts_of(phase: Phase, market: Market, holders: Sequence[Account]) -> list[str]:
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
            # Accounts that pay back come first, so that the pool is never short.
            left = [
                account for account, holding in sorted(held, key=lambda pair: -pair[1].cash_flow) if not holding.voided
            ]
    return [account.account_id for account in reversed(left)]


def _accounts_at_once(market: Market) -> int:
    """Return the most accounts in one step."""
    return min(STEP, STEP_SHARES // len(market.terms.outcomes))


def _cancel_step(market: Market, accounts: Mapping[str, Account]) -> Sequence[Event]:
    """Return the cancellations of the next orders in the book of a market that has ended."""
    reason = "market_voided" if market.status is Status.VOIDED else "market_closed"
    events: list[Event] = []
    for order in islice(market.book.orders.values(), STEP):
        events += cancel_events(market, order, accounts[order.account_id], reason)
    return events


def _step_of(phase: Phase, market: Market, batch: Sequence[Account], ledger: Ledger, *, last: bool) -> Sequence[Event]:
    """Return the events of one step of a phase; the event that ends the phase follows the last account."""
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
    """Return the payout of an account: for all its shares together, rounded down to a micro-credit."""
    held = account.holdings[market.market_id].shares
    shares = tuple(SharesPaid(outcome, held[outcome]) for outcome in market.terms.outcomes if held.get(outcome))
    amount: Credits = sum(paid.quantity * market.payout_fraction(paid.outcome) for paid in shares) // MICRO
    return PayoutPaid(account.account_id, market.market_id, shares, amount)
