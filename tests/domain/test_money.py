"""Amounts: decimal strings in and out, and roundings that have their direction in their name."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import (
    AMOUNT_MAX,
    MICRO,
    divide_half_even,
    divide_up,
    format_decimal,
    largest_fee,
    parse_decimal,
    taker_fee,
)

amounts = st.integers(-(10**15), 10**15)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0", 0),
        ("12.5", 12_500_000),
        ("0.000001", 1),
        ("-0.5", -500_000),
        ("1000000000", AMOUNT_MAX),
        ("9999999999999999.999999", 9999999999999999_999999),
    ],
)
def test_decimal_strings_become_micro_units(text: str, micros: int) -> None:
    """The conversion is exact, with at most 6 decimals."""
    assert micros == parse_decimal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1.",
        ".5",
        "+1",
        "--1",
        "1e3",
        "1E3",
        "0x1",
        "01",
        "1_000",
        "1,5",
        "NaN",
        "inf",
        "1.0000001",
        "½",
    ],
)
def test_other_strings_than_plain_decimals_are_refused(text: str) -> None:
    """Exponents, blanks, more decimals and the like raise an error."""
    with pytest.raises(ValueError, match="at most 6 decimals"):
        parse_decimal(text)


@pytest.mark.parametrize("text", ["12345678901234567", "1\n", "\u0661", "1.\u0661"])
def test_other_digits_and_too_many_are_refused(text: str) -> None:
    """Digits are 0 to 9, at most 16 before the point, with nothing after them."""
    with pytest.raises(ValueError, match="at most 6 decimals"):
        parse_decimal(text)


@given(amounts)
def test_what_is_written_reads_back(micros: int) -> None:
    """It has 6 decimals and reads as the same amount."""
    text = format_decimal(micros)

    assert micros == parse_decimal(text)
    assert len(text.partition(".")[2]) == 6


@given(amounts, st.integers(1, 10**12))
def test_roundings_go_where_their_names_say(numerator: int, denominator: int) -> None:
    """Up is the smallest integer that is not below; half even is the nearest integer, of two the even one."""
    exact = Fraction(numerator, denominator)
    up, even = divide_up(numerator, denominator), divide_half_even(numerator, denominator)

    assert exact <= up < exact + 1
    assert abs(even - exact) <= Fraction(1, 2)
    assert even == round(exact)  # Fraction rounds half to even


@given(st.integers(0, MICRO), st.integers(1, 10**15), st.data())
def test_a_fee_is_the_rate_times_p_times_one_minus_p_rounded_up(rate: int, quantity: int, data: st.DataObject) -> None:
    """It is taken at the average price and never exceeds the cost; it is 0 where rounding made the price 1 or more."""
    cost = data.draw(st.integers(0, quantity + 1))
    fee = taker_fee(rate, quantity, cost)
    price = Fraction(cost, quantity)
    exact = Fraction(rate, MICRO) * quantity * price * (1 - price)

    assert fee == (0 if exact <= 0 else -(-exact.numerator // exact.denominator))
    assert 0 <= fee <= cost


@given(st.integers(0, MICRO), st.integers(1, 10**12), st.integers(1, 999), st.data())
def test_the_largest_fee_is_enough_for_any_price_up_to_the_limit(
    rate: int, quantity: int, tick: int, data: st.DataObject
) -> None:
    """Whatever a part of the order costs at the limit or better, the largest fee covers its fee."""
    part = data.draw(st.integers(1, quantity))
    cost = data.draw(st.integers(0, part * tick // 1000))

    assert taker_fee(rate, part, cost) <= largest_fee(rate, quantity, tick * 1000)
