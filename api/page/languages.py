"""The languages of the pages: which one a request wants, and its texts. English stands in the templates."""

from __future__ import annotations

import gettext
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from api.http.caching import header_of

if TYPE_CHECKING:
    from starlette.types import Scope

ENGLISH: Final = "en"
LANGUAGES: Final = (ENGLISH, "de")
"""The languages of the pages, by their codes."""

FOLDER: Final = Path(__file__).parent / "locale"

current: Final[ContextVar[str]] = ContextVar("language", default=ENGLISH)
"""The language of the page that is being made."""


def language_of(scope: Scope) -> str:
    """Return the language that a request's header `Accept-Language` likes best of ours; English without one."""
    best, best_quality = ENGLISH, 0.0
    for part in header_of(scope, b"accept-language").split(","):
        name, _, quality = part.strip().partition(";q=")
        code = name.partition("-")[0].lower()
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        if code in LANGUAGES and weight > best_quality:
            best, best_quality = code, weight
    return best


@cache
def _texts(language: str) -> gettext.NullTranslations:
    return gettext.translation("page", FOLDER, [language], fallback=language == ENGLISH)


def translate(text: str) -> str:
    """Return a text in the language of the page that is being made."""
    return _texts(current.get()).gettext(text)


def translate_number(one: str, many: str, number: int) -> str:
    """Return the form of a text for a number, in the language of the page that is being made."""
    return _texts(current.get()).ngettext(one, many, number)
