"""A market: one question with 2 to 64 outcomes, its maker, its life from draft to finalized or voided.

Its rules are in `domain.market_rules`. Orders are in `domain.orders`; what is here is what an operator or a disputer does.
"""

from enum import StrEnum
from typing import ClassVar, Final

from domain.money import MICRO, Credits, Fraction, Price, Shares, Time
from domain.values import Value

OUTCOMES_MAX: Final = 64
SUBSIDY_MAX: Final = 10_000_000 * MICRO
"""Above this (10 million credits) a float's last digit in the pricing functions would come near a micro-credit."""
SUBSIDY_MIN: Final = MICRO
DISPUTE_SECONDS_MAX: Final = 90 * 24 * 3600
BOND_DEFAULT: Final = MICRO
SECOND: Final = 1_000_000


class Status(StrEnum):
    """Where a market is in its life."""

    DRAFT = "draft"
    ACTIVE = "active"
    HALTED = "halted"
    CLOSED = "closed"
    DETERMINED = "determined"
    DISPUTED = "disputed"
    FINALIZED = "finalized"
    VOIDED = "voided"


# --- commands


class OpenMarket(Value):
    """Create a market, active at once unless `draft`. `initial_prices` sum to 1; empty means uniform."""

    market_id: str
    story_id: str
    slug: str
    question: str
    outcomes: tuple[str, ...]
    subsidy: Credits
    close_time: Time
    resolution_source: str
    initial_prices: tuple[Price, ...] = ()
    fee_rate: Fraction = 0
    dispute_seconds: int = 0
    dispute_bond: Credits = BOND_DEFAULT
    draft: bool = False


class ActivateMarket(Value):
    """Open a draft for trading."""

    market_id: str


class HaltMarket(Value):
    """Stop trading for a while; resting orders stay."""

    market_id: str


class ResumeMarket(Value):
    """Let a halted market trade again."""

    market_id: str


class CloseMarket(Value):
    """End trading for good; resting orders are canceled."""

    market_id: str


class ClarifyMarket(Value):
    """Give the resolution source a new wording; every order says which version it saw."""

    market_id: str
    resolution_source: str


class AddLiquidity(Value):
    """Move more subsidy from the house to the maker; prices stay."""

    market_id: str
    amount: Credits


class Payout(Value):
    """The fraction of a credit that a share of the outcome pays."""

    outcome: str
    fraction: Fraction


class Evidence(Value):
    """Why a market is resolved as it is."""

    text: str
    url: str | None = None


class DetermineMarket(Value):
    """Name the payouts of a closed market, or amend them while it is disputed. Outcomes not named pay 0."""

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence


class DisputeMarket(Value):
    """Contest the determination within its window; `bond` None means the least the market asks."""

    market_id: str
    account_id: str
    reason: str
    bond: Credits | None = None


class UpholdMarket(Value):
    """Keep a disputed determination; the bond goes to the house and a new window begins."""

    market_id: str


class FinalizeMarket(Value):
    """Pay out a determined market whose dispute window is over."""

    market_id: str


class CorrectMarket(Value):
    """Replace the payouts of a finalized market: the old are reversed exactly, the new are paid."""

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence


class VoidMarket(Value):
    """Undo every cash movement of the market."""

    market_id: str
    reason: str


MarketCommand = (
    ActivateMarket
    | HaltMarket
    | ResumeMarket
    | CloseMarket
    | ClarifyMarket
    | AddLiquidity
    | DetermineMarket
    | UpholdMarket
    | FinalizeMarket
    | CorrectMarket
    | VoidMarket
)

# --- events


class MarketDrafted(Value):
    """A market exists; it has no maker and takes no orders yet."""

    TOPIC: ClassVar[str] = "MarketDrafted.v1"

    market_id: str
    story_id: str
    slug: str
    question: str
    outcomes: tuple[str, ...]
    initial_prices: tuple[Price, ...]
    subsidy: Credits
    fee_rate: Fraction
    close_time: Time
    resolution_source: str
    dispute_seconds: int
    dispute_bond: Credits


class MarketActivated(Value):
    """The house funded the maker with `subsidy` and trading began. `liquidity` is b in 1e-12 credits."""

    TOPIC: ClassVar[str] = "MarketActivated.v1"

    market_id: str
    subsidy: Credits
    liquidity: int
    prices: tuple[Price, ...]


class MarketHalted(Value):
    """Trading stopped for a while."""

    TOPIC: ClassVar[str] = "MarketHalted.v1"

    market_id: str


class MarketResumed(Value):
    """Trading went on."""

    TOPIC: ClassVar[str] = "MarketResumed.v1"

    market_id: str


class MarketClosed(Value):
    """Trading ended, by `operator` or by `close_time`; the cancellations of what rested follow."""

    TOPIC: ClassVar[str] = "MarketClosed.v1"

    market_id: str
    reason: str
    prices: tuple[Price, ...]


class ResolutionClarified(Value):
    """The resolution source has a new wording; `version` counts from 1, the wording at birth."""

    TOPIC: ClassVar[str] = "ResolutionClarified.v1"

    market_id: str
    version: int
    resolution_source: str


class LiquidityAdded(Value):
    """The house moved `amount` more to the maker: b is now `liquidity`, and the prices are what they were.

    `log_weights` (1e-12 nats) are the logarithms of those prices; net shares sold count from 0 again for pricing.
    """

    TOPIC: ClassVar[str] = "LiquidityAdded.v1"

    market_id: str
    amount: Credits
    liquidity: int
    log_weights: tuple[int, ...]


class MarketDetermined(Value):
    """The payouts were named; they may be disputed before `dispute_until`."""

    TOPIC: ClassVar[str] = "MarketDetermined.v1"

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence
    dispute_until: Time


class MarketDisputed(Value):
    """An account contested the payouts; the clock stands still until an operator decides."""

    TOPIC: ClassVar[str] = "MarketDisputed.v1"

    market_id: str
    account_id: str
    bond: Credits
    reason: str


class DisputeUpheld(Value):
    """The determination stands; it may be disputed again before `dispute_until`."""

    TOPIC: ClassVar[str] = "DisputeUpheld.v1"

    market_id: str
    dispute_until: Time


class MarketFinalized(Value):
    """The payouts are final; paying them follows."""

    TOPIC: ClassVar[str] = "MarketFinalized.v1"

    market_id: str
    payouts: tuple[Payout, ...]


class MarketCorrected(Value):
    """The payouts of a finalized market were replaced.

    What the house got back (`residual`) returns to the pool first; reversals and new payouts follow.
    """

    TOPIC: ClassVar[str] = "MarketCorrected.v1"

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence
    residual: Credits


class MarketReversed(Value):
    """Every payout that a correction replaces is taken back; the new ones follow."""

    TOPIC: ClassVar[str] = "MarketReversed.v1"

    market_id: str


class MarketSettled(Value):
    """Every holder is paid, and what is left in the pool (`residual`) went to the house."""

    TOPIC: ClassVar[str] = "MarketSettled.v1"

    market_id: str
    residual: Credits


class MarketVoided(Value):
    """The market is undone.

    `fees` (from the fees account) and `forfeited` bonds (from the house) return to the pool first, refunds follow.
    """

    TOPIC: ClassVar[str] = "MarketVoided.v1"

    market_id: str
    reason: str
    fees: Credits
    forfeited: Credits


class MarketUnwound(Value):
    """Every refund is made, and the subsidy (`residual`) went back to the house."""

    TOPIC: ClassVar[str] = "MarketUnwound.v1"

    market_id: str
    residual: Credits


class SetsMinted(Value):
    """An account split credits into `amount` complete sets."""

    TOPIC: ClassVar[str] = "SetsMinted.v1"

    market_id: str
    account_id: str
    amount: Shares


class SetsBurned(Value):
    """An account merged `amount` complete sets into credits."""

    TOPIC: ClassVar[str] = "SetsBurned.v1"

    market_id: str
    account_id: str
    amount: Shares


LifecycleEvent = (
    MarketActivated
    | MarketHalted
    | MarketResumed
    | MarketClosed
    | ResolutionClarified
    | LiquidityAdded
    | MarketDetermined
    | MarketDisputed
    | DisputeUpheld
    | MarketFinalized
    | MarketCorrected
    | MarketReversed
    | MarketSettled
    | MarketVoided
    | MarketUnwound
    | SetsMinted
    | SetsBurned
)
