"""Decides the commands of operators and disputers: which are legal in which status, and which events follow.

`decide` has one case for each command that needs nothing but its market. Two others have functions of their own: `open_market`
creates a market, and `dispute` also needs the account that posts the bond. `fall_due` decides what happens at a due time.
"""

from collections.abc import Sequence
from typing import Final, Literal, assert_never

from domain import lmsr
from domain.account import Account, BondForfeited, BondPosted, BondReturned
from domain.account_rules import cannot_spend
from domain.events import Event
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
    LiquidityAdded,
    MarketActivated,
    MarketClosed,
    MarketCommand,
    MarketCorrected,
    MarketDetermined,
    MarketDisputed,
    MarketDrafted,
    MarketFinalized,
    MarketHalted,
    MarketResumed,
    MarketVoided,
    OpenMarket,
    Payout,
    ResolutionClarified,
    ResumeMarket,
    Status,
    UpholdMarket,
    VoidMarket,
)
from domain.market_evolution import opening_prices, uniform_prices
from domain.market_state import Market
from domain.money import MICRO, PRICE_MAX, PRICE_MIN, Time, format_decimal
from domain.rejections import Code, Rejection, invalid, reject
from domain.sweeping import Ahead, market_ahead, swept_prices

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
"""The statuses in which each command is legal. Finalizing a finalized market is accepted too, without effect."""


def decide(  # noqa: C901, PLR0912  one case a command
    market: Market, command: MarketCommand, time: Time, held_until: Time = 0
) -> Sequence[Event] | Rejection:
    """Return the events of a command to a market, or why it is refused; no events where it has no effect.

    `held_until` is when a payout at this time may be withdrawn, 0 if payouts are not held.
    """
    if type(command) is FinalizeMarket and market.status == Status.FINALIZED:
        return ()  # the window's end finalized it first: it is as the operator wants it
    if refusal := _illegal(market, command):
        return refusal
    match command:
        case ActivateMarket():
            if market.close_time <= time:
                return reject(
                    Code.CLOSE_TIME_PASSED, "the market's close_time has passed", close_time=market.close_time
                )
            return [_activation(market.terms)]
        case HaltMarket():
            return [MarketHalted(market.market_id)]
        case ResumeMarket():
            return [MarketResumed(market.market_id, swept_prices(market, market_ahead(market)))]
        case CloseMarket():
            return [_closing(market, "operator")]
        case ClarifyMarket():
            version = market.resolution_version + 1
            return [ResolutionClarified(market.market_id, version, command.resolution_source)]
        case AddLiquidity():
            return _add_liquidity(market, command)
        case DetermineMarket():
            return _determine(market, command, time)
        case UpholdMarket():
            return _uphold(market, time)
        case FinalizeMarket():
            return _finalize(market, time, held_until)
        case CorrectMarket():
            return _check_payouts(market, command.payouts) or [
                MarketCorrected(market.market_id, command.payouts, command.evidence, market.residual, held_until)
            ]
        case VoidMarket():
            return _void(market, command)
        case _:
            assert_never(command)


def _illegal(market: Market, command: MarketCommand | DisputeMarket) -> Rejection | None:
    """Return why the market's status does not allow the command, or None."""
    legal = LEGAL[type(command)]
    if market.status in legal:
        return None
    return reject(
        Code.MARKET_STATUS,
        f"the market is {market.status}; {type(command).__name__} is allowed only while it is {' or '.join(sorted(legal))}",
        status=market.status,
    )


# --- opening


def open_market(command: OpenMarket, slug: str, time: Time) -> Sequence[Event] | Rejection:
    """Return the events of a new market with this slug, its opening prices made explicit, or why it is refused."""
    if wrong := _check_outcomes(command) or _check_terms(command):
        return wrong
    if command.close_time <= time:
        return reject(
            Code.CLOSE_TIME_PASSED, "close_time must be in the future", close_time=command.close_time, now=time
        )
    drafted = MarketDrafted(
        command.market_id,
        command.story_id,
        slug,
        command.question,
        command.outcomes,
        command.initial_prices or uniform_prices(len(command.outcomes)),
        command.subsidy,
        command.fee_rate,
        command.close_time,
        command.resolution_source,
        command.dispute_seconds,
        command.dispute_bond,
        () if command.slug else ("slug",),
    )
    return [drafted] if command.draft else [drafted, _activation(drafted)]


def _check_outcomes(command: OpenMarket) -> Rejection | None:
    """Return what is wrong with the outcomes and their opening prices, or None."""
    count, prices = len(command.outcomes), command.initial_prices
    if not 2 <= count <= OUTCOMES_MAX:
        return invalid("outcomes", f"must be 2 to {OUTCOMES_MAX} names", count=count)
    if len(set(command.outcomes)) != count:
        return invalid("outcomes", "must be different names")
    if not prices:
        return None
    if len(prices) != count:
        return invalid("initial_prices", "must have one price for each outcome", count=len(prices), outcomes=count)
    if sum(prices) != MICRO:
        return invalid("initial_prices", "must sum to exactly 1", sum=format_decimal(sum(prices)))
    if not all(PRICE_MIN <= price <= PRICE_MAX for price in prices):
        return invalid("initial_prices", "must be from 0.001 to 0.999")
    return None


def _check_terms(command: OpenMarket) -> Rejection | None:
    """Return what is wrong with the market's other numbers, or None."""
    if not SUBSIDY_MIN <= command.subsidy <= SUBSIDY_MAX:
        return invalid(
            "subsidy", f"must be {format_decimal(SUBSIDY_MIN)} to {format_decimal(SUBSIDY_MAX)}", given=command.subsidy
        )
    if not 0 <= command.fee_rate <= MICRO:
        return invalid("fee_rate", "must be 0 to 1", given=command.fee_rate)
    if not 0 <= command.dispute_seconds <= DISPUTE_SECONDS_MAX:
        return invalid("dispute_seconds", f"must be 0 to {DISPUTE_SECONDS_MAX}", given=command.dispute_seconds)
    return None


def _activation(terms: MarketDrafted) -> MarketActivated:
    """Return the event that funds the AMM."""
    b = lmsr.liquidity(terms.subsidy, opening_prices(terms))
    return MarketActivated(terms.market_id, terms.subsidy, b, terms.initial_prices)


# --- while it runs


def _add_liquidity(market: Market, command: AddLiquidity) -> Sequence[Event] | Rejection:
    """Return the event that raises the liquidity b without moving a price.

    The largest loss that is still possible stays covered: `b' = b + amount / max_i(-ln p_i)` at the current prices.
    """
    if market.subsidy + command.amount > SUBSIDY_MAX:
        return invalid("amount", f"would raise the subsidy above {format_decimal(SUBSIDY_MAX)}", subsidy=market.subsidy)
    b = market.liquidity + lmsr.liquidity(command.amount, market.prices)
    weights, sold = lmsr.log_weights(market.prices), [0] * len(market.sold)
    ahead = Ahead(weights, b, sold, lmsr.price_vector(weights, sold, b), {}, None)
    swept = swept_prices(market, ahead) if market.status == Status.ACTIVE else ()
    return [LiquidityAdded(market.market_id, command.amount, b, weights, swept)]


def _closing(market: Market, reason: str) -> MarketClosed:
    return MarketClosed(market.market_id, reason, market.displayed_prices())


def fall_due(market: Market, kind: Literal["close", "window"], held_until: Time = 0) -> Sequence[Event]:
    """Close the market at its close time, or finalize it when its dispute window ends; `held_until` as for `decide`."""
    match kind:
        case "close":
            return [_closing(market, "close_time")]
        case "window":
            return [MarketFinalized(market.market_id, market.payouts, held_until)]
        case _:
            assert_never(kind)


# --- resolution


def _check_payouts(market: Market, payouts: tuple[Payout, ...]) -> Rejection | None:
    """Return why these cannot be the payouts of the market, or None."""
    names = [payout.outcome for payout in payouts]
    for name in names:
        if market.index(name) < 0:
            return reject(Code.UNKNOWN_OUTCOME, "payouts name an outcome that the market does not have", outcome=name)
    if len(set(names)) != len(names):
        return reject(Code.INVALID_PAYOUTS, "payouts name an outcome twice")
    if any(payout.fraction < 0 for payout in payouts) or sum(payout.fraction for payout in payouts) != MICRO:
        return reject(
            Code.INVALID_PAYOUTS,
            "payouts must be fractions that sum to exactly 1",
            sum=format_decimal(sum(payout.fraction for payout in payouts)),
        )
    return None


def _determine(market: Market, command: DetermineMarket, time: Time) -> Sequence[Event] | Rejection:
    """Return the determination, which opens a dispute window. To determine a disputed market again returns the bond."""
    if refusal := _check_payouts(market, command.payouts):
        return refusal
    dispute_until = time + market.terms.dispute_seconds * SECOND
    determined = MarketDetermined(market.market_id, command.payouts, command.evidence, dispute_until)
    return [*_returned_bond(market), determined]


def _returned_bond(market: Market) -> Sequence[Event]:
    """Return the event that gives the bond of an open dispute back, or none."""
    if market.status == Status.DISPUTED:
        return [BondReturned(market.disputer, market.market_id, market.bond)]
    return ()


def dispute(market: Market, account: Account, command: DisputeMarket, time: Time) -> Sequence[Event] | Rejection:
    """Return the events of a dispute and its bond, or why it is refused."""
    if refusal := _illegal(market, command):
        return refusal
    if time >= market.dispute_until:
        return reject(
            Code.DISPUTE_WINDOW_CLOSED, "the dispute window is over", dispute_until=market.dispute_until, now=time
        )
    least = market.least_bond
    bond = least if command.bond is None else command.bond
    if bond < least:
        return reject(Code.BOND_TOO_SMALL, f"the bond must be at least {format_decimal(least)}", bond=bond, least=least)
    return cannot_spend(account, bond) or [
        BondPosted(account.account_id, market.market_id, bond),
        MarketDisputed(
            market.market_id, account.account_id, bond, command.reason, ("bond",) if command.bond is None else ()
        ),
    ]


def _uphold(market: Market, time: Time) -> Sequence[Event]:
    """Return the events that keep a disputed determination: the bond goes to the house, a new window begins."""
    return [
        BondForfeited(market.disputer, market.market_id, market.bond),
        DisputeUpheld(market.market_id, time + market.terms.dispute_seconds * SECOND),
    ]


def _finalize(market: Market, time: Time, held_until: Time) -> Sequence[Event] | Rejection:
    """Return the event after which the holders are paid, once the dispute window is over."""
    if time < market.dispute_until:
        return reject(
            Code.DISPUTE_WINDOW_OPEN, "the dispute window is still open", dispute_until=market.dispute_until, now=time
        )
    return [MarketFinalized(market.market_id, market.payouts, held_until)]


def _void(market: Market, command: VoidMarket) -> Sequence[Event]:
    """Return the events after which everybody is refunded; the bond of an open dispute returns first."""
    return [*_returned_bond(market), MarketVoided(market.market_id, command.reason, market.fees, market.forfeited)]
