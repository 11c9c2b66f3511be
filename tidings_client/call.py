"""Calls, described once: each method of `calls.Calls` builds a `Call`, which `Client` sends and `AsyncClient` awaits.

    @call       a method that builds a call; on a client it takes the same arguments and returns the call's answer
    @paged      a method that builds the call for the first page of a list; on a client it returns all rows, page by page

Amounts and prices are given as `Decimal` or text, times as `datetime` with a time zone or as text.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload
from urllib.parse import quote

import msgspec

from tidings_client.pages import AsyncPages, Page, Pages

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")
P = ParamSpec("P")

Amount = Decimal | str
"""Credits, shares or a price, exact; never a float, which cannot hold most of them."""

When = datetime | str
"""A time: a `datetime` with a time zone, or text in RFC 3339; `as_of` also takes a date and epoch seconds as text."""


def new_id() -> str:
    """Return an id that nobody else has: 32 random hexadecimal digits."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, whose answer is a T. It may be sent any number of times: a write has the id that makes it one write.

    `statuses` are those of a whole answer. `waits` says that this is a read of the read models, which can wait for a position.
    `writes` says that the answer's position is that of a write.
    """

    method: str
    path: str
    answer: Any
    statuses: frozenset[int] = frozenset({200, 201})
    query: Mapping[str, str | list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    waits: bool = False
    writes: bool = False


def request(
    method: str,
    template: str,
    answer: Any,
    *parts: str,
    statuses: Sequence[int] = (200, 201),
    query: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    at: When | None = None,
    waits: bool = False,
    writes: bool = False,
) -> Call[Any]:
    """Return a call. Values that are None are left out; raises TypeError for a float, ValueError for a time without zone."""
    headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
    if at is not None:
        headers["tidings-time"] = _text(at)
    if body is not None:
        headers["content-type"] = "application/json"
    return Call(
        method,
        template.format(*(quote(part, safe="") for part in parts)),
        answer,
        frozenset(statuses),
        {name: _values(value) for name, value in (query or {}).items() if value is not None},
        headers,
        None if body is None else msgspec.json.encode(_given(plain(body))),
        waits,
        writes,
    )


def _values(value: Any) -> str | list[str]:
    """Return a value of a query as text; a list stands there once for each item."""
    return [_text(item) for item in value] if isinstance(value, list | tuple) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(plain(value))


def plain(value: Any) -> Any:
    """Return an answer, or a part of it, in JSON's types and in the form that the exchange sends: amounts and times as text.

    Raises TypeError for a float, ValueError for a time without zone.
    """
    match value:
        case float():
            raise TypeError(f"{value} is a float; give amounts and prices as Decimal or text")
        case Decimal():
            return f"{value:f}"
        case datetime():
            if value.tzinfo is None:
                raise ValueError(f"{value} has no time zone")
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case msgspec.Struct():
            return plain(msgspec.structs.asdict(value))
        case Mapping():
            return {name: plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def _given(value: Any) -> Any:
    """Return JSON's types without the fields that are None."""
    match value:
        case dict():
            return {name: _given(item) for name, item in value.items() if item is not None}
        case list():
            return [_given(item) for item in value]
        case _:
            return value


class BlockingClient:
    """A client whose calls return their answers."""

    def send(self, call: Call[T]) -> T:
        """Send a call until it has an answer, and return it."""
        raise NotImplementedError


class AwaitingClient:
    """A client whose calls are awaited."""

    async def send(self, call: Call[T]) -> T:
        """Send a call until it has an answer, and return it."""
        raise NotImplementedError


class call(Generic[P, T]):  # noqa: N801  a decorator
    """A method that builds a call; a client's method of the same name sends it."""

    def __init__(self, build: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: BlockingClient, owner: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AwaitingClient, owner: Any = None) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, client: None, owner: Any = None) -> Self: ...
    def __get__(self, client: Any, owner: Any = None) -> Any:
        """Return the method of a client."""
        if client is None:
            return self

        def sent(*arguments: P.args, **named: P.kwargs) -> Any:
            return client.send(self.build(client, *arguments, **named))

        return update_wrapper(sent, self.build)


class paged(Generic[P, T]):  # noqa: N801  a decorator
    """A method that builds the call for a list's first page; a client's method of the same name returns all rows."""

    def __init__(self, build: Callable[Concatenate[Any, P], Call[Page[T]]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: BlockingClient, owner: Any = None) -> Callable[P, Pages[T]]: ...
    @overload
    def __get__(self, client: AwaitingClient, owner: Any = None) -> Callable[P, AsyncPages[T]]: ...
    @overload
    def __get__(self, client: None, owner: Any = None) -> Self: ...
    def __get__(self, client: Any, owner: Any = None) -> Any:
        """Return the method of a client."""
        if client is None:
            return self
        pages: Any = Pages if isinstance(client, BlockingClient) else AsyncPages

        def listed(*arguments: P.args, **named: P.kwargs) -> Any:
            first = self.build(client, *arguments, **named)
            return pages(lambda cursor: client.send(first if cursor is None else _page(first, cursor)))

        return update_wrapper(listed, self.build)


def _page(first: Call[T], cursor: str) -> Call[T]:
    """Return the call for the page that a cursor names."""
    return replace(first, query={**first.query, "cursor": cursor})
