"""Names of accounts and outcomes: which ones look alike, which ones are refused; and slugs derived from a text.

Nothing here is asked by a replay: the key of a name and a derived slug come in with the command and stand in the event.
Names in ASCII, nearly all, need no table.
"""

import re
import unicodedata
from functools import cache
from typing import Any, Final

from slugify import slugify

from domain.slugs import SLUG_MAX

_ID: Final = re.compile(r"(st|mk|ac|or)[0-9]*_[0-9a-f]{26}")


def is_id(text: str) -> bool:
    """Return whether a text has the form of a server-assigned id (see `messages.ids.new_id`)."""
    return _ID.fullmatch(text) is not None


def nfc(text: str) -> str:
    """Return the text in NFC: the composed form, in which every text is stored and compared."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


# --- names that look alike


def name_key(name: str) -> str:
    """Return the form by which names are compared: two names with the same key are too much alike to be two.

    Names have the same key if they are equal under NFKC and case folding, if they differ by blanks or by characters that
    choose a variant of a glyph, or if one is written in letters of another script that look the same (UTS 39), in upper
    or lower case: the Latin TACC and the Cyrillic one.
    """
    if name.isascii():
        return " ".join(name.lower().split())
    folded = _folded("".join(char for char in name if not _chooses_variant(char)).replace(_BRAILLE_BLANK, " "))
    return " ".join(_folded("".join(map(_lookalike, folded))).split())


def is_mixed(name: str) -> bool:
    """Return whether a name mixes letters of several scripts that look alike, such as a Cyrillic a among Latin letters.

    Chinese, Japanese and Korean mix scripts by their nature, Latin included. Other scripts beside Latin are mixed up only
    if one of their letters looks like a Latin one. Cyrillic and Greek look so much like Latin that each may be the intruder.
    """
    if name.isascii():
        return False
    text = _folded(name)
    confusables, categories = _tables()
    scripts = categories.unique_aliases(text) - _NO_SCRIPT
    if len(scripts) < 2 or any(scripts <= together for together in _TOGETHER):
        return False
    letters = "".join(char for form in (text, text.upper()) for char in form if categories.alias(char) in scripts)
    like = {"LATIN"} if "LATIN" in scripts and not scripts & _LIKE_LATIN else scripts
    return any(confusables.is_confusable(letters, preferred_aliases=[script]) for script in like)


_BRAILLE_BLANK: Final = "\u2800"
"""A pattern without dots: it is shown as a blank, which Unicode does not call it."""

_NO_SCRIPT: Final = frozenset({"COMMON", "INHERITED", "Unknown"})
"""What characters have that every script uses: digits, punctuation, accents, emoji."""

_LIKE_LATIN: Final = frozenset({"CYRILLIC", "GREEK"})

_TOGETHER: Final = (
    frozenset({"LATIN", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "HAN", "BOPOMOFO"}),
    frozenset({"LATIN", "HAN", "HANGUL"}),
)
"""The scripts that one name may mix, by UTS 39, "highly restrictive"."""


@cache
def _tables() -> tuple[Any, Any]:
    """Return the library's modules `confusables` and `categories`."""
    from confusable_homoglyphs import categories, confusables  # noqa: PLC0415

    return confusables, categories


def _folded(text: str) -> str:
    """Return the text under NFKC and case folding; folding again changes nothing."""
    normalize = unicodedata.normalize
    return normalize("NFKC", normalize("NFKC", normalize("NFD", text).casefold()).casefold())


def _chooses_variant(char: str) -> bool:
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


@cache
def _lookalike(char: str) -> str:
    """Return the letter of another script that a folded letter looks like, itself if there is none.

    A plain Latin letter comes first: a small Cyrillic en looks like no Latin letter, but its capital looks like H.
    """
    small = _prototype(char)
    if small.isascii():
        return small
    capital = char.upper()
    large = _prototype(capital) if len(capital) == 1 else capital
    return large.lower() if large.isascii() else small


def _prototype(char: str) -> str:
    """Return the one character that stands for all that look like this one, if it is of another script; else this one."""
    confusables, categories = _tables()
    script = categories.alias(char)
    alike = confusables.confusables_data.get(char, ())
    if script in _NO_SCRIPT or len(alike) != 1:  # the prototype itself has a list of all that look like it
        return char
    found: str = alike[0]["c"]
    if len(found) != 1 or categories.alias(found) == script:
        return char
    is_pair = len(confusables.confusables_data.get(found, ())) == 1
    return min(char, found) if is_pair else found


# --- slugs


def derived_slug(text: str, kind: str, new_id: str) -> str:
    """Return a readable slug made from a text in any script: "Что будет?" becomes `chto-budet`.

    Where the text leaves nothing, as an emoji does, the slug is the kind of thing and a part of its id.
    """
    # Room for the number that makes it a free one.
    found = slugify(text[:_SLUG_TEXT_MAX], max_length=SLUG_MAX - 10, word_boundary=True)
    return found or f"{kind}-{new_id[-8:]}"


_SLUG_TEXT_MAX: Final = 300
