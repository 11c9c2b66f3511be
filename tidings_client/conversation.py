"""A call, sent until it has an answer: when it is sent again, when it is given up, and what its answer means.

`conversation` is a generator that knows no network: it yields what to do (send a request, or wait), and is told what came
of it. So `Client` and `AsyncClient` share all of it.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
import msgspec

from tidings_client.batches import merged, only, without_result
from tidings_client.errors import ApiError, TidingsError, UnavailableError, UnreachableError, error_of

if TYPE_CHECKING:
    from tidings_client.call import Call

T = TypeVar("T")

ANSWER_SECONDS: Final = 30.0
"""The longest silence of one attempt. A stream has a beat every 12 seconds."""

PAUSE_SECONDS_MIN: Final = 0.1
"""The pause before a call is sent for the second time; it doubles from then on."""

PAUSE_SECONDS_MAX: Final = 5.0
"""The longest pause, unless the exchange asks for a longer one."""

TRY_AGAIN: Final = frozenset({429, 502, 503, 504})
"""The statuses after which a call is sent again; 502 and 504 come from proxies."""

FINAL_CODES: Final = frozenset({"LOG_LOST", "READ_TIMEOUT"})
"""Codes that the same call would get again."""


@dataclass(slots=True)
class Session:
    """What the calls of one client have in common.

    `position` is that of its last write, by which its reads wait. `retry_seconds` is the time for which a call is sent again,
    None for ever. With `is_patient` off, a server that has never answered is given up at once.
    """

    url: httpx.URL
    key: str | None
    retry_seconds: float | None
    is_patient: bool
    position: int = 0
    has_answered: bool = False

    @classmethod
    def of(cls, url: str, key: str | None, retry_seconds: float | None, *, is_patient: bool) -> Session:
        """Return a session. Raises ValueError if the URL or the key cannot be one."""
        try:
            parsed = httpx.URL(url.rstrip("/"))
        except (httpx.InvalidURL, TypeError) as error:
            raise ValueError(f"{url} is not the URL of a server: {error}") from None
        if (
            parsed.scheme not in {"http", "https"}
            or not parsed.host
            or not _is_printable(url)
            or (parsed.port or 0) >= 2**16
        ):
            raise ValueError(f"{url} is not the URL of a server, expected one like http://127.0.0.1:8000")
        if key is not None and not _is_printable(key):
            raise ValueError("the key is empty or has characters that no key has")
        return cls(parsed, key, retry_seconds, is_patient)

    def request(self, call: Call[Any]) -> httpx.Request:
        """Return the HTTP request of a call. A read that names no moment waits for the last write of this client."""
        query = dict(call.query)
        if call.waits and self.position and not query.keys() & {"min_position", "as_of", "as_of_position", "cursor"}:
            query["min_position"] = str(self.position)
        headers = {"accept-encoding": "gzip", "user-agent": "tidings-client", **call.headers}
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        url = self.url.copy_with(raw_path=self.url.raw_path.rstrip(b"/") + call.path.encode())
        return httpx.Request(
            call.method,
            url.copy_merge_params(query) if query else url,
            headers=headers,
            content=call.content,
            extensions={"timeout": httpx.Timeout(ANSWER_SECONDS).as_dict()},
        )


class Retries:
    """The pauses between attempts, until a deadline."""

    def __init__(self, seconds: float | None) -> None:
        self._deadline = None if seconds is None else monotonic() + seconds
        self._pause = PAUSE_SECONDS_MIN

    def pause(self, at_least: float = 0.0) -> float | None:
        """Return the seconds until the next attempt, None if it would come after the deadline."""
        pause = max(self._pause * random.uniform(0.5, 1.0), at_least)  # noqa: S311  spreads the load, keeps no secret
        self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)
        if self._deadline is not None and monotonic() + pause > self._deadline:
            return None
        return pause


Steps = Generator[httpx.Request | float, httpx.Response | httpx.TransportError | None, T]
"""What to do next (send a request, or wait for seconds), told what came of it; returns a T."""


def conversation(session: Session, call: Call[T]) -> Steps[T]:
    """Yield the requests to send and the seconds to wait, and return the answer.

    An order of a batch that has no result is sent again, until the deadline; then it keeps the code that says so.

    Raises:
        UnreachableError: nobody answers, or somebody else does.
        ApiError: the answer is an error; 429 and 503 only at the deadline.
    """
    retries = Retries(session.retry_seconds)
    found: Any = yield from _attempts(session, retries, call)
    while (places := without_result(found)) and (pause := retries.pause()) is not None:
        yield pause
        try:
            later = yield from _attempts(session, retries, only(call, places))
        except (UnavailableError, UnreachableError):
            break
        found = merged(found, places, later)
    return found  # type: ignore[no-any-return]  # a T


def _attempts(session: Session, retries: Retries, call: Call[T]) -> Steps[T]:
    """Send one call until it has an answer."""
    request = session.request(call)
    while True:
        came = yield request
        assert came is not None, "a request was sent"
        if isinstance(came, httpx.TransportError):
            yield pause_after_loss(session, retries, came)
        elif came.status_code in call.statuses:
            return _answer(session, call, came)
        else:
            yield pause_after_error(session, retries, came)


def pause_after_loss(session: Session, retries: Retries, error: httpx.TransportError | None) -> float:
    """Return the seconds until the next attempt, after a connection was lost. Raises UnreachableError at the deadline."""
    pause = retries.pause() if session.is_patient or session.has_answered else None
    if pause is None:
        raise UnreachableError(f"no server answers at {session.url}: {error}") from error
    return pause


def pause_after_error(session: Session, retries: Retries, response: httpx.Response) -> float:
    """Return the seconds until the next attempt, after an answer that is an error; raises it if it is the last word."""
    error = error_in(session, response)
    pause = retries.pause(retry_after(response)) if may_try_again(error) else None
    if pause is None:
        raise error
    return pause


def may_try_again(error: ApiError) -> bool:
    """Return whether the same request can get another answer; a write that is done, but not shown yet, is 202."""
    return error.status == httpx.codes.ACCEPTED or (error.status in TRY_AGAIN and error.code not in FINAL_CODES)


def retry_after(response: httpx.Response) -> float:
    """Return the pause in seconds that the exchange asks for."""
    text = response.headers.get("retry-after", "0")
    return float(text) if text.isdecimal() else 0.0


def error_in(session: Session, response: httpx.Response) -> ApiError:
    """Return the error in an answer. Raises UnreachableError if it is no answer of Tidings."""
    try:
        body = msgspec.json.decode(response.content or b"{}", type=dict[str, Any])
    except msgspec.DecodeError:
        body = {}
    if response.status_code == httpx.codes.ACCEPTED:
        session.has_answered = True
        details = {"position": body.get("position")}
        return error_of(202, "NOT_YET_PROJECTED", "the write is done, but the read models do not show it yet", details)
    if "code" not in body:
        if response.status_code in TRY_AGAIN:  # a proxy says that the exchange is not there
            return error_of(response.status_code, "UNAVAILABLE", f"{session.url} answers {response.status_code}", {})
        raise UnreachableError(f"what answers at {session.url} is not Tidings")
    session.has_answered = True
    return error_of(response.status_code, str(body["code"]), str(body.get("message")), body.get("details") or {})


def _answer(session: Session, call: Call[T], response: httpx.Response) -> T:
    """Return the answer; note the position of a write."""
    if call.answer is str:
        return response.text  # type: ignore[return-value]  # T is str
    try:
        found: T = msgspec.json.decode(response.content, type=call.answer)
    except msgspec.DecodeError as error:
        if session.has_answered:
            raise TidingsError(f"the answer to {call.method} {call.path} has another form: {error}") from error
        raise UnreachableError(f"what answers at {session.url} is not Tidings: {error}") from None
    session.has_answered = True
    if call.writes:
        session.position = max(session.position, getattr(found, "position", 0) or 0)
    return found


def _is_printable(text: str) -> bool:
    return bool(text) and all("!" <= char <= "~" for char in text)
