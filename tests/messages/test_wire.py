"""Times and the liquidity of markets on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.lmsr import liquidity
from domain.market import SUBSIDY_MAX, LiquidityAdded, MarketActivated
from messages.events import public_data
from messages.wire import TIME_MAX, format_pico, format_time, parse_time


def test_the_liquidity_of_a_market_is_a_decimal_string() -> None:
    """It may exceed 2^53, up to which every reader of JSON understands integers exactly."""
    b = liquidity(SUBSIDY_MAX, (0.5, 0.5))

    activated = public_data(MarketActivated("m", SUBSIDY_MAX, b, (500_000, 500_000)))
    added = public_data(LiquidityAdded("m", SUBSIDY_MAX, b, (-693_147_180_560, -693_147_180_560)))

    assert activated["liquidity"] == added["liquidity"] == f"14426950.{b % 10**12:012}"
    assert (format_pico(0), format_pico(1_442_695_040_888)) == ("0.000000000000", "1.442695040888")


@given(st.integers(0, TIME_MAX))
def test_a_time_comes_back_as_it_went(time: int) -> None:
    """To the microsecond, from 1970 to the end of the year 9999."""
    assert time == parse_time(format_time(time))


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T02:00:00.000001+02:00", 1),
        ("1969-12-31T23:00:01-01:00", 1_000_000),
        ("2024-10-24t10:02:00z", 1_729_764_120_000_000),
    ],
)
def test_offsets_and_fractions_are_understood(text: str, micros: int) -> None:
    """Any offset and up to 6 decimals of a second."""
    assert micros == parse_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-10-24",
        "2024-10-24T10:02:00",
        "2024-10-24 10:02:00Z",
        "2024-13-24T10:02:00Z",
        "2024-10-24T10:02:60Z",
        "2024-10-24T10:02:00.1234567Z",
        "2024-10-24T10:02:00+24:00",
        "2024-10-24T10:02:00+00:60",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٤-10-24T10:02:00Z",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """No offset, a day that does not exist, too many decimals, before 1970, after 9999, digits of another script."""
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_time(text)
