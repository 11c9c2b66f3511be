"""A market: one question with 2 to 64 outcomes, its maker, its life from draft to finalized or voided.

Orders and matching are in `domain.orders`; what is here is what an operator or a disputer does.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final, assert_never

from domain import lmsr
from domain.book import Book
from domain.money import MICRO, Credits, Fraction, Price, Shares, Time, format_decimal
from domain.rejections import Code, Rejection, invalid, reject
from domain.values import value

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


@value
class OpenMarket:
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


@value
class ActivateMarket:
    """Open a draft for trading."""

    market_id: str


@value
class HaltMarket:
    """Stop trading for a while; resting orders stay."""

    market_id: str


@value
class ResumeMarket:
    """Let a halted market trade again."""

    market_id: str


@value
class CloseMarket:
    """End trading for good; resting orders are canceled."""

    market_id: str


@value
class ClarifyMarket:
    """Give the resolution source a new wording; every order says which version it saw."""

    market_id: str
    resolution_source: str


@value
class AddLiquidity:
    """Move more subsidy from the house to the maker; prices stay."""

    market_id: str
    amount: Credits


@value
class Payout:
    """The fraction of a credit that a share of the outcome pays."""

    outcome: str
    fraction: Fraction


@value
class Evidence:
    """Why a market is resolved as it is."""

    text: str
    url: str | None = None


@value
class DetermineMarket:
    """Name the payouts of a closed market, or amend them while it is disputed. Outcomes not named pay 0."""

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence


@value
class DisputeMarket:
    """Contest the determination within its window; `bond` None means the least the market asks."""

    market_id: str
    account_id: str
    reason: str
    bond: Credits | None = None


@value
class UpholdMarket:
    """Keep a disputed determination; the bond goes to the house and a new window begins."""

    market_id: str


@value
class FinalizeMarket:
    """Pay out a determined market whose dispute window is over."""

    market_id: str


@value
class CorrectMarket:
    """Replace the payouts of a finalized market: the old are reversed exactly, the new are paid."""

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence


@value
class VoidMarket:
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


@value
class MarketDrafted:
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


@value
class MarketActivated:
    """The house funded the maker with `subsidy` and trading began. `liquidity` is b in 1e-12 credits."""

    TOPIC: ClassVar[str] = "MarketActivated.v1"

    market_id: str
    subsidy: Credits
    liquidity: int
    prices: tuple[Price, ...]


@value
class MarketHalted:
    """Trading stopped for a while."""

    TOPIC: ClassVar[str] = "MarketHalted.v1"

    market_id: str


@value
class MarketResumed:
    """Trading went on."""

    TOPIC: ClassVar[str] = "MarketResumed.v1"

    market_id: str


@value
class MarketClosed:
    """Trading ended, by `operator` or by `close_time`; the cancellations of what rested follow."""

    TOPIC: ClassVar[str] = "MarketClosed.v1"

    market_id: str
    reason: str
    prices: tuple[Price, ...]


@value
class ResolutionClarified:
    """The resolution source has a new wording; `version` counts from 1, the wording at birth."""

    TOPIC: ClassVar[str] = "ResolutionClarified.v1"

    market_id: str
    version: int
    resolution_source: str


@value
class LiquidityAdded:
    """The house moved `amount` more to the maker: b is now `liquidity`, and the prices are what they were.

    `log_weights` (1e-12 nats) are the logarithms of those prices; net shares sold count from 0 again for pricing.
    """

    TOPIC: ClassVar[str] = "LiquidityAdded.v1"

    market_id: str
    amount: Credits
    liquidity: int
    log_weights: tuple[int, ...]


@value
class MarketDetermined:
    """The payouts were named; they may be disputed before `dispute_until`."""

    TOPIC: ClassVar[str] = "MarketDetermined.v1"

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence
    dispute_until: Time


@value
class MarketDisputed:
    """An account contested the payouts; the clock stands still until an operator decides."""

    TOPIC: ClassVar[str] = "MarketDisputed.v1"

    market_id: str
    account_id: str
    bond: Credits
    reason: str


@value
class DisputeUpheld:
    """The determination stands; it may be disputed again before `dispute_until`."""

    TOPIC: ClassVar[str] = "DisputeUpheld.v1"

    market_id: str
    dispute_until: Time


@value
class MarketFinalized:
    """The payouts are final; paying them follows."""

    TOPIC: ClassVar[str] = "MarketFinalized.v1"

    market_id: str
    payouts: tuple[Payout, ...]


@value
class MarketCorrected:
    """The payouts of a finalized market were replaced.

    What the house got back (`residual`) returns to the pool first; reversals and new payouts follow.
    """

    TOPIC: ClassVar[str] = "MarketCorrected.v1"

    market_id: str
    payouts: tuple[Payout, ...]
    evidence: Evidence
    residual: Credits


@value
class MarketReversed:
    """Every payout that a correction replaces is taken back; the new ones follow."""

    TOPIC: ClassVar[str] = "MarketReversed.v1"

    market_id: str


@value
class MarketSettled:
    """Every holder is paid, and what is left in the pool (`residual`) went to the house."""

    TOPIC: ClassVar[str] = "MarketSettled.v1"

    market_id: str
    residual: Credits


@value
class MarketVoided:
    """The market is undone.

    `fees` (from the fees account) and `forfeited` bonds (from the house) return to the pool first, refunds follow.
    """

    TOPIC: ClassVar[str] = "MarketVoided.v1"

    market_id: str
    reason: str
    fees: Credits
    forfeited: Credits


@value
class MarketUnwound:
    """Every refund is made, and the subsidy (`residual`) went back to the house."""

    TOPIC: ClassVar[str] = "MarketUnwound.v1"

    market_id: str
    residual: Credits


@value
class SetsMinted:
    """An account split credits into `amount` complete sets."""

    TOPIC: ClassVar[str] = "SetsMinted.v1"

    market_id: str
    account_id: str
    amount: Shares


@value
class SetsBurned:
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

# --- state


@dataclass(slots=True)
class Market:
    """The state of a market; mutated by the `evolve` functions alone.

    `sold` are the maker's net shares since the last change of liquidity, in the order of `outcomes`; `issued` are all
    shares in the hands of accounts; `prices` is the float cache of the maker's prices.
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
    residual: Credits = 0
    reversing: bool = False
    settled: bool = False
    sweeping: bool = False

    @property
    def market_id(self) -> str:
        """The market's id."""
        return self.terms.market_id

    def index(self, outcome: str) -> int:
        """Return the place of an outcome, or -1."""
        try:
            return self.terms.outcomes.index(outcome)
        except ValueError:
            return -1

    def shown_prices(self) -> tuple[Price, ...]:
        """Return the maker's prices with 6 decimals."""
        return lmsr.displayed(self.prices)

    def payout_fraction(self, outcome: str) -> Fraction:
        """Return what a share of the outcome pays, in millionths of a credit."""
        return next((payout.fraction for payout in self.payouts if payout.outcome == outcome), 0)


# --- which command is legal in which status

LEGAL: Final[dict[type, frozenset[Status]]] = {
    ActivateMarket: frozenset({Status.DRAFT}),
    HaltMarket: frozenset({Status.ACTIVE}),
    ResumeMarket: frozenset({Status.HALTED}),
    CloseMarket: frozenset({Status.ACTIVE, Status.HALTED}),
    ClarifyMarket: frozenset({Status.DRAFT, Status.ACTIVE, Status.HALTED}),
    AddLiquidity: frozenset({Status.ACTIVE, Status.HALTED}),
    DetermineMarket: frozenset({Status.CLOSED, Status.DISPUTED}),
    DisputeMarket: frozenset({Status.DETERMINED}),
    UpholdMarket: frozenset({Status.DISPUTED}),
    FinalizeMarket: frozenset({Status.DETERMINED}),
    CorrectMarket: frozenset({Status.FINALIZED}),
    VoidMarket: frozenset(set(Status) - {Status.FINALIZED, Status.VOIDED}),
}


def illegal(market: Market, command: object) -> Rejection | None:
    """Return why the market's status does not allow the command, or None."""
    legal = LEGAL[type(command)]
    if market.status in legal:
        return None
    return reject(
        Code.MARKET_STATUS,
        f"the market is {market.status}; {type(command).__name__} needs one that is {' or '.join(sorted(legal))}",
        status=market.status,
    )


# --- decide


def open_market(command: OpenMarket, time: Time) -> MarketDrafted | Rejection:
    """Return the draft, its opening prices made explicit, or the refusal of what cannot be a market."""
    count = len(command.outcomes)
    if not 2 <= count <= OUTCOMES_MAX:
        return invalid("outcomes", f"must be 2 to {OUTCOMES_MAX} names", count=count)
    if len(set(command.outcomes)) != count:
        return invalid("outcomes", "must differ from each other")
    prices = command.initial_prices or uniform_prices(count)
    if len(prices) != count:
        return invalid("initial_prices", "must have one price for each outcome", count=len(prices), outcomes=count)
    if sum(prices) != MICRO:
        return invalid("initial_prices", "must sum to exactly 1", sum=format_decimal(sum(prices)))
    if not all(MICRO // 1000 <= price <= MICRO - MICRO // 1000 for price in prices):
        return invalid("initial_prices", "must lie from 0.001 to 0.999")
    if not SUBSIDY_MIN <= command.subsidy <= SUBSIDY_MAX:
        return invalid(
            "subsidy", f"must be {format_decimal(SUBSIDY_MIN)} to {format_decimal(SUBSIDY_MAX)}", given=command.subsidy
        )
    if not 0 <= command.fee_rate <= MICRO:
        return invalid("fee_rate", "must be 0 to 1", given=command.fee_rate)
    if not 0 <= command.dispute_seconds <= DISPUTE_SECONDS_MAX:
        return invalid("dispute_seconds", f"must be 0 to {DISPUTE_SECONDS_MAX}", given=command.dispute_seconds)
    if command.close_time <= time:
        return reject(Code.CLOSE_TIME_PASSED, "close_time must lie ahead", close_time=command.close_time, now=time)
    return MarketDrafted(
        command.market_id,
        command.story_id,
        command.slug,
        command.question,
        command.outcomes,
        prices,
        command.subsidy,
        command.fee_rate,
        command.close_time,
        command.resolution_source,
        command.dispute_seconds,
        command.dispute_bond,
    )


def uniform_prices(count: int) -> tuple[Price, ...]:
    """Return equal prices that sum to exactly 1; what does not divide goes to the first outcomes."""
    share, rest = divmod(MICRO, count)
    return tuple(share + (i < rest) for i in range(count))


def activation(terms: MarketDrafted) -> MarketActivated:
    """Return the event that funds the maker."""
    b = lmsr.liquidity(terms.subsidy, opening_prices(terms))
    return MarketActivated(terms.market_id, terms.subsidy, b, terms.initial_prices)


def opening_prices(terms: MarketDrafted) -> list[float]:
    """Return the opening prices as floats; where no prices were asked for they are exactly uniform."""
    count = len(terms.outcomes)
    if terms.initial_prices == uniform_prices(count):
        return [1 / count] * count
    return [price / MICRO for price in terms.initial_prices]


def add_liquidity(market: Market, command: AddLiquidity) -> LiquidityAdded | Rejection:
    """Return the event that raises b without moving a price.

    The loss still to come stays covered: `b' = b + amount / max_i(-ln p_i)` at the prices of now.
    """
    if market.subsidy + command.amount > SUBSIDY_MAX:
        return invalid("amount", f"would raise the subsidy above {format_decimal(SUBSIDY_MAX)}", subsidy=market.subsidy)
    b = market.liquidity + lmsr.liquidity(command.amount, market.prices)
    return LiquidityAdded(market.market_id, command.amount, b, lmsr.log_weights(market.prices))


def check_payouts(market: Market, payouts: tuple[Payout, ...]) -> Rejection | None:
    """Return why these cannot be the payouts of the market, or None."""
    names = [payout.outcome for payout in payouts]
    for name in names:
        if market.index(name) < 0:
            return reject(Code.UNKNOWN_OUTCOME, "payouts name an outcome the market does not have", outcome=name)
    if len(set(names)) != len(names):
        return reject(Code.INVALID_PAYOUTS, "payouts name an outcome twice")
    if any(payout.fraction < 0 for payout in payouts) or sum(payout.fraction for payout in payouts) != MICRO:
        return reject(
            Code.INVALID_PAYOUTS,
            "payouts must be fractions that sum to exactly 1",
            sum=format_decimal(sum(payout.fraction for payout in payouts)),
        )
    return None


def determination(market: Market, command: DetermineMarket, time: Time) -> MarketDetermined | Rejection:
    """Return the event that names the payouts and opens the dispute window."""
    return check_payouts(market, command.payouts) or MarketDetermined(
        market.market_id, command.payouts, command.evidence, time + market.terms.dispute_seconds * SECOND
    )


# --- evolve


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
        case DisputeUpheld():
            market.status, market.dispute_until = Status.DETERMINED, event.dispute_until
            market.forfeited += market.bond
            market.disputer, market.bond = "", 0
        case MarketFinalized():
            market.status, market.payouts = Status.FINALIZED, event.payouts
        case MarketCorrected():
            market.payouts, market.reversing, market.settled, market.residual = event.payouts, True, False, 0
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
    """Bring the cache of the maker's prices up to date."""
    market.prices = lmsr.price_vector(market.weights, market.sold, market.liquidity)
