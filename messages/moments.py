"""Times as people and tools write them in a query: RFC 3339, a plain date, or seconds since 1970.

Bodies, commands and files take RFC 3339 alone (`messages.wire.parse_time`): a date there would leave open which hour closes a
market.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from domain.money import MICRO
from messages.wire import TIME_MAX, parse_time

if TYPE_CHECKING:
    from domain.money import Time

FORMS: Final = "RFC 3339 (2024-11-12T10:02:00Z), a date (2024-11-12, 00:00 UTC), or seconds since 1970"
"""The forms, for descriptions and messages."""

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SECONDS: Final = re.compile(r"(\d{1,20})(?:\.(\d{1,6}))?", re.ASCII)
_PROBLEM: Final = f"must be a time from 1970 to 9999 with at most 6 decimals: {FORMS}"


def parse_moment(text: str) -> Time:
    """Return the microseconds since the epoch of a time in one of these forms.

    Raises ValueError, with a message for people, for anything else and for times before 1970 or after 9999.
    """
    if seconds := _SECONDS.fullmatch(text):
        whole, decimals = seconds.groups(default="")
        time = int(whole) * MICRO + int(decimals.ljust(6, "0"))
        if time > TIME_MAX:
            raise ValueError(_PROBLEM)
        return time
    try:
        return parse_time(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    except ValueError:
        raise ValueError(_PROBLEM) from None
