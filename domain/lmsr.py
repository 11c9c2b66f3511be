"""The automated market maker (AMM): Hanson's logarithmic market scoring rule (LMSR), in numerically safe forms.

R. Hanson, "Logarithmic market scoring rules for modular combinatorial information aggregation" (2007).
The price of outcome i is `softmax(w + q / b)[i]`, where q are the net shares that the AMM has sold, b is the liquidity and
w are the logarithms of the opening prices. Floats exist only here and in the prices that callers cache.
A trader pays the AMM amounts rounded up and receives amounts rounded down, in whole micro-units.
"""

from collections.abc import Sequence
from math import ceil, exp, expm1, floor, fsum, inf, log, log1p
from typing import Final

from domain.money import MICRO, PRICE_MAX, PRICE_MIN, Credits, Price, Shares

PICO: Final = 1_000_000_000_000
"""The fixed-point unit in which liquidity (credits) and log-weights (nats) are stored."""

HIGHEST: Final = PRICE_MAX / MICRO
"""The price at which buying from the AMM stops."""

LOWEST: Final = PRICE_MIN / MICRO
"""The price at which selling to the AMM stops."""

_PICO_PER_MICRO: Final = PICO // MICRO

TINIEST: Final = 1e-300
"""The lowest price; shares below it cost nothing that counts, see `shares_below`.

With three or more outcomes, buying the others in turn drives one towards 0, which cannot be divided by.
"""

_LOG_TINIEST: Final = log(TINIEST)


def liquidity(subsidy: Credits, prices: Sequence[float]) -> int:
    """Return b in 1e-12 credits, rounded down so that the AMM's loss stays within the subsidy.

    `b = S / max_i(-ln p_i)`; for uniform prices `S / ln n`.
    """
    return floor(subsidy * (PICO // MICRO) / max(-log(price) for price in prices))


def log_weights(prices: Sequence[float]) -> tuple[int, ...]:
    """Return the logarithms of the prices in 1e-12 nats."""
    return tuple(round(log(price) * PICO) for price in prices)


def price_vector(weights: Sequence[int], sold: Sequence[Shares], b: int) -> tuple[float, ...]:
    """Return the price of every outcome: each in (0, 1), summing to 1 within 1e-12.

    `weights` are in 1e-12 nats, `sold` in micro-shares (negative where the AMM bought more than it sold), `b` is in
    1e-12 credits.
    """
    liquid = b / _PICO_PER_MICRO
    # Differences of integers are exact, however large the integers are.
    if len(weights) == 2:
        exponent = (weights[1] - weights[0]) / PICO + (sold[1] - sold[0]) / liquid
        power = exp(-abs(exponent))
        higher, lower = 1 / (1 + power), power / (1 + power)
        return (max(lower, TINIEST), higher) if exponent > 0 else (higher, max(lower, TINIEST))
    exponents = [weight / PICO + quantity / liquid for weight, quantity in zip(weights, sold, strict=True)]
    top = exponents.index(max(exponents))
    weight, quantity = weights[top], sold[top]
    powers = [exp((w - weight) / PICO + (q - quantity) / liquid) for w, q in zip(weights, sold, strict=True)]
    total = fsum(powers)  # `sum` would round 63 small ones away beside a 1, and differently between versions of Python
    return tuple([max(power / total, TINIEST) for power in powers])


def shares_below(weights: Sequence[int], sold: Sequence[Shares], b: int, index: int) -> Shares:
    """Return how many shares the AMM sells of an outcome before its price, without the lower bound, comes up to `TINIEST`.

    They cost less than 1e-280 credits together. For an outcome whose price is not below there are none.
    """
    liquid = b / _PICO_PER_MICRO
    weight, quantity = weights[index], sold[index]
    exponents = [(w - weight) / PICO + (q - quantity) / liquid for w, q in zip(weights, sold, strict=True)]
    top = max(exponents)
    if top < -_LOG_TINIEST / 2:  # far from there, as nearly always
        return 0
    below = top + log(fsum(exp(exponent - top) for exponent in exponents)) + _LOG_TINIEST
    return max(0, ceil(below * liquid))


def displayed(prices: Sequence[float]) -> tuple[Price, ...]:
    """Return prices with 6 decimals that sum to exactly 1.

    Each is rounded to the nearest. If the sum is then not 1, the prices with the largest rounding errors change by 1e-6.
    """
    shown = [round(price * MICRO) for price in prices]
    missing = MICRO - sum(shown)
    while missing:
        step = 1 if missing > 0 else -1
        errors = [step * (price * MICRO - rounded) for price, rounded in zip(prices, shown, strict=True)]
        shown[errors.index(max(errors))] += step
        missing -= step
    return tuple(shown)


def cost(b: float, price: float, shares: float) -> float:
    """Return what `shares` cost at `price`: `b log1p(p expm1(d / b))`. Selling is a negative number of shares and of credits."""
    return b * log1p(price * expm1(shares / b))


def shares_for_spend(b: float, price: float, spend: float) -> float:
    """Return how many shares `spend` buys: `b log1p(expm1(x / b) / p)`."""
    return b * log1p(expm1(spend / b) / price)


def shares_to_price(b: float, price: float, target: float) -> float:
    """Return how many shares move the price to `target`, negative for a lower one.

    `b ln((t / (1 - t)) ((1 - p) / p))`
    """
    return b * log((target / (1 - target)) * ((1 - price) / price))


def traded(b: float, price: float, change: float, yielded: float) -> tuple[float, float]:
    """Return the shares that the AMM sells (negative: buys) of one outcome, and their average price, in a joint move.

    In a joint move several prices move at once, each on a straight line: this one from `price` to `price + change`. The
    prices of the outcomes that nobody trades fall by the fraction `yielded` (below 1): the sum of all changes divided by
    the sum of those prices. With `r = -ln(1 - yielded)` the shares are `b (ln(1 + change / price) + r)`, and they cost
    `b (price r + change r / yielded)`. The costs of all outcomes sum to the cost of buying everything at once. If one price
    moves alone, this agrees with `cost` and `shares_to_price`.
    """
    r = -log1p(-yielded)
    shares = b * (log1p(change / price) + r)
    paid = b * (price * r + change * (r / yielded if yielded else 1.0))
    return shares, paid / shares if shares else price


def until_traded(b: float, price: float, change: float, yielded: float, shares: float) -> float:
    """Return the part of a joint move (1: all of it) after which these shares are sold; infinity if they never are."""
    factor = shares / b
    divisor = change / price + exp(factor) * yielded
    part = expm1(factor) / divisor if divisor else inf
    return part if part > 0 else inf


def cost_up(b: int, price: float, quantity: Shares) -> Credits:
    """Return what a buyer pays the AMM for `quantity`, rounded up. `b` is in 1e-12 credits."""
    return ceil(cost(b / PICO, price, quantity / MICRO) * MICRO)


def proceeds_down(b: int, price: float, quantity: Shares) -> Credits:
    """Return what a seller receives from the AMM for `quantity`, rounded down. `b` is in 1e-12 credits."""
    return max(0, floor(-cost(b / PICO, price, -quantity / MICRO) * MICRO))


def buyable(b: int, price: float, highest: float = HIGHEST) -> Shares:
    """Return the most shares that the AMM sells before its price rises above `highest`."""
    if price >= highest:
        return 0
    return max(0, floor(shares_to_price(b / PICO, price, highest) * MICRO))


def sellable(b: int, price: float, lowest: float = LOWEST) -> Shares:
    """Return the most shares that the AMM buys before its price falls below `lowest`."""
    if price <= lowest:
        return 0
    return max(0, floor(-shares_to_price(b / PICO, price, lowest) * MICRO))


def affordable(b: int, price: float, spend: Credits, most: Shares) -> tuple[Shares, Credits]:
    """Return how many shares `spend` buys from the AMM, at most `most`, and their `cost_up`, which is at most `spend`."""
    cost = cost_up(b, price, most)
    if cost <= spend:
        return most, cost
    quantity = min(most, floor(shares_for_spend(b / PICO, price, spend / MICRO) * MICRO))
    while (cost := cost_up(b, price, quantity)) > spend:
        quantity -= 1
    return quantity, cost
