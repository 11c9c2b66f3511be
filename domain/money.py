"""Amounts as integers of 1e-6: micro-credits, micro-shares, and prices in micro-credits per share.

No float is ever stored, summed or compared. Every rounding has its direction in its name.
The annotations of the types (`Credits`, `Shares`, ...) tell the code at the edges what to write as a decimal string. To the
type checker and to the rules they are plain integers.
"""

import re
from typing import Annotated, Final

MICRO: Final = 1_000_000
"""Micro-credits in a credit, micro-shares in a share, and the price 1."""

PRICE_TICK: Final = 1_000
"""The tick: order prices are multiples of 0.001 credits a share."""

PRICE_MIN: Final = PRICE_TICK
PRICE_MAX: Final = MICRO - PRICE_TICK

AMOUNT_MAX: Final = 1_000_000_000 * MICRO
"""The largest amount that a command may name: a billion (1e9) credits or shares."""

MONEY_MAX: Final = 1_000_000_000_000 * MICRO
"""The most that may have come in from outside, deposits less withdrawals, and the most that the house may owe: a trillion (1e12).

So every balance and every number of shares fits 64 bits, several times over.
"""

Credits = Annotated[int, "credits"]
Shares = Annotated[int, "shares"]
Price = Annotated[int, "price"]
Fraction = Annotated[int, "fraction"]
PicoCredits = Annotated[int, "pico-credits"]
"""Credits in units of 1e-12, for the liquidity of a market. It exceeds 64 bits of PostgreSQL, and the integers of JSON."""

Time = Annotated[int, "time"]
"""Microseconds since 1970-01-01T00:00:00Z."""

_DECIMAL: Final = re.compile(r"(-?)(0|[1-9][0-9]{0,15})(?:\.([0-9]{1,6}))?")


def parse_decimal(text: str) -> int:
    """Return the micro-units of a decimal string with at most 6 decimals, as `"12.5"`.

    Raises ValueError, with a message for users, for anything else: exponents, NaN, signs other than a leading minus,
    leading zeros, blanks, more than 16 digits before the point or 6 after it.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError("must be a decimal number as a string, with at most 6 decimals")
    sign, whole, decimals = match.groups(default="")
    micros = int(whole) * MICRO + int(decimals.ljust(6, "0"))
    return -micros if sign else micros


def format_decimal(micros: int) -> str:
    """Return micro-units as a decimal string with 6 decimals: 12500000 is `"12.500000"`."""
    if micros == 0:
        return "0.000000"
    if micros < 0:
        return f"-{format_decimal(-micros)}"
    digits = str(micros)
    if micros < MICRO:
        digits = digits.zfill(7)
    return f"{digits[:-6]}.{digits[-6:]}"


def divide_up(numerator: int, denominator: int) -> int:
    """Divide integers, rounding towards plus infinity; the denominator is positive."""
    return -(-numerator // denominator)


def divide_half_even(numerator: int, denominator: int) -> int:
    """Divide integers, rounding to the nearest and ties to the even one; the denominator is positive."""
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2):
        quotient += 1
    return quotient


def average_price(cost: Credits, quantity: Shares, limit: Price | None, *, buys: bool) -> Price:
    """Return the price per share to show for what was traded within a limit: rounded half even, never beyond the limit.

    Only the rounding of `cost` to a micro-credit can bring the average beyond the limit, so the limit is the nearer price.
    """
    price = divide_half_even(cost * MICRO, quantity)
    if limit is None:
        return price
    return min(price, limit) if buys else max(price, limit)


def taker_fee(fee_rate: Fraction, quantity: Shares, cost: Credits) -> Credits:
    """Return `rate * quantity * price * (1 - price)` at the average price `cost / quantity`, rounded up.

    `fee_rate` is in millionths of 1. There is no fee where rounding made the cost reach or exceed the quantity.
    """
    if fee_rate == 0 or quantity == 0 or cost >= quantity:
        return 0
    return divide_up(fee_rate * cost * (quantity - cost), quantity * MICRO)


def largest_fee(fee_rate: Fraction, quantity: Shares, limit_price: Price) -> Credits:
    """Return the largest fee for buying this quantity at the limit or better: p(1 - p) peaks at one half."""
    price = min(limit_price, MICRO // 2)
    return divide_up(fee_rate * quantity * price * (MICRO - price), MICRO**3)
