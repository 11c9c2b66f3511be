"""Lists: all rows of all pages, fetched as they are needed.

Every page answers as of the position of the first one, so that no row is lost or doubled while the log grows.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  msgspec reads the annotations
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

T = TypeVar("T")


class Moment(msgspec.Struct, frozen=True):
    """The position of the log that an answer stands for, and the time of that event; None while the log is empty."""

    position: int
    time: datetime | None = None


class Reading(msgspec.Struct, Generic[T], frozen=True):
    """The answer to a read. `next_cursor` is that of the next page, where the object holds one page of a list."""

    data: T
    as_of: Moment | None = None
    next_cursor: str | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, as of one position; `next_cursor` is None on the last one."""

    data: list[T]
    as_of: Moment
    next_cursor: str | None = None


class Pages(Generic[T]):
    """All rows of a list. Each iteration begins at the first page, and fetches the next ones when it gets there."""

    def __init__(self, fetch: Callable[[str | None], Page[T]]) -> None:
        self._fetch = fetch

    def __iter__(self) -> Iterator[T]:
        """Yield every row."""
        for page in self.pages():
            yield from page.data

    def pages(self) -> Iterator[Page[T]]:
        """Yield page by page."""
        cursor: str | None = None
        while True:
            page = self._fetch(cursor)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    def first(self) -> Page[T]:
        """Return the first page alone."""
        return self._fetch(None)

    def to_polars(self) -> Any:
        """Return all rows as a `polars.DataFrame`. Raises ImportError where polars is not installed."""
        return _polars(list(self))

    def to_pandas(self) -> Any:
        """Return all rows as a `pandas.DataFrame`. Raises ImportError where pandas is not installed."""
        return _pandas(list(self))


class AsyncPages(Generic[T]):
    """All rows of a list, for `async for`. Each iteration begins at the first page."""

    def __init__(self, fetch: Callable[[str | None], Awaitable[Page[T]]]) -> None:
        self._fetch = fetch

    async def __aiter__(self) -> AsyncIterator[T]:
        """Yield every row."""
        async for page in self.pages():
            for row in page.data:
                yield row

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Yield page by page."""
        cursor: str | None = None
        while True:
            page = await self._fetch(cursor)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    async def first(self) -> Page[T]:
        """Return the first page alone."""
        return await self._fetch(None)

    async def to_polars(self) -> Any:
        """Return all rows as a `polars.DataFrame`. Raises ImportError where polars is not installed."""
        return _polars([row async for row in self])

    async def to_pandas(self) -> Any:
        """Return all rows as a `pandas.DataFrame`. Raises ImportError where pandas is not installed."""
        return _pandas([row async for row in self])


def _polars(rows: Sequence[Any]) -> Any:
    return import_module("polars").DataFrame(_records(rows), infer_schema_length=None)


def _pandas(rows: Sequence[Any]) -> Any:
    return import_module("pandas").DataFrame(_records(rows))


def _records(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [msgspec.structs.asdict(row) for row in rows]
