"""A market: one question with 2 to 64 outcomes, an AMM, and a life from draft to finalized or voided.

Here are the commands of operators and disputers, and the events that they leave. Orders are in `domain.orders`. The rules are
in `domain.market_decisions` and `domain.market_evolution`, the state in `domain.market_state`.
"""

from enum import StrEnum
from typing import ClassVar, Final, Literal

from domain.money import MICRO, Credits, Fraction, PicoCredits, Price, Shares, Time
from domain.values import Value

OUTCOMES_MAX: Final = 64
SUBSIDY_MAX: Final = 10_000_000 * MICRO
"""The largest subsidy: above it the last digit of a float in the pricing functions would come near a micro-credit."""
SUBSIDY_MIN: Final = MICRO
DISPUTE_SECONDS_MAX: Final = 90 * 24 * 3600
DISPUTE_SECONDS_DEFAULT: Final = 24 * 3600
BOND_DEFAULT: Final = MICRO
SECOND: Final = 1_000_000


class Status(StrEnum):
    """The stage of a market's life."""

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
    """Create a market; it is active at once unless `draft`. `initial_prices` sum to 1; empty means uniform.

    Without a `slug` the market gets `derived_slug`, with a number after it if that one is taken.
    """

    market_id: str
    story_id: str
    slug: str | None
    question: str
    outcomes: tuple[str, ...]
    subsidy: Credits
    close_time: Time
    resolution_source: str
    initial_prices: tuple[Price, ...] = ()
    fee_rate: Fraction = 0
    dispute_seconds: int = DISPUTE_SECONDS_DEFAULT
    dispute_bond: Credits = BOND_DEFAULT
    draft: bool = False
    derived_slug: str = ""


class ActivateMarket(Value):
    """Open a draft for trading."""

    market_id: str


class HaltMarket(Value):
    """Suspend trading; resting orders stay in the book."""

    market_id: str


class ResumeMarket(Value):
    """Resume trading in a halted market."""

    market_id: str


class CloseMarket(Value):
    """End trading for good; resting orders are canceled."""

    market_id: str


class ClarifyMarket(Value):
    """Change the wording of the resolution source; every order records the version that its trader saw."""

    market_id: str
    resolution_source: str


class AddLiquidity(Value):
    """Move more subsidy from the house to the AMM; the prices stay."""

    market_id: str
    amount: Credits


class Payout(Value):
    """The fraction of a credit that one share of the outcome pays."""

    outcome: str
    fraction: Fraction


class Evidence(Value):
    """The reason for a resolution: a text and, optionally, a URL."""

    text: str
    url: str | None = None


class DetermineMarket(Value):
    """Name the payouts of a closed market, or amend them while it is disputed. Outcomes that are not named pay 0."""

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence


class DisputeMarket(Value):
    """Contest the determination within the dispute window; `bond` None means the market's `least_bond`."""

    market_id: str
    account_id: str
    reason: str
    bond: Credits | None = None


class UpholdMarket(Value):
    """Keep a disputed determination: the bond goes to the house and a new dispute window begins."""

    market_id: str


class FinalizeMarket(Value):
    """Pay out a determined market whose dispute window is over."""

    market_id: str


class CorrectMarket(Value):
    """Replace the payouts of a finalized market: the old ones are reversed exactly, then the new ones are paid."""

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


class MarketDrafted(Value, omit_defaults=True):
    """A market was created. It has no AMM and takes no orders yet. `unnamed` says if its slug was derived from the question."""

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
    unnamed: tuple[Literal["slug"], ...] = ()


class MarketActivated(Value):
    """The house funded the AMM with `subsidy` and trading began. `liquidity` is b in 1e-12 credits."""

    TOPIC: ClassVar[str] = "MarketActivated.v1"

    market_id: str
    subsidy: Credits
    liquidity: PicoCredits
    prices: tuple[Price, ...]


class MarketHalted(Value):
    """Trading was suspended."""

    TOPIC: ClassVar[str] = "MarketHalted.v1"

    market_id: str


class MarketResumed(Value, omit_defaults=True):
    """Trading resumed.

    `swept_prices` are the AMM's prices after the sweep that this sets off, as in `domain.orders.Execution`: liquidity that
    was added during the halt can fill resting orders now.
    """

    TOPIC: ClassVar[str] = "MarketResumed.v1"

    market_id: str
    swept_prices: tuple[Price, ...] = ()


class MarketClosed(Value):
    """Trading ended; `reason` is `operator` or `close_time`. The cancellations of the resting orders follow."""

    TOPIC: ClassVar[str] = "MarketClosed.v1"

    market_id: str
    reason: str
    prices: tuple[Price, ...]


class ResolutionClarified(Value):
    """The wording of the resolution source changed. Versions count from 1, the wording at the creation of the market."""

    TOPIC: ClassVar[str] = "ResolutionClarified.v1"

    market_id: str
    version: int
    resolution_source: str


class LiquidityAdded(Value, omit_defaults=True):
    """The house moved `amount` more to the AMM: b is now `liquidity`, and the prices did not change.

    `log_weights` (1e-12 nats) are the logarithms of the prices. For pricing, the net shares sold count from 0 again.
    `swept_prices` are the AMM's prices after the sweep that this sets off, as in `domain.orders.Execution`: with more
    liquidity the AMM can fill more of a resting order before its price reaches the order's limit.
    """

    TOPIC: ClassVar[str] = "LiquidityAdded.v1"

    market_id: str
    amount: Credits
    liquidity: PicoCredits
    log_weights: tuple[int, ...]
    swept_prices: tuple[Price, ...] = ()


class MarketDetermined(Value):
    """The payouts were named. They may be disputed before `dispute_until`."""

    TOPIC: ClassVar[str] = "MarketDetermined.v1"

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence
    dispute_until: Time


class MarketDisputed(Value, omit_defaults=True):
    """An account contested the payouts. The dispute window is suspended until an operator decides.

    `unnamed` lists the fields that the command did not name: then `bond` is the smallest that the market accepts.
    """

    TOPIC: ClassVar[str] = "MarketDisputed.v1"

    market_id: str
    account_id: str
    bond: Credits
    reason: str
    unnamed: tuple[Literal["bond"], ...] = ()


class DisputeUpheld(Value):
    """The determination stands. It may be disputed again before `dispute_until`."""

    TOPIC: ClassVar[str] = "DisputeUpheld.v1"

    market_id: str
    dispute_until: Time


class MarketFinalized(Value, omit_defaults=True):
    """The payouts are final. The payments follow; they cannot be withdrawn before `held_until`, only traded."""

    TOPIC: ClassVar[str] = "MarketFinalized.v1"

    market_id: str
    payouts: tuple[Payout, ...]
    held_until: Time = 0


class MarketCorrected(Value, omit_defaults=True):
    """The payouts of a finalized market were replaced.

    The money that the house had got back (`residual`) returns to the pool first. Reversals and new payouts follow, which
    cannot be withdrawn before `held_until`.
    """

    TOPIC: ClassVar[str] = "MarketCorrected.v1"

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence
    residual: Credits
    held_until: Time = 0


class MarketReversed(Value):
    """Every payout that a correction replaces was taken back. The new payouts follow."""

    TOPIC: ClassVar[str] = "MarketReversed.v1"

    market_id: str


class MarketSettled(Value):
    """Every holder was paid, and the money left in the pool (`residual`) went to the house."""

    TOPIC: ClassVar[str] = "MarketSettled.v1"

    market_id: str
    residual: Credits


class MarketVoided(Value):
    """The market was undone. `fees` and `forfeited` bonds (from the house) return to the pool first. The refunds follow."""

    TOPIC: ClassVar[str] = "MarketVoided.v1"

    market_id: str
    reason: str
    fees: Credits
    forfeited: Credits


class MarketUnwound(Value):
    """Every account was refunded, and the subsidy (`residual`) went back to the house."""

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
