"""Rates: how many requests a key, or an address without one, may send. Token buckets, one for each kind and subject.

    writes              requests that write; an order of a batch counts as a part of one
    reads               all other requests
    costly_reads        reads that take many times as long as others (`kind_of` has the list); they count as reads too
    failed_keys         requests with a key that is not valid, by address
    refusals            commands that the rules refused: each is a record of the log, for ever

A full bucket holds what flows into it in `TIDINGS_BURST_MS`. A rate of 0 means no limit. Nothing here waits or does I/O, and a
request costs less than 1 us (decision 36 has the figures, and why this is no library).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from api.http.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from settings import Settings

Kind = Literal["writes", "reads", "costly_reads", "failed_keys", "refusals"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

SUBJECTS_MAX: Final = 100_000
"""The most buckets of one kind. The one that was used the longest time ago gives way: it has most likely filled up again."""

ORDER_OF_BATCH: Final = 1 / 3
"""The part of a write that an order of a batch counts for, from the second one on; its share of the CPU is about that."""

COSTLY_ENDS: Final = (
    *("/equity-history", "/export", "/stream", "/ws"),
    *("/v1/prices-history", "/v1/candlesticks", "/v1/books"),
)
"""The ends of paths whose reads are always costly."""


def kind_of(method: str, path: str, query: bytes) -> Kind:
    """Return the kind of a request. A leaderboard of the past is computed from all trades before it.

    Orders of all accounts are looked through one after another, unless an account or an order is named; so are markets that
    are sorted or found by their texts.
    """
    if method not in {"GET", "HEAD", "OPTIONS"}:
        return "writes"
    if path.endswith(COSTLY_ENDS) or (path == "/v1/leaderboard" and (b"as_of" in query or b"cursor" in query)):
        return "costly_reads"
    if path == "/v1/markets" and any(name in query for name in (b"q=", b"sort=", b"with=")):
        return "costly_reads"
    if path == "/v1/stories" and b"q=" in query:
        return "costly_reads"
    if path == "/v1/orders" and b"account=" not in query and b"client_order_id=" not in query:
        return "costly_reads"
    return "reads"


class Wait(NamedTuple):
    """The refusal of a bucket: the seconds until it has enough, what is left in it, and its rate."""

    seconds: float
    left: int
    per_second: float


class Buckets:
    """The token buckets of one kind, by subject.

    A bucket is the time at which it is full again; one that is full needs no entry.
    """

    def __init__(self, burst_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._burst_seconds = burst_seconds
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, subject: str, per_second: float, cost: float = 1.0) -> Wait | None:
        """Take tokens from the bucket of a subject; return None, or what there is to wait for, and then take nothing.

        A cost above the whole bucket counts as the whole bucket.
        """
        if not per_second:
            return None
        now = self._clock()
        full_at = self._full_at.get(subject, now)
        full_at = max(full_at, now)
        after = full_at + min(cost / per_second, self._burst_seconds)
        over = after - now - self._burst_seconds
        if over > 1e-9:
            return Wait(over, int((self._burst_seconds - (full_at - now)) * per_second), per_second)
        self._put(subject, after)
        return None

    def spend(self, subject: str, per_second: float, cost: float = 1.0) -> None:
        """Take tokens, at most as many as there are."""
        if per_second:
            now = self._clock()
            full_at = max(self._full_at.get(subject, now), now) + cost / per_second
            self._put(subject, min(full_at, now + self._burst_seconds))

    def wait(self, subject: str, per_second: float) -> Wait | None:
        """Return None if a token is left, otherwise what there is to wait for. Take nothing."""
        if not per_second or subject not in self._full_at:
            return None
        over = self._full_at[subject] + 1 / per_second - self._clock() - self._burst_seconds
        return Wait(over, 0, per_second) if over > 1e-9 else None

    def _put(self, subject: str, full_at: float) -> None:
        self._full_at[subject] = full_at
        self._full_at.move_to_end(subject)
        if len(self._full_at) > SUBJECTS_MAX:
            self._full_at.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of one subject in tokens a second, by kind; 0: no limit."""

    writes: float
    reads: float
    costly_reads: float
    failed_keys: float
    refusals: float

    def but(self, own: Mapping[str, float]) -> Rates:
        """Return these rates with some of them replaced."""
        return Rates(**{kind: float(own.get(kind, getattr(self, kind))) for kind in KINDS})


class RateLimits:
    """The buckets of one server, and the rates that the settings give to keys and to addresses."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = monotonic) -> None:
        self.of_keys = Rates(
            writes=settings.key_writes_per_second,
            reads=settings.key_reads_per_second,
            costly_reads=settings.key_costly_reads_per_second,
            failed_keys=0,
            refusals=settings.refusals_per_second,
        )
        self.of_addresses = Rates(
            writes=settings.address_writes_per_second,
            reads=settings.address_reads_per_second,
            costly_reads=settings.address_costly_reads_per_second,
            failed_keys=settings.failed_keys_per_second,
            refusals=0,
        )
        self._burst_seconds = settings.burst_ms / 1000
        self._buckets: dict[Kind, Buckets] = {kind: Buckets(settings.burst_ms / 1000, clock) for kind in KINDS}

    def charge(self, kind: Kind, subject: str, rates: Rates, cost: float = 1.0) -> None:
        """Count a request of a subject; raises ApiError RATE_LIMITED where it is one too many, and then counts nothing."""
        wait = self._buckets[kind].take(subject, getattr(rates, kind), cost)
        if wait is None and kind == "writes":
            wait = self._buckets["refusals"].wait(subject, rates.refusals)
            kind = "refusals" if wait is not None else kind
        elif wait is None and kind == "costly_reads":
            kind = "reads"
            wait = self._buckets["reads"].take(subject, rates.reads)
        if wait is not None:
            raise self._error(kind, wait)

    def count(self, kind: Kind, subject: str, rates: Rates, cost: float = 1.0) -> None:
        """Count what has happened already; it may use up the bucket."""
        self._buckets[kind].spend(subject, getattr(rates, kind), cost)

    def check(self, kind: Kind, subject: str, rates: Rates) -> None:
        """Raise ApiError RATE_LIMITED if the bucket is used up."""
        wait = self._buckets[kind].wait(subject, getattr(rates, kind))
        if wait is not None:
            raise self._error(kind, wait)

    def _error(self, kind: Kind, wait: Wait) -> ApiError:
        """Return the error, with the headers of the IETF's draft "RateLimit header fields for HTTP", old and new names."""
        seconds = max(1, ceil(wait.seconds))
        most = max(1, int(wait.per_second * self._burst_seconds))
        details: dict[str, Any] = {"limit": kind, "per_second": wait.per_second, "retry_after_seconds": seconds}
        error = ApiError("RATE_LIMITED", _TEXTS[kind], details, retry_after_seconds=seconds)
        error.more_headers = {
            "ratelimit-limit": str(most),
            "ratelimit-remaining": str(wait.left),
            "ratelimit-reset": str(seconds),
            "ratelimit-policy": f'"{kind}";q={most};w={max(1, round(self._burst_seconds))}',
            "ratelimit": f'"{kind}";r={wait.left};t={seconds}',
        }
        return error


_TEXTS: Final[dict[Kind, str]] = {
    "writes": "too many writes; nothing was done",
    "reads": "too many reads",
    "costly_reads": "too many reads of the costly kind",
    "failed_keys": "too many requests with keys that are not valid",
    "refusals": "too many refused commands; nothing was done",
}


def rates_of(text: str) -> dict[str, float]:
    """Return the rates in a text such as `writes=10,reads=0`, by kind; raises ValueError, which names what is wrong."""
    found = {}
    for part in text.split(","):
        kind, _, number = part.strip().partition("=")
        if kind not in _OF_KEYS:
            raise ValueError(f"{kind or 'nothing'}: expected one of {', '.join(_OF_KEYS)}, as in writes=10,reads=50")
        try:
            found[kind] = float(number)
        except ValueError:
            raise ValueError(f"{kind}: expected a number, requests a second") from None
        if not 0 <= found[kind] <= 1_000_000:
            raise ValueError(f"{kind}: expected 0 (no limit) to 1000000 requests a second")
    return found


_OF_KEYS: Final = ("writes", "reads", "costly_reads", "refusals")
"""The kinds that a key can have a rate of its own for."""
