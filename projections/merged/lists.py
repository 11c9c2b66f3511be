"""Lists of several partitions as one: merged by time, then partition, then position, and continued from a key in each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any, Generic, TypeVar

from psycopg import Connection

from domain.money import Time
from projections.merged.cut import ExchangeCut
from projections.reading import AsOf

Row = TypeVar("Row")

Keys = Mapping[int, tuple[Any, ...]]
"""The place in a list: the key of the last row that was shown of each partition; one that is missing has shown none."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows with their partitions, and the place after them; None on the last page."""

    rows: Sequence[tuple[int, Row]]
    next: Keys | None


def in_order(found: Mapping[int, Sequence[Row]], key: Callable[[Row], Any], limit: int | None) -> list[Row]:
    """Return the first rows of several lists, each of them in the order of a key that is unique over all."""
    return list(islice(merge(*found.values(), key=key), limit))


def newest_first(
    cut: ExchangeCut,
    ask: Callable[[Connection[Any], AsOf, int, tuple[Any, ...] | None], Sequence[Row]],
    *,
    time_of: Callable[[Row], Time],
    key_of: Callable[[Row], tuple[Any, ...]],
    limit: int,
    after: Keys | None = None,
) -> Page[Row]:
    """Return a page of a list that each partition has newest first.

    `ask` returns the first rows of a partition, so many (its third argument) after a key or None. Rows of one time are by
    partition, the highest first, and those of one partition by position, as it has them.
    """
    keys = dict(after or {})
    found = cut.each(lambda connection, as_of, partition: ask(connection, as_of, limit + 1, keys.get(partition)))
    lists = [[(-time_of(row), -partition, row) for row in rows] for partition, rows in found.items()]
    merged = list(islice(merge(*lists, key=lambda item: item[:2]), limit + 1))
    rows = [(-partition, row) for _, partition, row in merged[:limit]]
    for partition, row in rows:
        keys[partition] = key_of(row)
    return Page(rows, keys if len(merged) > limit else None)
