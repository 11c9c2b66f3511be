"""How pages write values: percents, credits, shares, times. Amounts come as integers of 1e-6, times as microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from markupsafe import Markup

from api.page.languages import translate as _
from domain.money import MICRO, format_decimal
from messages.wire import format_time

if TYPE_CHECKING:
    from domain.money import Price, Time

THIN: Final = "\u202f"
"""A narrow space that does not break: it separates thousands."""

MINUS: Final = "\u2212"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = MICRO


def percent(price: Price) -> str:
    """Return a price as odds with one decimal: 554000 is `55.4%`; `<0.1%` and `>99.9%` near the ends."""
    if 0 < price < MICRO // 1_000:
        return "<0.1%"
    if MICRO - MICRO // 1_000 < price < MICRO:
        return ">99.9%"
    tenths = _rounded(price, 1_000)
    return f"{tenths // 10}.{tenths % 10}%"


def points(change: Price) -> str:
    """Return a change of odds in percentage points with its sign: `+3.2`."""
    tenths = _rounded(abs(change), 1_000)
    return f"{_sign(change if tenths else 0)}{tenths // 10}.{tenths % 10}"


def credits_(amount: int) -> str:
    """Return credits or shares with two decimals, thousands apart: `1 234.50`."""
    hundredths = _rounded(abs(amount), MICRO // 100)
    text = f"{hundredths // 100:,}".replace(",", THIN) + f".{hundredths % 100:02}"
    return f"{MINUS}{text}" if amount < 0 and hundredths else text


def signed(amount: int) -> str:
    """Return credits with two decimals and their sign, also a plus."""
    return f"+{credits_(amount)}" if amount > 0 else credits_(amount)


def whole(amount: int) -> str:
    """Return credits without decimals, thousands apart, for summaries: `1 235`."""
    return f"{_rounded(amount, MICRO):,}".replace(",", THIN)


def decimal(amount: int) -> str:
    """Return an amount for a field of a form: `12.5`, no zeros at its end."""
    return format_decimal(amount).rstrip("0").rstrip(".")


def moment(time: Time) -> Markup:
    """Return a time as an element: the text is UTC, which a module replaces with the reader's own zone."""
    then = _EPOCH + timedelta(microseconds=time)
    text = f"{date(time)}, {then:%H:%M} UTC"
    return Markup('<time datetime="{}" title="{}" data-moment>{}</time>').format(format_time(time), text, text)


def rfc_822(time: Time) -> str:
    """Return a time in the form of RSS."""
    return format_datetime(_EPOCH + timedelta(microseconds=time), usegmt=True)


def date(time: Time) -> str:
    """Return the day of a time in UTC: `24 October 2024`."""
    then = _EPOCH + timedelta(microseconds=time)
    return f"{then.day} {_(MONTHS[then.month - 1])} {then.year}"


def day(time: Time) -> Markup:
    """Return the day of a time as an element, in UTC."""
    then, text = _EPOCH + timedelta(microseconds=time), date(time)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        format_time(time), f"{text}, {then:%H:%M}", text
    )


def short_day(time: Time) -> str:
    """Return a day for an axis: `24 Oct`."""
    then = _EPOCH + timedelta(microseconds=time)
    return f"{then.day} {_(MONTHS[then.month - 1])[:3]}"


def clock(time: Time) -> str:
    """Return the hour and minute of a time in UTC: `10:02`."""
    return f"{_EPOCH + timedelta(microseconds=time):%H:%M}"


def month_year(time: Time) -> str:
    """Return a month for an axis: `Oct 2024`."""
    then = _EPOCH + timedelta(microseconds=time)
    return f"{_(MONTHS[then.month - 1])[:3]} {then.year}"


def span(microseconds: int) -> str:
    """Return a length of time in its largest two units: `1 y 11 m`, `3 d 4 h`, `12 min`."""
    minutes = max(0, microseconds) // (60 * _SECOND)
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    years, left = divmod(days, 365)
    months = left // 30
    if years:
        return _("%(y)d y %(m)d m") % {"y": years, "m": min(months, 11)}
    if months > 1:
        return _("%(m)d months") % {"m": months}
    if days:
        return _("%(d)d d %(h)d h") % {"d": days, "h": hours}
    if hours:
        return _("%(h)d h %(min)d min") % {"h": hours, "min": minutes}
    return _("%(min)d min") % {"min": minutes}


def segment(name: str) -> str:
    """Return a name as one part of a path, whatever it has in it."""
    return quote(name, safe="")


def safe_url(url: str | None) -> str | None:
    """Return a URL that a page may link to, None for any other: those with http and https only."""
    return url if url is not None and url.lower().startswith(("http://", "https://")) else None


def _rounded(amount: int, unit: int) -> int:
    return (amount + unit // 2) // unit


def _sign(amount: int) -> str:
    return "+" if amount > 0 else MINUS if amount < 0 else "\u00b1"


MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
