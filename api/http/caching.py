"""Caching that follows from the log: an answer is a function of its query, of who asks, and of a position.

An answer of then never changes. An answer of now is good until one of its read models moves on. So every read has an ETag of
query and position, the answers that were asked for last are kept, and equal requests at one time are computed once. `Caching`
also answers HEAD, and compresses.

    AnswerMark  what a read says of its answer: the read models, the position, whether it can ever change
    Answers     the answers that are kept, and those that are being computed
    Caching     the middleware
"""

from __future__ import annotations

import asyncio
import gzip
import re
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from api.http.request_log import RequestLog  # noqa: TC001  an annotation of a local

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from api.http.admission import Caller
    from api.http.waits import Waits

BYTES_MAX: Final = 32 * 1024 * 1024
"""The most bytes of all answers that are kept."""

ANSWER_BYTES_MAX: Final = 2 * 1024 * 1024
"""The largest answer that is kept."""

SECONDS_MAX: Final = 60.0
"""The longest time that an answer is kept. A repair of a read model may change what it says about a position."""

WAIT_SECONDS: Final = 0.5
"""The longest wait for an answer that another request computes. A slower one is computed by each."""

COMPRESSED_FROM: Final = 1024
"""The smallest answer in bytes that is compressed."""

IN_THREAD_FROM: Final = 64 * 1024
"""The smallest answer in bytes that is compressed in a thread."""

SHARED: Final = re.compile(
    r"/v1/(stories(/[^/]+)?|markets(/[^/]+(/(prices-history|candlesticks|book|holders))?)?|prices-history|candlesticks|books"
    r"|leaderboard|calibration|accounts/[^/]+/positions)"
)
"""The paths whose answers are the same for everybody who may read them. All others are kept for one key only."""

UNKEPT: Final = re.compile(r"/v1/(me|keys|events|status|stream|ws)")
"""The paths whose answers depend on more than read models: on keys, or on the log itself."""

_WAITING: Final = re.compile(rb"(^|&)(min_position|as_of|as_of_position|cursor)=")
"""Queries that may wait for a read model: nobody else waits with them, as their number is bounded."""

_GZIP: Final = re.compile(r"\b(gzip|\*)(?!\s*;\s*q=0(\.0*)?\s*(,|$))")
_NO_STORE: Final = (b"cache-control", b"no-store")
_VERSION: Final = version("tidings")
_VARY: Final = (b"vary", b"Authorization, Cookie, Accept-Encoding")

Key = tuple[str, bytes, str]
"""The path, the query string, and who may see the answer: a key, nobody (`-`), or everybody ("")."""


@dataclass(frozen=True, slots=True)
class AnswerMark:
    """What an answer stands for. `is_final` says that it never changes, whatever comes later; `log` names the log."""

    needs: frozenset[str]
    position: int
    log: str
    is_final: bool


class NotModified(Exception):  # noqa: N818  no error
    """Ends a read whose client has the answer already."""

    def __init__(self, mark: AnswerMark, tag: str) -> None:
        super().__init__("the client has this answer")
        self.mark = mark
        self.tag = tag


@dataclass(slots=True)
class KeptAnswer:
    """An answer: its mark and tag, its headers without those of caching, its body, compressed once it has been asked for."""

    mark: AnswerMark
    tag: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    route: Any
    until: float
    compressed: bytes | None = None

    @property
    def size(self) -> int:
        """The bytes that it counts for."""
        return len(self.body) + len(self.compressed or b"") + 1_000


class Answers:
    """The answers of one server that are kept, bounded by their bytes, and those that are being computed."""

    def __init__(self, bytes_max: int = BYTES_MAX, seconds_max: float = SECONDS_MAX) -> None:
        self._bytes_max = bytes_max
        self.seconds_max = seconds_max
        self._kept: OrderedDict[Key, KeptAnswer] = OrderedDict()
        self._bytes = 0
        self.computing: dict[Key, asyncio.Future[None]] = {}
        self.log: str | None = None

    def get(self, key: Key) -> KeptAnswer | None:
        """Return an answer that is not too old, however far the read models are now."""
        kept = self._kept.get(key)
        if kept is not None and kept.until < monotonic():
            self.drop(key)
            return None
        return kept

    def put(self, key: Key, kept: KeptAnswer) -> None:
        """Keep an answer; those that were made the longest time ago give way."""
        self.drop(key)
        if kept.size > ANSWER_BYTES_MAX:
            return
        self._kept[key] = kept
        self._bytes += kept.size
        while self._bytes > self._bytes_max:
            self.drop(next(iter(self._kept)))

    def drop(self, key: Key) -> None:
        """Forget an answer."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size

    def compress(self, key: Key, kept: KeptAnswer, compressed: bytes) -> None:
        """Keep the compressed form of an answer, too."""
        is_kept = self._kept.get(key) is kept
        self.drop(key)
        kept.compressed = compressed
        if is_kept:
            self.put(key, kept)


def audience_of(scope: Scope, *, public_reads: bool) -> str | None:
    """Return who may see the answer to a request: see `Key`. None where the routes have to decide, or nothing is kept."""
    path: str = scope["path"]
    caller: Caller = scope["tidings.caller"]
    found = caller.found
    if isinstance(found, Exception) or UNKEPT.match(path) or b"%2f" in scope.get("raw_path", b"").lower():
        return None  # the path of an account `a/positions` reads like that of the positions of `a`
    if SHARED.fullmatch(path):
        return "" if public_reads or found is not None else None
    if not path.startswith("/v1/"):  # a page; that of somebody who may order has an id for the next order
        return None if found is not None else f"-{scope.get('tidings.language', '')}"
    return "-" if found is None else found.key_id


def tag_of(key: Key, mark: AnswerMark) -> str:
    """Return the ETag, without quotes, of the answer to a query as of a position."""
    path, query, audience = key
    text = "\n".join([mark.log, _VERSION, path, query.decode("latin-1"), audience])
    return f"{mark.position}-{blake2b(text.encode(), digest_size=9).hexdigest()}"


def known_tag(header: str, tag: str) -> str | None:
    """Return the tag of the answer that a client has by its header `If-None-Match`; None where it does not have this one.

    It is that of the compressed answer where the client has that: a cache looks for what it keeps by the tag of a 304.
    """
    named = [each.strip().removeprefix("W/").strip('"') for each in header.split(",")]
    compressed = f"{tag}-gz"
    return compressed if compressed in named else tag if tag in named or "*" in named else None


def header_of(scope: Scope, name: bytes) -> str:
    """Return a header of a request; an empty text where there is none."""
    return ", ".join(value.decode("latin-1") for found, value in scope["headers"] if found == name)


def caching_headers(key: Key, mark: AnswerMark, tag: str, *, public_reads: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers of caching of an answer."""
    scope = b"public" if key[2] == "" and public_reads else b"private"
    control = b"max-age=31536000, immutable" if mark.is_final else b"no-cache"
    return [(b"etag", f'"{tag}"'.encode()), (b"cache-control", scope + b", " + control), _VARY]


def wants_gzip(scope: Scope, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
    """Return whether an answer is to be compressed for its client."""
    if len(body) < COMPRESSED_FROM or any(name == b"content-encoding" for name, _ in headers):
        return False
    wanted = header_of(scope, b"accept-encoding").lower()
    return _GZIP.search(wanted) is not None


Shown = tuple[int, list[tuple[bytes, bytes]], bytes]
"""An answer as it is shown: its status, its headers without its length, and its body."""


def shown(scope: Scope, key: Key, kept: KeptAnswer, *, public_reads: bool) -> Shown | None:
    """Return what a request is shown of an answer that is kept, a 304 where the client has it.

    None where the client wants it compressed, and it has not been compressed yet.
    """
    named = header_of(scope, b"if-none-match")
    if named and (known := known_tag(named, kept.tag)) is not None:
        return 304, caching_headers(key, kept.mark, known, public_reads=public_reads), b""
    own = _without_length(kept.headers)
    if not wants_gzip(scope, kept.headers, kept.body):
        return 200, [*own, *caching_headers(key, kept.mark, kept.tag, public_reads=public_reads)], kept.body
    if kept.compressed is None:
        return None
    more = caching_headers(key, kept.mark, f"{kept.tag}-gz", public_reads=public_reads)
    return 200, [*own, (b"content-encoding", b"gzip"), *more], kept.compressed


class Caching:
    """ASGI middleware between `RequestFrame` and the routes (see the module's docstring)."""

    def __init__(self, app: ASGIApp, answers: Answers, waits: Waits, *, public_reads: bool) -> None:
        self.app = app
        self._answers = answers
        self._waits = waits
        self._public = public_reads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            await self.app(scope, receive, send)
            return
        audience = audience_of(scope, public_reads=self._public)
        if audience is None:
            await _Answering(self, scope, send, None).run(receive)
            return
        key: Key = (scope["path"], scope["query_string"], audience)
        scope["tidings.key"] = key
        exchange = _Answering(self, scope, send, key)
        may_wait = not _WAITING.search(key[1])
        if (kept := await self._current(key, may_wait=may_wait)) is not None:
            await exchange.show(kept)
            return
        if not may_wait or key in self._answers.computing:
            await exchange.run(receive)
            return
        future = self._answers.computing[key] = asyncio.get_running_loop().create_future()
        try:
            await exchange.run(receive, future)
        finally:
            del self._answers.computing[key]
            if not future.done():
                future.set_result(None)

    async def _current(self, key: Key, *, may_wait: bool) -> KeptAnswer | None:
        """Return an answer that is as new as the read models were when it was asked for.

        One that is on its way is waited for, but only twice: whoever computes it may fail.
        """
        asked = None
        for wait in (True, True, False):
            kept = self._answers.get(key)
            if kept is not None:
                if asked is None:
                    asked = self._waits.position(kept.mark.needs)
                if kept.mark.is_final or kept.mark.position >= asked:
                    return kept
            computing = self._answers.computing.get(key)
            if computing is None or not wait or not may_wait:
                return None
            await asyncio.wait({computing}, timeout=WAIT_SECONDS)
        return None

    def keep(
        self, key: Key, mark: AnswerMark, headers: list[tuple[bytes, bytes]], body: bytes, route: Any
    ) -> KeptAnswer:
        """Keep an answer, and return it."""
        self._answers.log = mark.log
        kept = KeptAnswer(mark, tag_of(key, mark), headers, body, route, monotonic() + self._answers.seconds_max)
        self._answers.put(key, kept)
        return kept

    def headers(self, key: Key, mark: AnswerMark, tag: str) -> list[tuple[bytes, bytes]]:
        """Return the headers of caching of an answer."""
        return caching_headers(key, mark, tag, public_reads=self._public)

    async def shown(self, scope: Scope, key: Key, kept: KeptAnswer) -> Shown:
        """Return what a request is shown of an answer; compress it first where that is wanted."""
        found = shown(scope, key, kept, public_reads=self._public)
        if found is None:
            self._answers.compress(key, kept, await compress(kept.body))
            found = shown(scope, key, kept, public_reads=self._public)
        assert found is not None, "it is compressed"
        return found


async def compress(body: bytes) -> bytes:
    """Return the body compressed by gzip; the same for the same body."""
    if len(body) < IN_THREAD_FROM:
        return gzip.compress(body, 5, mtime=0)
    return await run_in_threadpool(gzip.compress, body, 5, mtime=0)


class _Answering:
    """One request and its answer."""

    def __init__(self, caching: Caching, scope: Scope, send: Send, key: Key | None) -> None:
        self._caching = caching
        self._scope = scope
        self._send = send
        self._key = key
        self._is_head = scope["method"] == "HEAD"
        self._start: Message | None = None
        self._body: bytes | None = None
        self._future: asyncio.Future[None] | None = None

    async def run(self, receive: Receive, future: asyncio.Future[None] | None = None) -> None:
        """Let the routes answer; an answer that comes in parts goes on at once, and the future ends with its first part."""
        self._future = future
        self._scope["method"] = "GET"
        try:
            await self._caching.app(self._scope, receive, self._take)
        except NotModified as known:
            assert self._key is not None, "only reads with a key have a tag"
            self._restore()
            await self._answer(304, self._caching.headers(self._key, known.mark, known.tag), b"")
            return
        finally:
            self._restore()
        if self._start is None or self._body is None:
            return
        mark: AnswerMark | None = self._scope.get("tidings.mark")
        is_kept = mark is not None and self._start["status"] == 200 and _NO_STORE not in self._start["headers"]
        if self._key is not None and mark is not None and is_kept:
            route = self._scope.get("route")
            await self.show(self._caching.keep(self._key, mark, list(self._start["headers"]), self._body, route))
            return
        headers, body = list(self._start["headers"]), self._body
        if self._start["status"] == 200 and wants_gzip(self._scope, headers, body):
            body = await compress(body)
            headers = [*_without_length(headers), (b"content-encoding", b"gzip"), _VARY]
        await self._answer(self._start["status"], headers, body)

    async def show(self, kept: KeptAnswer) -> None:
        """Answer with what is kept, or that the client has it."""
        assert self._key is not None, "what is kept has a key"
        request_log: RequestLog = self._scope["tidings.request_log"]
        request_log.position = kept.mark.position
        if "route" not in self._scope:
            self._scope["route"] = kept.route
        await self._answer(*await self._caching.shown(self._scope, self._key, kept))

    async def _take(self, message: Message) -> None:
        """Hold the answer back until it is whole, unless it comes in parts."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None and self._body is None and not message.get("more_body"):
            self._body = message.get("body", b"")
            return
        if self._start is not None:
            self._restore()
            start, self._start = self._start, None
            if self._future is not None and not self._future.done():
                self._future.set_result(None)
            await self._send(start)
        await self._send(message)

    async def _answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        length = [] if status == 304 else [(b"content-length", str(len(body)).encode())]
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*_without_length(headers), *length]}
        )
        await self._send({"type": "http.response.body", "body": b"" if self._is_head else body})

    def _restore(self) -> None:
        if self._is_head:
            self._scope["method"] = "HEAD"


def _without_length(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name != b"content-length"]
