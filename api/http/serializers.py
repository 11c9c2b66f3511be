"""Serializers: rows of read models in JSON's types, amounts as decimal strings and times in RFC 3339.

Rows hold plain integers; the annotated type of each column (`Credits`, `Time`, `Count`, ...) says the form of its integer.
A row type with a plain `int` is refused: an amount cannot leave as micro-units by mistake.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from domain.lmsr import PICO
from domain.money import MICRO, format_decimal
from messages.wire import AMOUNT_MARKS, TIME_MARK, format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    Encode = Callable[[Any], Any]

HIDDEN: Final = frozenset({"partition", "opened_position", "key", "worst_limit"})
"""Columns that stay inside."""


def serialize(row: Any) -> dict[str, Any]:
    """Return a row (a named tuple or a dataclass) in JSON's types."""
    row_type: Any = type(row)
    return {name: encode(getattr(row, name)) for name, encode in encoders(row_type)}


@cache
def encoders(row_type: Any) -> tuple[tuple[str, Encode], ...]:
    """Return the names of a row type's columns and properties, each with the function that encodes its values.

    Raises TypeError for a type that has no form, such as a plain `int`.
    """
    hints = get_type_hints(row_type, include_extras=True)
    stored = [field.name for field in fields(row_type)] if is_dataclass(row_type) else row_type._fields
    for name, member in vars(row_type).items():
        if isinstance(member, property):
            hints[name] = get_type_hints(member.fget, include_extras=True)["return"]
    derived = [name for name, member in vars(row_type).items() if isinstance(member, property)]
    return tuple((name, encoder(hints[name])) for name in [*stored, *derived] if name not in HIDDEN)


def encoder(hint: Any) -> Encode:
    """Return the function that encodes the values of a type."""
    origin, args = get_origin(hint), get_args(hint)
    for mark in args[1:] if origin is Annotated else ():
        if mark in _FORMS:
            return _FORMS[mark]
    if origin in {UnionType, Union}:
        (inner,) = (part for part in args if part is not NoneType)
        encode = encoder(inner)
        return lambda value: None if value is None else encode(value)
    if origin is list:
        item = encoder(args[0])
        return lambda values: [item(value) for value in values]
    if hint in {str, bool} or origin is dict:
        return _same
    if is_dataclass(hint) or hasattr(hint, "_fields"):
        return serialize
    raise TypeError(
        f"{hint} has no form in JSON: give the column one of the types of domain/money.py or projections/forms.py"
    )


def _same(value: Any) -> Any:
    return value


def _liquidity(pico: int) -> str:
    return format_decimal(pico // (PICO // MICRO))


_FORMS: Final[dict[str, Encode]] = {
    **dict.fromkeys(AMOUNT_MARKS, format_decimal),
    TIME_MARK: format_time,
    "count": _same,
    "liquidity": _liquidity,
}
"""The encoding of an integer by the mark of its annotated type."""
