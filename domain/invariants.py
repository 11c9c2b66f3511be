"""The invariants: what must hold at every position of the log, checked event by event.

An `Audit` applies the events of the log to an exchange of its own, so it sees the state after every single event and not only
after whole commands. It is meant for tests, for simulations and for checking a live log.
"""

from dataclasses import dataclass, field
from typing import Final

from domain.account import Account, PayoutPaid, PayoutReversed, PositionVoided
from domain.event_kinds import is_account_event, is_partition_event, is_transfer_event
from domain.events import Event
from domain.exchange import Entry, Exchange
from domain.ledger import EXTERNAL, HOUSE, TRANSIT, postings
from domain.lmsr import buyable, sellable
from domain.market import MarketFinalized, MarketReversed, Status
from domain.market_state import Market
from domain.money import MICRO, Credits, Time
from domain.reservations import reserved_cash
from domain.story import StoryPublished
from domain.sweeping import DUST

UNSETTLED: Final = frozenset(set(Status) - {Status.DRAFT, Status.FINALIZED, Status.VOIDED})
TAKING_BACK: Final = (PayoutReversed, PositionVoided)
"""The only events that may bring an account below zero."""


class BrokenInvariantError(AssertionError):
    """An invariant does not hold: `claim` says which, `event` after which event, if after one."""

    def __init__(self, position: int, claim: str, event: Event | None) -> None:
        super().__init__(f"at position {position} this does not hold: {claim} ({event})")
        self.position = position
        self.claim = claim
        self.event = event


@dataclass(slots=True)
class Audit:
    """An exchange made from the log alone, whose invariants have held so far.

    With a list in `broken`, an invariant that does not hold is added to it, and the audit goes on. Otherwise it is raised.
    """

    exchange: Exchange = field(default_factory=Exchange)
    position: int = 0
    owed: dict[str, Credits] = field(default_factory=dict)
    broken: list[BrokenInvariantError] | None = None

    def apply(self, entry: Entry, *, time: Time, command_id: str) -> None:
        """Apply the next event and check what it touched. Raises BrokenInvariantError, unless there is a list for it."""
        event = entry.event
        cash_before = self._cash_of(event)
        self.exchange.apply(event, stream=entry.stream, version=entry.version, time=time, command_id=command_id)
        self.position += 1
        self._check(sum(amount for _, amount in postings(event)) == 0, event, "its postings sum to zero")
        if is_account_event(event) or is_transfer_event(event):
            account = self.exchange.accounts[event.account_id]
            self._check_account(account, event)
            may_sink = isinstance(event, TAKING_BACK)
            self._check(account.cash >= min(cash_before, 0) or may_sink, event, "no account sinks below zero by itself")
        if not is_partition_event(event) and not isinstance(event, StoryPublished):
            market = self.exchange.markets.get(getattr(event, "market_id", ""))
            if market is not None:
                self._check_pool(market, event)

    def check_all(self) -> None:
        """Check the whole state, as it must be between commands. Raises like `apply`."""
        exchange = self.exchange
        self._check(exchange.ledger.total() == 0, None, "the ledger sums to zero")
        for name, balance in exchange.ledger.balances.items():
            allowed = balance >= 0 or name in {HOUSE, EXTERNAL} or name.startswith(("cash:", f"{TRANSIT}:"))
            self._check(allowed, None, f"{name} is not below zero")
        resting = {}
        for market in exchange.markets.values():
            self._check_market(market)
            resting.update(market.book.orders)
        owners = {order_id: account for account in exchange.accounts.values() for order_id in account.orders}
        self._check(resting.keys() == owners.keys(), None, "exactly the resting orders reserve something")
        for order_id, order in resting.items():
            owner, rest = owners[order_id], order.remaining
            reservation = owner.orders[order_id]
            rate = exchange.markets[reservation.market_id].terms.fee_rate
            needed = (reserved_cash(rate, order.price, rest), 0) if order.side == "buy" else (0, rest)
            self._check(order.account_id == owner.account_id and rest > 0, None, "a resting order is open")
            self._check(
                (reservation.cash, reservation.shares) == needed, None, f"order {order_id} reserves what its rest needs"
            )
        for account in exchange.accounts.values():
            self._check_account(account, None)
        for to_partition, outgoing in exchange.channels.outgoing.items():
            last = exchange.channels.sent[to_partition]
            numbers = [transfer.number for transfer in outgoing]
            expected = list(range(last - len(outgoing) + 1, last + 1))
            self._check(numbers == expected, None, f"the last transfers to {to_partition} are carried")

    # --- one account, one market

    def _cash_of(self, event: Event) -> Credits:
        account = self.exchange.accounts.get(getattr(event, "account_id", None) or "")
        return account.cash if account else 0

    def _check_account(self, account: Account, event: Event | None) -> None:
        balances = self.exchange.ledger.balances
        name = account.account_id
        self._check(balances.get(f"cash:{name}", 0) == account.cash, event, f"{name} has the cash of the ledger")
        self._check(balances.get(f"held:{name}", 0) == account.held, event, f"{name} holds what the ledger says")
        reserved = sum(order.cash for order in account.orders.values())
        self._check(account.held == reserved, event, "held cash is the sum of the reservations")
        shares: dict[tuple[str, str], int] = {}
        for order in account.orders.values():
            self._check(order.cash >= 0 and order.shares >= 0, event, "no reservation is negative")
            if order.shares:
                key = order.market_id, order.outcome
                shares[key] = shares.get(key, 0) + order.shares
        for market_id, holding in account.holdings.items():
            if event is not None and market_id != getattr(event, "market_id", None):
                continue
            for outcome in holding.shares.keys() | holding.held.keys():
                held, all_shares = holding.held.get(outcome, 0), holding.shares.get(outcome, 0)
                reserved = shares.get((market_id, outcome), 0)
                self._check(held == reserved, event, "held shares are the sum of the reservations")
                self._check(0 <= held <= all_shares, event, "no more shares are held than there are")

    def _check_pool(self, market: Market, event: Event) -> None:
        market_id = market.market_id
        pool = self.exchange.ledger.pool(market_id)
        if market.status in UNSETTLED:
            self._check(pool >= max(market.issued), event, "the pool covers the worst outcome")
        if isinstance(event, MarketFinalized | MarketReversed):
            self.owed[market_id] = self._payouts(market)
        elif isinstance(event, PayoutPaid):
            self.owed[market_id] -= event.amount
        unpaid = self.owed.get(market_id, 0) if market.status is Status.FINALIZED and not market.reversing else 0
        self._check(pool >= unpaid >= 0, event, "the pool covers the payouts that are still to be made")

    def _payouts(self, market: Market) -> Credits:
        total = 0
        for account_id in self.exchange.holders.get(market.market_id, ()):
            shares = self.exchange.accounts[account_id].holdings[market.market_id].shares
            total += sum(quantity * market.payout_fraction(outcome) for outcome, quantity in shares.items()) // MICRO
        return total

    def _check_market(self, market: Market) -> None:
        outcomes = market.terms.outcomes
        if market.status in UNSETTLED:
            holdings = [
                self.exchange.accounts[holder].holdings[market.market_id]
                for holder in self.exchange.holders.get(market.market_id, ())
            ]
            for outcome, issued in zip(outcomes, market.issued, strict=True):
                total = sum(holding.shares.get(outcome, 0) for holding in holdings)
                self._check(
                    total == issued, None, f"the accounts have all issued shares of {outcome} in {market.market_id}"
                )
            self._check(abs(sum(market.prices) - 1) <= 1e-12, None, "prices sum to 1")
            self._check(all(0 < price < 1 for price in market.prices), None, "prices lie between 0 and 1")
            self._check(sum(market.displayed_prices()) == MICRO, None, "displayed prices sum to exactly 1")
        if market.status is Status.ACTIVE:
            self._check_uncrossed(market)
        elif market.status is not Status.HALTED:
            self._check(len(market.book) == 0, None, "nothing rests in a market that has ended")

    def _check_uncrossed(self, market: Market) -> None:
        """Check that the AMM would trade at most 0.001 share before its price reaches the limit of the best order of a ladder."""
        for line in market.book.lines:
            for ladder in (line.bids, line.asks):
                for _, order in ladder.best_first():
                    count = buyable if order.side == "buy" else sellable
                    fillable = count(market.liquidity, market.prices[order.outcome], order.price / MICRO)
                    claim = f"the AMM fills no more than 0.001 share of {order.order_id} within its limit"
                    self._check(fillable <= DUST, None, claim)
                    break

    def _check(self, holds: bool, event: Event | None, claim: str) -> None:
        if holds:
            return
        error = BrokenInvariantError(self.position, claim, event)
        if self.broken is None:
            raise error
        self.broken.append(error)
