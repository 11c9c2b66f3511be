"""What a client asks of the stream, and whether it may have it: the same rules for both transports."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from api.http.auth import require
from api.http.cursors import POSITION_MAX
from api.http.errors import ApiError, invalid_field
from api.stream.subscriber import PUBLIC, Subscribed
from messages.channels import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.http.auth import Principal
    from api.http.context import Context
    from messages.channels import Channel

MARKETS_MAX: Final = 100
"""The most markets that a subscription may name."""

ALL_CHANNELS: Final = (*CHANNELS, "progress")
DEFAULT_CHANNELS: Final = ("trades", "prices", "lifecycle")
PARAMETERS: Final = ("channels", "market", "after", "conflate", "log")


def parameters_of(query: bytes) -> dict[str, list[str]]:
    """Return the values of each parameter of a query string; raises ApiError UNKNOWN_PARAMETER or INVALID_QUERY."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        found.setdefault(name, []).append(value)
    if unknown := [name for name in found if name not in PARAMETERS]:
        raise ApiError(
            "UNKNOWN_PARAMETER",
            f"this path has no parameter {', '.join(unknown)}",
            {"parameters": unknown, "known": sorted(PARAMETERS)},
        )
    if repeated := [name for name, values in found.items() if len(values) > 1 and name != "market"]:
        raise ApiError("INVALID_QUERY", f"{', '.join(repeated)}: given more than once", {"parameters": repeated})
    return found


def position_of(field: str, text: str) -> int:
    """Return the position in a text; raises ApiError INVALID_FIELD."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= POSITION_MAX):
        raise invalid_field(field, f"must be a position, a whole number from 0 to {POSITION_MAX}")
    return int(text)


async def wanted_of(
    context: Context,
    principal: Principal | None,
    channels: Sequence[str],
    markets: Sequence[str],
    *,
    conflate: bool,
) -> Subscribed:
    """Return what a client wants, if it may have it.

    Raises:
        ApiError: INVALID_FIELD, MARKET_NOT_FOUND, UNAUTHENTICATED or FORBIDDEN.
    """
    if not channels or (unknown := sorted(set(channels) - set(ALL_CHANNELS))):
        named = ", ".join(unknown) if channels else "none"
        raise invalid_field("channels", f"has {named}, expected some of {', '.join(ALL_CHANNELS)}")
    if len(markets) > MARKETS_MAX:
        raise invalid_field("market", f"may be given at most {MARKETS_MAX} times")
    if principal is None and not context.settings.public_reads:
        require(None)
    account_id = _own_account(principal) if "orders" in channels else None
    if "events" in channels and not context.settings.accounts_public:
        require(principal, "analyst", "admin")
    return Subscribed(
        channels=_set_of(tuple(each for each in CHANNELS if each in channels)),
        markets={await market_id_of(context, each) for each in markets} if markets else None,
        account_id=account_id,
        progress="progress" in channels,
        conflate=conflate,
        bodies=principal is not None and principal.sees_all,
    )


async def market_id_of(context: Context, reference: str) -> str:
    """Return the id of a market that exists; raises ApiError MARKET_NOT_FOUND."""
    found = None if "\0" in reference else await context.references.find("market", reference)
    if found is None:
        raise ApiError("MARKET_NOT_FOUND", "no such market", {"market": reference})
    return found


@cache
def _set_of(channels: tuple[Channel, ...]) -> frozenset[Channel]:
    """Return the set of some channels, one for all streams that want the same."""
    return frozenset(channels)


def is_private(wanted: Subscribed) -> bool:
    """Return whether a subscription ends with its key."""
    return not wanted.channels <= PUBLIC


def _own_account(principal: Principal | None) -> str:
    principal = require(principal, "trader", "reader")
    if principal.account_id is None:
        raise ApiError("FORBIDDEN", "the channel orders is for keys of an account", {"roles": sorted(principal.roles)})
    return principal.account_id


def flag_of(field: str, text: str) -> bool:
    """Return a truth value in a query; raises ApiError INVALID_FIELD."""
    values: dict[str, Any] = {"true": True, "false": False}
    if text not in values:
        raise invalid_field(field, "must be true or false")
    return bool(values[text])
