"""What is wrong with a form of the desk, in words, beside the field that it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from api.page.problem_words import field_words, problem_words

if TYPE_CHECKING:
    from api.http.errors import ApiError

FORM_NAMES: Final = {
    "fee_rate": "fee",
    "initial_prices": "prices",
    "dispute_seconds": "hours",
    "payouts": "winner",
    "roles": "role",
    "evidence.url": "evidence_url",
}
"""The fields of the forms that have another name in the API."""

FIELDS_OF_WORDS: Final = {"INVALID_PAYOUTS": "winner", "UNKNOWN_OUTCOME": "winner"}
"""The fields of refusals that name none, where the words are those of the field."""

FIELDS_OF_CODES: Final = {
    **FIELDS_OF_WORDS,
    "CLOSE_TIME_PASSED": "close_time",
    "ACCOUNT_EXISTS": "name",
    "ACCOUNT_NOT_FOUND": "account",
}
"""The fields of all refusals that name none."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a form was not accepted. `field` is one of the form's, "0.close_time" of its first market, "" for all of it."""

    field: str
    text: str


def fault_of(error: ApiError, within: str = "") -> Fault:
    """Return an error of the API as a fault of a form; `within` says of which part of the page, as in "0" or "invite"."""
    name = FIELDS_OF_CODES.get(error.code) or str(error.details.get("field", ""))
    if found := re.fullmatch(r"markets\.(\d+)\.(.+)", name):
        within, name = found.groups()
    first = FORM_NAMES.get(name) or name.partition(".")[0]
    first = FORM_NAMES.get(first, first)
    words = field_words(first) if error.code in {"INVALID_FIELD", *FIELDS_OF_WORDS} else None
    if words is None and error.code not in FIELDS_OF_CODES:
        return Fault("", problem_words(error.code, error.details))
    return Fault(f"{within}.{first}" if within else first, words or problem_words(error.code, error.details))
