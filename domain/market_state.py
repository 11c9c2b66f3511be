"""The state of a market, as its events have left it: see `domain.market_evolution` and `domain.order_evolution`."""

from dataclasses import dataclass, field

from domain import lmsr
from domain.book import Book
from domain.market import MarketDrafted, Payout, Status
from domain.money import AMOUNT_MAX, Credits, Fraction, Price, Shares, Time


@dataclass(slots=True)
class Market:
    """The state of a market; only the `evolve` functions change it.

    `sold` are the net shares that the AMM has sold since the last change of liquidity, in the order of `outcomes`.
    `issued` are all shares that accounts hold. `disputes` counts them. Payouts cannot be withdrawn before `held_until`.
    `prices` caches the AMM's prices as floats.
    """

    terms: MarketDrafted
    status: Status
    close_time: Time
    book: Book
    liquidity: int = 0
    weights: tuple[int, ...] = ()
    sold: list[Shares] = field(default_factory=list)
    issued: list[Shares] = field(default_factory=list)
    prices: tuple[float, ...] = ()
    subsidy: Credits = 0
    fees: Credits = 0
    resolution_version: int = 1
    payouts: tuple[Payout, ...] = ()
    dispute_until: Time = 0
    disputer: str = ""
    bond: Credits = 0
    forfeited: Credits = 0
    disputes: int = 0
    held_until: Time = 0
    residual: Credits = 0
    reversing: bool = False
    settled: bool = False
    sweeping: bool = False

    @property
    def market_id(self) -> str:
        """The market's id."""
        return self.terms.market_id

    @property
    def least_bond(self) -> Credits:
        """The smallest bond of a dispute: twice the last one with each dispute that there was."""
        return min(self.terms.dispute_bond << min(self.disputes, 64), AMOUNT_MAX)

    def index(self, outcome: str) -> int:
        """Return the position of an outcome among the market's outcomes, or -1."""
        try:
            return self.terms.outcomes.index(outcome)
        except ValueError:
            return -1

    def displayed_prices(self) -> tuple[Price, ...]:
        """Return the AMM's prices with 6 decimals, which sum to exactly 1."""
        return lmsr.displayed(self.prices)

    def payout_fraction(self, outcome: str) -> Fraction:
        """Return what a share of the outcome pays, in millionths of a credit."""
        return next((payout.fraction for payout in self.payouts if payout.outcome == outcome), 0)
