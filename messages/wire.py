"""The wire form of the domain's values: amounts as decimal strings, times in RFC 3339.

It is derived from the type hints of the values. An `int` marked as `Credits`, `Shares`, `Price` or `Fraction` (see
`domain.money`) becomes `"12.500000"`, one marked as `PicoCredits` the same with 12 decimals, one marked as `Time` becomes
`"2024-10-24T10:02:00.000000Z"`, and a value without a mark stays as it is.
"""

import enum
import re
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args, get_origin

from domain.money import Time, format_decimal, parse_decimal
from domain.values import Json, Value

if TYPE_CHECKING:
    from typing_extensions import TypeIs  # in `typing` from Python 3.13 on

Convert = Callable[[Any], Any]
Schema = dict[str, Any]

AMOUNT_MARKS: Final = frozenset({"credits", "shares", "price", "fraction"})
PICO_MARK: Final = "pico-credits"
TIME_MARK: Final = "time"

TIME_MAX: Final = 253_402_300_799_999_999
"""The last microsecond of the year 9999, the latest time in RFC 3339."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  naive on purpose: isoformat() then adds no offset, and it is faster
_MICROSECOND: Final = timedelta(microseconds=1)
_RFC3339: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))", re.ASCII
)


@lru_cache(maxsize=1_024)  # all commands of a batch have the same time
def format_time(time: Time) -> str:
    """Return a time as RFC 3339 in UTC with microseconds: `"2024-10-24T10:02:00.000000Z"`."""
    return (_EPOCH + timedelta(microseconds=time)).isoformat(timespec="microseconds") + "Z"


def format_pico(pico: int) -> str:
    """Return units of 1e-12 credits, 0 or more, as a decimal string with 12 decimals: `"1.442695040889"`."""
    digits = str(pico).zfill(13)
    return f"{digits[:-12]}.{digits[-12:]}"


def parse_pico(text: str) -> int:
    """Return the units of 1e-12 credits that `format_pico` wrote. Raises ValueError."""
    whole, _, decimals = text.partition(".")
    if len(decimals) != 12 or not (whole + decimals).isdecimal():
        raise ValueError("must be a decimal number as a string, with 12 decimals")
    return int(whole + decimals)


@lru_cache(maxsize=1_024)
def parse_time(text: str) -> Time:
    """Return the microseconds since the epoch of an RFC 3339 time with any offset and at most 6 decimals of a second.

    Raises ValueError, with a message for people, for anything else and for times before 1970.
    """
    match = _RFC3339.fullmatch(text)
    problem = "must be an RFC 3339 time from 1970 on with an offset or Z and at most 6 decimals"
    if match is None:
        raise ValueError(problem)
    date, clock, decimals, sign, hours, minutes = match.groups(default="")
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(problem) from None
    micros = (moment.replace(tzinfo=None) - _EPOCH) // _MICROSECOND + int(decimals.ljust(6, "0") or "0")
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError(problem)
        offset = (int(hours) * 60 + int(minutes)) * 60_000_000
        micros += -offset if sign == "+" else offset
    if not 0 <= micros <= TIME_MAX:
        raise ValueError(problem)
    return micros


# --- type hints


def mark_of(hint: Any) -> str | None:
    """Return the mark of an annotated integer (`credits`, `time`, ...), None without one."""
    if hasattr(hint, "__metadata__"):
        return str(hint.__metadata__[0])
    return None


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return the hint without `| None`, and whether it had one."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        rest = [arg for arg in get_args(hint) if arg is not type(None)]
        if len(rest) == 1:
            return rest[0], len(rest) < len(get_args(hint))
    return hint, False


def is_value(hint: Any) -> "TypeIs[type[Value]]":
    """Return whether the hint is a class of values."""
    return isinstance(hint, type) and issubclass(hint, Value)


@cache
def fields_of(cls: type[Value]) -> Mapping[str, Any]:
    """Return the type hints of a value's fields, marks included, by name and in their order."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: hints[name] for name in cls.__struct_fields__}


# --- between values and the wire


class Conversion(NamedTuple):
    """A direction between values and their wire form: what becomes of each kind of marked integer, of a value, of many.

    `items` takes the function for each item, None where an item stays as it is, and returns the function for all of them.
    """

    amount: Convert
    pico: Convert
    time: Convert
    value: Callable[[type[Value]], Convert]
    items: Callable[[Convert | None], Convert | None]


def conversion_of(hint: Any, direction: Conversion) -> Convert | None:
    """Return the function that converts whatever has this type, None where it stays as it is."""
    hint, optional = without_none(hint)
    convert = _conversion_of_value(hint, direction)
    if convert is None or not optional:
        return convert
    return lambda value: None if value is None else convert(value)


def _conversion_of_value(hint: Any, direction: Conversion) -> Convert | None:
    mark = mark_of(hint)
    if mark in AMOUNT_MARKS:
        return direction.amount
    if mark == PICO_MARK:
        return direction.pico
    if mark == TIME_MARK:
        return direction.time
    if is_value(hint):
        return direction.value(hint)
    if get_origin(hint) is tuple:
        return direction.items(conversion_of(get_args(hint)[0], direction))
    return None


def converted_fields(cls: type[Value], direction: Conversion) -> list[tuple[str, Convert]]:
    """Return the fields of a value that do not stay as they are, each with its function."""
    found = ((name, conversion_of(hint, direction)) for name, hint in fields_of(cls).items())
    return [(name, convert) for name, convert in found if convert is not None]


@cache
def encoder(cls: type[Value]) -> Callable[[Any], dict[str, Any]]:
    """Return the function that turns a value of this class into its wire form: dicts, lists, strings."""
    names = tuple(fields_of(cls))
    converted = converted_fields(cls, _TO_WIRE)

    def encode_fields(value: Any) -> dict[str, Any]:
        wire = {name: getattr(value, name) for name in names}
        for name, encode in converted:
            wire[name] = encode(wire[name])
        return wire

    return encode_fields


@cache
def decoder(cls: type[Value]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that replaces the texts of amounts and times by numbers, in the wire form of a value."""
    converted = converted_fields(cls, _FROM_WIRE)

    def decode_fields(wire: dict[str, Any]) -> dict[str, Any]:
        return wire | {name: decode(wire[name]) for name, decode in converted if name in wire}

    return decode_fields


def _items_to_wire(item: Convert | None) -> Convert:
    return list if item is None else lambda values: [item(value) for value in values]


def _items_from_wire(item: Convert | None) -> Convert | None:
    if item is None:
        return None

    def decode_items(values: Any) -> list[Any]:
        if not isinstance(values, list):  # the characters of a text are no items
            raise TypeError("must be an array")
        return [item(value) for value in values]

    return decode_items


_TO_WIRE: Final = Conversion(format_decimal, format_pico, format_time, encoder, _items_to_wire)
_FROM_WIRE: Final = Conversion(parse_decimal, parse_pico, parse_time, decoder, _items_from_wire)


# --- the details of rejections

DETAIL_TIMES: Final = frozenset({"close_time", "dispute_until", "expires_at", "now"})
DETAIL_NUMBERS: Final = frozenset({"count", "maximum", "outcomes", "partition", "to_partition", "uses"})
DETAIL_AMOUNTS: Final = frozenset(
    {
        "available",
        "bond",
        "cost",
        "fillable",
        "filled",
        "given",
        "least",
        "limit_price",
        "max_cost",
        "min_proceeds",
        "proceeds",
        "quantity",
        "remaining",
        "required",
        "spend",
        "subsidy",
        "tick",
        "withdrawable",
    }
)
"""These sets say what the integers among the details of a rejection are; a test holds the domain to them."""

_WHOLE_FIELDS: Final = frozenset({"dispute_seconds", "partition", "to_partition", "uses"})
"""Fields of commands that are no amounts: a rejection for one of them has its numbers as they are."""


def wire_details(details: Mapping[str, str | int]) -> dict[str, str | int]:
    """Return the details of a rejection in their wire form: amounts as decimal strings, times in RFC 3339."""
    plain = details.get("field") in _WHOLE_FIELDS
    return {name: value if plain else _wire_detail(name, value) for name, value in details.items()}


def _wire_detail(name: str, value: str | int) -> str | int:
    if isinstance(value, str) or name in DETAIL_NUMBERS:
        return value
    return format_time(value) if name in DETAIL_TIMES else format_decimal(value)


def parse_wire_details(details: Mapping[str, str | int]) -> dict[str, str | int]:
    """Return the details of a rejection that have this wire form."""
    plain = details.get("field") in _WHOLE_FIELDS
    return {name: value if plain else _parse_wire_detail(name, value) for name, value in details.items()}


def _parse_wire_detail(name: str, value: str | int) -> str | int:
    if not isinstance(value, str) or name not in DETAIL_TIMES | DETAIL_AMOUNTS:
        return value
    parse: Callable[[str], int]
    parse, form = (parse_time, format_time) if name in DETAIL_TIMES else (parse_decimal, format_decimal)
    try:
        number = parse(value)
    except ValueError:
        return value
    return number if form(number) == value else value  # else it is a text that the sender wrote


# --- JSON Schema

SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

DECIMAL_SCHEMA: Final[Schema] = {"type": "string", "pattern": r"^-?(0|[1-9][0-9]*)\.[0-9]{6}$"}
PICO_SCHEMA: Final[Schema] = {"type": "string", "pattern": r"^(0|[1-9][0-9]*)\.[0-9]{12}$"}
TIME_SCHEMA: Final[Schema] = {"type": "string", "format": "date-time"}


def object_schema(properties: dict[str, Schema], required: list[str], description: str = "") -> Schema:
    """Return the schema of an object that has no other properties than these."""
    schema: Schema = {"type": "object"}
    if description:
        schema["description"] = description
    return schema | {"properties": properties, "required": required, "additionalProperties": False}


def schema_of(hint: Any) -> Schema:
    """Return the JSON Schema of a type's wire form, in which every field of a value is present."""
    hint, optional = without_none(hint)
    schema = _schema_of_value(hint)
    return {"anyOf": [schema, {"type": "null"}]} if optional else schema


def _schema_of_value(hint: Any) -> Schema:
    mark = mark_of(hint)
    if mark in AMOUNT_MARKS:
        return DECIMAL_SCHEMA
    if mark == PICO_MARK:
        return PICO_SCHEMA
    if mark == TIME_MARK:
        return TIME_SCHEMA
    if is_value(hint):
        fields = fields_of(hint)
        return object_schema({name: schema_of(field) for name, field in fields.items()}, list(fields), summary(hint))
    origin = get_origin(hint)
    if origin is tuple:
        return {"type": "array", "items": schema_of(get_args(hint)[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(get_args(hint)[1])}
    if origin is Literal:
        return {"enum": list(get_args(hint))}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(arg) for arg in get_args(hint)]}
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return {"type": "string"}
    types_in_json: dict[Any, Schema] = {
        str: {"type": "string"},
        int: {"type": "integer"},
        bool: {"type": "boolean"},
        Json: {},  # any value
        Any: {},
    }
    return types_in_json[hint]


def summary(cls: type) -> str:
    """Return a class's docstring as one paragraph."""
    return " ".join((cls.__doc__ or "").split())
