"""Slugs: the short names of stories and markets in addresses. A story or market that was given none gets a free one."""

import re
from collections.abc import Container, Mapping, Sequence
from typing import Final

from domain.market import OpenMarket
from domain.rejections import Code, Rejection, invalid, reject

SLUG_MAX: Final = 100
"""The most characters of a slug."""

_NUMBERS: Final = re.compile(r"(?:-[0-9]+)+$")


def free_slug(base: str, taken: Container[str]) -> str:
    """Return `base` if it is free, else `base-2`, `base-3`, ...: one that is free, with at most 100 characters.

    The search doubles its steps, so that the thousandth story of one title takes 20 questions and not a thousand.
    """
    if base not in taken:
        return base
    low, high = 1, 2  # `low` is taken, 1 stands for the base itself
    while _numbered(base, high) in taken:
        low, high = high, 2 * high
    while high - low > 1:  # `high` is free
        middle = (low + high) // 2
        if _numbered(base, middle) in taken:
            low = middle
        else:
            high = middle
    return _numbered(base, high)


def _numbered(base: str, number: int) -> str:
    suffix = f"-{number}"
    return base[: SLUG_MAX - len(suffix)].rstrip("-") + suffix


def slug_root(slug: str) -> str:
    """Return the slug without the numbers at its end that may have made it a free one: `election` for `election-2`."""
    return _NUMBERS.sub("", slug)


def market_slugs(openings: Sequence[OpenMarket], taken: Mapping[str, str]) -> list[str] | Rejection:
    """Return the slug of each new market of one command, or why one that was given is refused.

    `taken` has the id of each market so far by its slug. Given slugs go first, so a derived one never takes one of them.
    """
    given = [opening.slug for opening in openings if opening.slug is not None]
    for slug in given:
        if slug in taken:
            return reject(Code.MARKET_EXISTS, "another market has this slug", slug=slug, market=taken[slug])
    own = set(given)
    if len(own) != len(given):
        return invalid("markets", "must have different slugs")
    slugs = []
    for opening in openings:
        if opening.slug is None:
            assert opening.derived_slug, "whoever sends no slug derives one"
            own.add(slug := free_slug(opening.derived_slug, _Either(taken, own)))
        else:
            slug = opening.slug
        slugs.append(slug)
    return slugs


class _Either:
    """What is in one of two containers."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: Container[str], second: Container[str]) -> None:
        self._first, self._second = first, second

    def __contains__(self, item: object) -> bool:
        return item in self._first or item in self._second
