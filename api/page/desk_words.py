"""What is wrong with a form of the desk, in words, beside the field that it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from api.page.languages import translate as _

if TYPE_CHECKING:
    from api.http.errors import ApiError

FORM_NAMES: Final = {
    "fee_rate": "fee",
    "initial_prices": "prices",
    "dispute_seconds": "hours",
    "payouts": "winner",
    "roles": "role",
}
"""The fields of the forms that have another name in the API."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a form was not accepted. `field` is one of the form's, "0.close_time" of its first market, "" for all of it."""

    field: str
    text: str


def fault_of(error: ApiError, within: str = "") -> Fault:
    """Return an error of the API as a fault of a form; `within` says of which part of the page, as in "0" or "invite"."""
    name, words = _codes().get(error.code, (str(error.details.get("field", "")), None))
    if found := re.fullmatch(r"markets\.(\d+)\.(.+)", name):
        within, name = found.groups()
    first = name.partition(".")[0]
    first = FORM_NAMES.get(first, first)
    words = words or _fields().get(first)
    if words is None:
        return Fault("", error.message)
    return Fault(f"{within}.{first}" if within and first else first, words)


def _codes() -> dict[str, tuple[str, str | None]]:
    """Return the fields of refusals that name none, and their words where these are not those of the field."""
    return {
        "CLOSE_TIME_PASSED": ("close_time", None),
        "MARKET_STATUS": ("", _("Meanwhile the market is in another state. What can be done now stands below.")),
        "ACCOUNT_EXISTS": ("name", _("Somebody has this name already, or one that looks like it.")),
        "ACCOUNT_NOT_FOUND": ("account", _("There is no account of this name.")),
    }


def _fields() -> dict[str, str]:
    """Return what each field must be, by the names of the forms' fields."""
    return {
        "title": _("Write a title, of at most 300 characters."),
        "body": _("Write the text of the story."),
        "category": _("Name a category, of at most 64 characters."),
        "published_at": _("Say when the story was published."),
        "source_url": _("An address begins with http:// or https://."),
        "evidence_url": _("An address begins with http:// or https://."),
        "question": _("Ask a question, of at most 500 characters."),
        "outcomes": _("Name 2 to 64 outcomes, one a line, all different."),
        "prices": _("Give one number for each outcome, one a line, from 0.1 to 99.9. Together they must be 100."),
        "subsidy": _("Type a number of credits, from 1 to 1000000000."),
        "fee": _("Type a percentage from 0 to 100."),
        "close_time": _("Say when trading ends: a time in the future."),
        "hours": _("Type a whole number of hours, from 0 to 8760."),
        "resolution_source": _("Say who or what decides the result."),
        "winner": _("Choose what came true, or type what each outcome pays. Together they must pay 100 percent."),
        "evidence": _("Say what shows it."),
        "reason": _("Give a reason."),
        "amount": _("Type a number of credits above zero."),
        "credits": _("Type a number of credits."),
        "uses": _("Type a whole number from 1 to 1000000."),
        "days": _("Type a whole number of days, from 1 to 3650."),
        "name": _("Type a name, of at most 100 characters."),
        "account": _("Name the account."),
    }
