"""How the events of a market's life change it."""

from typing import assert_never

from domain import lmsr
from domain.book import Book
from domain.market import (
    DisputeUpheld,
    LifecycleEvent,
    LiquidityAdded,
    MarketActivated,
    MarketClosed,
    MarketCorrected,
    MarketDetermined,
    MarketDisputed,
    MarketDrafted,
    MarketFinalized,
    MarketHalted,
    MarketResumed,
    MarketReversed,
    MarketSettled,
    MarketUnwound,
    MarketVoided,
    ResolutionClarified,
    SetsBurned,
    SetsMinted,
    Status,
)
from domain.market_state import Market
from domain.money import MICRO, Price


def evolve_market(market: Market | None, event: MarketDrafted | LifecycleEvent) -> Market:  # noqa: C901, PLR0912, PLR0915  one case an event
    """Return the market after the event (the same object, changed)."""
    if isinstance(event, MarketDrafted):
        assert market is None, "a market is drafted once"
        return Market(event, Status.DRAFT, event.close_time, Book(len(event.outcomes)))
    assert market is not None, "a market is drafted first"
    match event:
        case MarketActivated():
            count = len(market.terms.outcomes)
            market.status = Status.ACTIVE
            market.subsidy = event.subsidy
            market.liquidity = event.liquidity
            market.weights = lmsr.log_weights(opening_prices(market.terms))
            market.sold, market.issued = [0] * count, [0] * count
            reprice(market)
        case MarketHalted():
            market.status = Status.HALTED
        case MarketResumed():
            market.status = Status.ACTIVE
        case MarketClosed():
            market.status = Status.CLOSED
        case ResolutionClarified():
            market.resolution_version = event.version
        case LiquidityAdded():
            market.subsidy += event.amount
            market.liquidity, market.weights = event.liquidity, event.log_weights
            market.sold = [0] * len(market.sold)
            reprice(market)
        case MarketDetermined():
            market.status, market.payouts = Status.DETERMINED, event.payouts
            market.dispute_until = event.dispute_until
            market.disputer, market.bond = "", 0
        case MarketDisputed():
            market.status, market.disputer, market.bond = Status.DISPUTED, event.account_id, event.bond
            market.disputes += 1
        case DisputeUpheld():
            market.status, market.dispute_until = Status.DETERMINED, event.dispute_until
            market.forfeited += market.bond
            market.disputer, market.bond = "", 0
        case MarketFinalized():
            market.status, market.payouts, market.held_until = Status.FINALIZED, event.payouts, event.held_until
        case MarketCorrected():
            market.payouts, market.reversing, market.settled, market.residual = event.payouts, True, False, 0
            market.held_until = event.held_until
        case MarketReversed():
            market.reversing = False
        case MarketSettled():
            market.settled, market.residual = True, event.residual
        case MarketVoided():
            market.status, market.fees, market.forfeited = Status.VOIDED, 0, 0
            market.disputer, market.bond = "", 0
        case MarketUnwound():
            market.settled = True
        case SetsMinted():
            market.issued = [issued + event.amount for issued in market.issued]
        case SetsBurned():
            market.issued = [issued - event.amount for issued in market.issued]
        case _:
            assert_never(event)
    return market


def reprice(market: Market) -> None:
    """Bring the cache of the AMM's prices up to date."""
    market.prices = lmsr.price_vector(market.weights, market.sold, market.liquidity)


# --- opening prices


def uniform_prices(count: int) -> tuple[Price, ...]:
    """Return equal prices that sum to exactly 1; the micro-units that do not divide go to the first outcomes."""
    share, rest = divmod(MICRO, count)
    return tuple(share + (i < rest) for i in range(count))


def opening_prices(terms: MarketDrafted) -> list[float]:
    """Return the opening prices as floats: exactly uniform where the market was opened without prices."""
    count = len(terms.outcomes)
    if terms.initial_prices == uniform_prices(count):
        return [1 / count] * count
    return [price / MICRO for price in terms.initial_prices]
