"""One cell of a table: a time, an amount, an outcome's payout. Every refusal is a CellError with a message for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.money import AMOUNT_MAX, MICRO, format_decimal
from messages.wire import TIME_MAX, format_time

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from domain.money import Time

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_NUMBER: Final = re.compile(r"(\d{1,20})(?:\.(\d+))?", re.ASCII)
_UNITS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
"""Nanoseconds in each unit of a time that is a number."""

_UNIT_BY_DIGITS: Final = {9: "s", 10: "s", 12: "ms", 13: "ms", 15: "us", 16: "us", 18: "ns", 19: "ns"}
"""The unit of a number of so many digits, from 1973 to 2286: no two units share one there."""

_AMOUNT_LIMIT: Final = Decimal(AMOUNT_MAX)
_ZERO: Final = Decimal(0)
_DIGITS_MAX: Final = 100
"""A number with more digits before or after its point is no amount of anything."""
_MICRO: Final = Decimal(MICRO)


class CellError(ValueError):
    """What a cell must be and is not."""


# --- times


def time_reader(form: str, zone: str, now: Time) -> Callable[[str], Time]:
    """Return the function that reads the times of a table. Raises CellError for a form or a zone that does not exist.

    `form`: auto, iso, s, ms, us, ns, or a pattern of `strptime`. `zone` is that of times that name none. Nothing happened
    after `now`. Digits below a microsecond are cut off.
    """
    try:
        where: tzinfo = UTC if zone == "UTC" else ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CellError(f"times.zone: there is no time zone {zone!r}") from None
    if form not in {"auto", "iso", *_UNITS} and "%" not in form:
        raise CellError(
            f"times.format must be auto, iso, s, ms, us, ns or a pattern such as %d/%m/%Y %H:%M, not {form!r}"
        )

    def read(text: str) -> Time:
        number = _NUMBER.fullmatch(text) if form == "auto" or form in _UNITS else None
        if number is not None:
            time = _time_of_number(number[1], number[2] or "", form)
        elif form in _UNITS:
            raise CellError("must be a number of seconds or parts of them since 1970")
        else:
            time = _time_of_text(text, form, where)
        if not 0 <= time <= TIME_MAX:
            raise CellError("must be a time from 1970 on")
        if time > now:
            raise CellError(f"is in the future ({format_time(time)}); times.format names the unit or the pattern")
        return time

    return read


def _time_of_number(whole: str, decimals: str, form: str) -> Time:
    unit = _UNIT_BY_DIGITS.get(len(whole)) if form == "auto" else form
    if unit is None:
        raise CellError("is a number of unknown unit; times.format names it: s, ms, us or ns")
    nanoseconds = int(whole) * _UNITS[unit] + int(decimals.ljust(9, "0")[:9] or "0") * _UNITS[unit] // 1_000_000_000
    return nanoseconds // 1_000


def _time_of_text(text: str, form: str, zone: tzinfo) -> Time:
    try:
        moment = datetime.fromisoformat(text) if form in {"auto", "iso"} else datetime.strptime(text, form)  # noqa: DTZ007
    except ValueError:
        wanted = "an ISO 8601 time" if form in {"auto", "iso"} else f"a time like {form}"
        raise CellError(f"must be {wanted}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    try:
        return (moment - _EPOCH) // _MICROSECOND
    except OverflowError:
        raise CellError("must be a time from 1970 on") from None


# --- numbers


def scale_of(text: str, name: str) -> Decimal:
    """Return what 1 in the table is worth. Raises CellError."""
    scale = _decimal(text)
    if scale is None or not 0 < scale <= _AMOUNT_LIMIT:
        raise CellError(f'amounts.{name} must be a decimal number above 0, as in "0.01"')
    return scale


def number_of(text: str, scale: Decimal) -> Decimal:
    """Return a number of the table in whole credits, shares or credits a share, with its sign."""
    found = _decimal(text)
    if found is None:
        raise CellError("must be a decimal number")
    if not abs(found) <= _AMOUNT_LIMIT or not abs(found * scale) <= _AMOUNT_LIMIT:
        raise CellError(f"must be at most {format_decimal(AMOUNT_MAX)}")
    return found * scale


def micros_of(amount: Decimal) -> int:
    """Return the micro-units of a positive amount, rounded half even. Raises CellError when nothing is left."""
    micros = int((amount * _MICRO).to_integral_value(ROUND_HALF_EVEN))
    if micros <= 0:
        raise CellError("must be above 0" if amount <= _ZERO else "must be at least 0.000001")
    if micros > AMOUNT_MAX:
        raise CellError(f"must be at most {format_decimal(AMOUNT_MAX)}")
    return micros


def _decimal(text: str) -> Decimal | None:
    try:
        found = Decimal(text) if "_" not in text else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() and abs(found.adjusted()) < _DIGITS_MAX else None
