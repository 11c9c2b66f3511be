"""The steps of every read: wait for the requested position, query one snapshot, put the answer into one envelope."""

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Query
from psycopg import Connection
from starlette.requests import Request
from starlette.responses import Response

from api.http import cursors
from api.http.auth import Principal, require
from api.http.caching import AnswerMark, NotModified, header_of, known_tag, tag_of
from api.http.context import Context, context_of, reader_of
from api.http.cursors import POSITION_MAX
from api.http.errors import ApiError, invalid_field, not_yet_projected
from api.http.labels import NEEDS as LABEL_NEEDS
from api.http.labels import Labels
from api.http.request_log import request_log_of
from domain.money import Time
from messages.moments import FORMS, parse_moment
from messages.wire import format_time
from projections.reading import AsOf, Need, NotYetProjected, UnknownProjection, needs_of, read

T = TypeVar("T")
Rows = TypeVar("Rows", bound=Sequence[Any])


@dataclass(slots=True)
class Reader:
    """One read request: who reads, and as of when. A cursor sets `at` to the position of its first page."""

    request: Request
    principal: Principal | None
    min_position: int | None
    wait_ms: int
    at: int | None
    time: Time | None

    @property
    def context(self) -> Context:
        """The context of the app."""
        return context_of(self.request)

    @property
    def sees_all(self) -> bool:
        """Whether this reader may see what is private to any account."""
        public = self.context.settings.accounts_public
        return public or (self.principal is not None and self.principal.sees_all)

    def sees(self, account_id: str) -> bool:
        """Return whether this reader may see what is private to the account."""
        return self.sees_all or (self.principal is not None and self.principal.may_see(account_id))

    def check_sees_all(self) -> None:
        """Raise ApiError UNAUTHENTICATED or FORBIDDEN unless this reader may see what is private to any account."""
        if not self.sees_all:
            require(self.principal, "analyst", "admin")

    async def private(self, reference: str) -> str:
        """Return the id of an account about whose private data this reader asks; an unknown reference as `resolve` does.

        Raises:
            ApiError: UNAUTHENTICATED without a key, FORBIDDEN unless this reader may see what is private to the account.
        """
        if not self.sees_all:
            require(self.principal, "trader", "reader", "analyst", "admin")
        account_id = await self.context.references.resolve("account", reference)
        if not self.sees(account_id):
            raise ApiError("FORBIDDEN", "this is private to another account", {"account": reference})
        return account_id

    async def fetch(self, needs: Sequence[Need], query: Callable[[Connection[Any], AsOf], T]) -> tuple[T, AsOf]:
        """Return the result of the query in one snapshot of these read models, and the position and time it stands for.

        Raises:
            ApiError: as `wait` does; READ_TIMEOUT, when it takes too long; UNAVAILABLE, when one of the read models has
                never been folded.
            ClientDisconnect: the client has gone meanwhile.
            NotModified: the client has the answer already.
        """
        await self.wait(needs)
        self._end_if_known(needs)
        scope = self.request.scope
        found, as_of = await self.context.reads.run(
            scope["tidings.receive"],
            lambda connection: self._fetch(connection, needs, query),
            costly_of=scope["tidings.caller"].subject if scope["tidings.kind"] == "costly_reads" else None,
        )
        request_log_of(self.request).position = as_of.position
        scope["tidings.mark"] = self._mark(needs, as_of.position, as_of.log)
        return found, as_of

    async def fetch_labelled(
        self, needs: Sequence[Need], query: Callable[[Connection[Any], AsOf], Rows]
    ) -> tuple[Rows, Labels, AsOf]:
        """Do what `fetch` does for a query for rows, and also return the labels of the ids in them."""
        known = self.context.labels

        def labelled(connection: Connection[Any], as_of: AsOf) -> tuple[Rows, Labels]:
            rows = query(connection, as_of)
            return rows, known.of(connection, as_of, rows)

        (rows, labels), as_of = await self.fetch((*needs, *LABEL_NEEDS), labelled)
        return rows, labels, as_of

    async def fetch_kept(
        self, needs: Sequence[Need], query: Callable[[Connection[Any], AsOf], Rows], *key: Hashable
    ) -> tuple[Rows, AsOf]:
        """Do what `fetch` does for an expensive query, which is not computed again for a position.

        `key` names the query and everything that its result depends on besides the position: never who asks, so whoever
        may not see it is refused before.
        """
        kept = self.context.kept_results
        return await self.fetch(needs, lambda c, a: kept.get((*key, a), lambda: query(c, a)))

    async def wait(self, needs: Sequence[Need]) -> None:
        """Wait until these read models have reached the requested position; return at once without one.

        The time counts from the arrival of the request.

        Raises:
            ApiError: NOT_YET_PROJECTED, when they do not reach it in time; TOO_MANY_WAITS.
            ClientDisconnect: the client has gone meanwhile.
        """
        position = max(self.min_position or 0, self.at or 0)
        if not position:
            return
        past = () if self.at is None else ("timeline",)  # which knows the time of that position
        deadline = request_log_of(self.request).arrived + self.wait_ms / 1000
        if not await self.context.waits.reached(
            self.request, "anonymous" if self.principal is None else "keys", (*needs, *past), position, deadline
        ):
            raise not_yet_projected(position, waited_ms=self.wait_ms)

    def _mark(self, needs: Sequence[Need], position: int, log: str) -> AnswerMark:
        """Return what the answer stands for. One as of a time is final once anything has happened after that time."""
        names = needs_of(needs)
        by_time = self.at is None and self.time is not None
        is_final = self.at is not None or (by_time and position < self.context.waits.position(names))
        return AnswerMark(names, position, log, is_final)

    def _end_if_known(self, needs: Sequence[Need]) -> None:
        """Raise NotModified without a query if the client names the tag that the answer would have."""
        scope, log = self.request.scope, self.context.answers.log
        key, tags = scope.get("tidings.key"), header_of(scope, b"if-none-match")
        if key is None or log is None or not tags or (self.at is None and self.time is not None):
            return
        mark = self._mark(needs, self.at if self.at is not None else self.context.waits.position(needs), log)
        known = None if "*" in tags else known_tag(tags, tag_of(key, mark))
        if known is not None:
            raise NotModified(mark, known)

    def _fetch(
        self, connection: Connection[Any], needs: Sequence[Need], query: Callable[[Connection[Any], AsOf], T]
    ) -> tuple[T, AsOf]:
        try:
            with read(connection, *needs, at=self.at, time=self.time, least=self.min_position or 0) as as_of:
                return query(connection, as_of), as_of
        except NotYetProjected as error:
            raise ApiError("NOT_YET_PROJECTED", str(error), retry_after_seconds=1) from error
        except UnknownProjection as error:
            raise ApiError("UNAVAILABLE", "the read models do not exist yet", retry_after_seconds=1) from error

    def page(self, rows: Sequence[Any], limit: int, serializer: Callable[[Any], Any], as_of: AsOf) -> Response:
        """Return the answer with the first `limit` rows. If there are more, it brings the cursor of the next page.

        So whoever calls this asks the read models for one row more than the limit.
        """
        shown = rows[:limit]
        key = shown[-1].key if len(rows) > limit else None
        return answer([serializer(row) for row in shown], as_of, next_cursor=self.cursor(key, as_of))

    def cursor(self, key: Sequence[int | str] | None, as_of: AsOf) -> str | None:
        """Return the cursor of the rows after the one with this sort key; None without a key, on the last page."""
        return None if key is None else cursors.encode(self.request, as_of.position, key)

    def after(self, cursor: str | None, *kinds: type[int | str]) -> tuple[Any, ...] | None:
        """Return the sort key of the last row of the previous page, or None for the first page.

        `kinds` are the types of the key's parts. The read answers as of the position of the first page from here on.

        Raises:
            ApiError: INVALID_CURSOR, when the cursor is damaged, of another query, or of another kind of key.
        """
        found = cursors.decode(self.request, cursor, *kinds)
        if found is None:
            return None
        position, key = found
        self.at, self.time = position, None
        return key


async def reader(
    request: Request,
    principal: Annotated[Any, Depends(reader_of)],
    min_position: Annotated[
        int | None, Query(ge=0, le=POSITION_MAX, description="wait until the read model has reached this position")
    ] = None,
    wait_ms: Annotated[
        int | None,
        Query(ge=0, description="the longest wait for min_position, in milliseconds from the request's arrival"),
    ] = None,
    as_of_position: Annotated[
        int | None, Query(ge=0, le=POSITION_MAX, description="answer as it was after this position")
    ] = None,
    as_of: Annotated[str | None, Query(description=f"answer as it was at this time: {FORMS}")] = None,
) -> Reader:
    """Return the request's reader, made from the parameters that every read has."""
    time = query_time("as_of", as_of)
    if time is not None and as_of_position is not None:
        raise invalid_field("as_of", "cannot be combined with as_of_position")
    settings = context_of(request).settings
    wait = settings.wait_ms if wait_ms is None else wait_ms
    if wait > settings.wait_ms_max:
        raise invalid_field("wait_ms", f"must be at most {settings.wait_ms_max}")
    return Reader(request, principal, min_position, wait, as_of_position, time)


Read = Annotated[Reader, Depends(reader)]
Limit = Annotated[int, Query(ge=1, le=1000)]
SearchText = Annotated[
    str | None,
    Query(
        min_length=1, max_length=200, description='words that are all wanted; also "a phrase", or, and - before a word'
    ),
]
Cursor = Annotated[
    str | None,
    Query(
        max_length=1000,
        description="next_cursor of the previous page, which this one continues as of the same position",
    ),
]


def query_time(name: str, text: str | None) -> Time | None:
    """Return the time in a query parameter, None without one. Every parameter that is a time is read here.

    Raises ApiError INVALID_FIELD, which names the parameter, the forms (see `messages.moments`) and the limits.
    """
    if text is None:
        return None
    try:
        # An unescaped plus sign arrives as a blank.
        return parse_moment(text.replace(" ", "+"))
    except ValueError as error:
        raise invalid_field(name, str(error)) from error


def several(name: str, text: str | None, known: Collection[str]) -> list[str]:
    """Return the values in a query parameter, with commas between them; none without one.

    Raises ApiError INVALID_FIELD, which names the parameter and what it may be.
    """
    values = [] if text is None else text.split(",")
    if not set(values) <= set(known):
        raise invalid_field(name, f"must be of {', '.join(known)}, with commas between them")
    return values


def references(name: str, text: str | None, most: int) -> list[str]:
    """Return the ids or slugs in a query parameter, with commas between them, each once; none without one.

    Raises ApiError INVALID_FIELD for more than `most`, and for an empty one.
    """
    values = [] if text is None else list(dict.fromkeys(text.split(",")))
    if len(values) > most or "" in values:
        raise invalid_field(name, f"must be at most {most} ids or slugs, with commas between them")
    return values


def answer(data: Any, as_of: AsOf, **more: Any) -> Response:
    """Return a read's answer: the data, the position and time that it stands for, and for lists the next cursor."""
    return json({"data": data, **more, "as_of": {"position": as_of.position, "time": format_time(as_of.time)}})


def json(value: Any, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
