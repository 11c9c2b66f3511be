"""The key of a private subscription: looked up again and again, for a revoked one must end what it has opened."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from api.http.caching import header_of
from api.http.errors import ANSWERED, ApiError
from api.stream.requests import is_private

if TYPE_CHECKING:
    from starlette.types import Scope

    from api.http.auth import Keys
    from api.stream.subscriber import Subscribed

RECHECK_SECONDS: Final = 15.0
"""The time after which the key of a private subscription is looked up again, when the next message or beat is due: a beat
later, it is at most 30 seconds since the key was revoked."""

AWAY_SECONDS: Final = 1.0
"""The same where the database could not be asked."""


class KeyCheck:
    """Whether the key behind a subscription still counts; one that is public, by its channels or by a setting, needs none."""

    __slots__ = ("_header", "_keys", "_next_at")

    def __init__(self, keys: Keys, scope: Scope, wanted: Subscribed) -> None:
        self._keys = keys
        self._header = header_of(scope, b"authorization") if is_private(wanted) else ""
        self._next_at = 0.0  # before the first message: a socket may be older than the end of its key

    @property
    def is_needed(self) -> bool:
        """Whether there is a key to look at."""
        return bool(self._header)

    async def has_ended(self) -> bool:
        """Return whether the key no longer counts; look it up when it is time to."""
        if not self.is_needed or monotonic() <= self._next_at:
            return False
        self._next_at = monotonic() + RECHECK_SECONDS
        try:
            await self._keys.look_up(self._header)
        except ApiError:
            return True
        except ANSWERED:  # the database is away: whether the key is valid is looked up again
            self._next_at = monotonic() + AWAY_SECONDS
        return False
