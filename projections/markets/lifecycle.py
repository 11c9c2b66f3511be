"""Applies lifecycle events to a market's row: terms, status, resolution and settlement."""

from collections.abc import Sequence
from typing import Final, get_args

from domain import market as events
from domain.market import LifecycleEvent, MarketDrafted, Status
from domain.money import AMOUNT_MAX
from projections.market_facts import fractions_of
from projections.markets.tables import MarketRow

SETS: Final = frozenset({events.SetsMinted, events.SetsBurned})

LIFECYCLE_EVENTS: Final = frozenset(get_args(LifecycleEvent)) - SETS
"""The events of a market's life after its draft. Sets are part of trading."""


def drafted(event: MarketDrafted, category: str, partition: int, position: int, time: int) -> MarketRow:
    """Return the row of a new market."""
    return MarketRow(
        partition=partition,
        market_id=event.market_id,
        story_id=event.story_id,
        slug=event.slug,
        question=event.question,
        category=category,
        outcomes=list(event.outcomes),
        initial_prices=list(event.initial_prices),
        close_time=event.close_time,
        fee_rate=event.fee_rate,
        dispute_seconds=event.dispute_seconds,
        dispute_bond=event.dispute_bond,
        opened_position=position,
        opened_at=time,
        prices=list(event.initial_prices),
        open_interest=[0] * len(event.outcomes),
        volume=0,
        quantity=0,
        trades=0,
        traders=0,
        status=Status.DRAFT.value,
        subsidy=event.subsidy,
        liquidity=0,
        closed_at=None,
        resolution_version=1,
        resolution_source=event.resolution_source,
        payouts=None,
        evidence_text=None,
        evidence_url=None,
        dispute_until=None,
        disputed_by=None,
        dispute_reason=None,
        next_dispute_bond=event.dispute_bond,
        held_until=None,
        void_reason=None,
        settled=False,
        residual=0,
        position=position,
        time=time,
    )


def apply(market: MarketRow, event: LifecycleEvent, time: int) -> None:  # noqa: C901, PLR0912  one case an event
    """Take in a lifecycle event, which happened at this time."""
    match event:
        case events.MarketActivated():
            market.status, market.subsidy, market.liquidity = Status.ACTIVE.value, event.subsidy, event.liquidity
            market.prices = list(event.prices)
        case events.MarketHalted():
            market.status = Status.HALTED.value
        case events.MarketResumed():
            market.status = Status.ACTIVE.value
        case events.MarketClosed():
            market.status, market.closed_at = Status.CLOSED.value, time
        case events.ResolutionClarified():
            market.resolution_version, market.resolution_source = event.version, event.resolution_source
        case events.LiquidityAdded():
            market.subsidy += event.amount
            market.liquidity = event.liquidity
        case events.MarketDetermined():
            market.status, market.dispute_until = Status.DETERMINED.value, event.dispute_until
            market.disputed_by = market.dispute_reason = None
            _resolve(market, event.payouts, event.evidence)
        case events.MarketDisputed():
            market.status = Status.DISPUTED.value
            market.disputed_by, market.dispute_reason = event.account_id, event.reason
            market.next_dispute_bond = min(2 * market.next_dispute_bond, AMOUNT_MAX)
        case events.DisputeUpheld():
            market.status, market.dispute_until = Status.DETERMINED.value, event.dispute_until
        case events.MarketFinalized():
            market.status, market.open_interest = Status.FINALIZED.value, [0] * len(market.outcomes)
            market.held_until = event.held_until or None
            _resolve(market, event.payouts, None)
        case events.MarketCorrected():
            market.settled, market.residual, market.held_until = False, 0, event.held_until or None
            _resolve(market, event.payouts, event.evidence)
        case events.MarketSettled() | events.MarketUnwound():
            market.settled, market.residual = True, event.residual
        case events.MarketVoided():
            market.status, market.void_reason, market.payouts = Status.VOIDED.value, event.reason, None
            market.open_interest = [0] * len(market.outcomes)
        case events.MarketReversed() | events.SetsMinted() | events.SetsBurned():
            pass


def _resolve(market: MarketRow, payouts: Sequence[events.Payout], evidence: events.Evidence | None) -> None:
    market.payouts = fractions_of(payouts, market.outcomes)
    if evidence is not None:
        market.evidence_text, market.evidence_url = evidence.text, evidence.url
