"""Serializers: rows of read models in JSON's types, amounts as decimal strings and times in RFC 3339.

Rows hold plain integers; the name of a column says what its integer means. A name that stands in no list here is an error,
and a test looks at the names of all rows: a new amount cannot leave as micro-units by mistake.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from domain.lmsr import PICO
from domain.money import MICRO, format_decimal
from messages.wire import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES: Final = frozenset(
    [
        "changed_time",
        "close_time",
        "closed_at",
        "dispute_until",
        "end",
        "expires_at",
        "opened_at",
        "published_at",
        "start",
        "time",
    ]
)
COUNTS: Final = frozenset(
    [
        "changed_position",
        "count",
        "dispute_seconds",
        "markets",
        "number",
        "opened_position",
        "orders",
        "outcomes",
        "position",
        "rank",
        "resolution_version",
        "traders",
        "trades",
        "version",
    ]
)
AMOUNTS: Final = frozenset(
    [
        "amount",
        "available",
        "available_after",
        "average_price",
        "bonds",
        "brier",
        "buys",
        "cash",
        "close",
        "cost",
        "cost_basis",
        "dispute_bond",
        "equity",
        "external",
        "fee",
        "fee_rate",
        "fees",
        "filled",
        "held",
        "held_after",
        "high",
        "house",
        "initial_prices",
        "limit_price",
        "log_score",
        "low",
        "mean_outcome",
        "mean_price",
        "open",
        "open_interest",
        "open_interest_total",
        "payouts",
        "pnl",
        "pool",
        "positions",
        "positions_value",
        "previous",
        "price",
        "price_after",
        "prices",
        "quantity",
        "realized",
        "remaining",
        "residual",
        "resting_cost",
        "resting_price_after",
        "roi",
        "shares",
        "spend",
        "subsidy",
        "unrealized",
        "value",
        "volume",
    ]
)
HIDDEN: Final = frozenset({"partition", "opened_position", "key"})
"""Columns that stay inside."""


def serialize(row: Any) -> dict[str, Any]:
    """Return a row (a named tuple or a dataclass) in JSON's types."""
    return {name: encode(getattr(row, name)) for name, encode in _encoders(type(row))}


def _encoders(row_type: Any) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    stored = [field.name for field in fields(row_type)] if is_dataclass(row_type) else row_type._fields
    derived = [name for name, member in vars(row_type).items() if isinstance(member, property)]
    names = [*stored, *derived]
    return tuple((name, encoder(name)) for name in names if name not in HIDDEN)


@cache
def encoder(name: str) -> Callable[[Any], Any]:
    """Return the function that encodes the values of a column of this name."""
    if name in TIMES:
        integer: Callable[[int], Any] | None = format_time
    elif name in COUNTS:
        integer = int
    elif name in AMOUNTS:
        integer = format_decimal
    elif name == "liquidity":
        integer = _liquidity
    else:
        integer = None

    def encode(value: Any) -> Any:
        if value is None or isinstance(value, str | bool | dict):
            return value
        if isinstance(value, int):
            if integer is None:
                raise TypeError(f"the integer column {name} is in no list of serializers.py")
            return integer(value)
        if isinstance(value, list) or (isinstance(value, tuple) and not hasattr(value, "_fields")):
            return [encode(item) for item in value]
        return serialize(value)

    return encode


def _liquidity(pico: int) -> str:
    return format_decimal(pico // (PICO // MICRO))
