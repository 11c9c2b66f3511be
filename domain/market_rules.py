"""The rules of a market's life: which command is legal when, what it makes, and how events change the market."""

from typing import Final, assert_never

from domain import lmsr
from domain.book import Book
from domain.market import (
    DISPUTE_SECONDS_MAX,
    OUTCOMES_MAX,
    SECOND,
    SUBSIDY_MAX,
    SUBSIDY_MIN,
    ActivateMarket,
    AddLiquidity,
    ClarifyMarket,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    DisputeUpheld,
    FinalizeMarket,
    HaltMarket,
    LifecycleEvent,
    LiquidityAdded,
    Market,
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
    OpenMarket,
    Payout,
    ResolutionClarified,
    ResumeMarket,
    SetsBurned,
    SetsMinted,
    Status,
    UpholdMarket,
    VoidMarket,
)
from domain.money import MICRO, Price, Time, format_decimal
from domain.rejections import Code, Rejection, invalid, reject

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
