"""Many rows as one statement: an array for each column, which PostgreSQL takes apart again.

A statement for each row costs much when there are many. A COPY costs little, but no pipeline can hold it: it makes PostgreSQL
and the projector wait for each other several times, for each table. One statement with the columns as arrays is between both
in cost and waits for nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from struct import Struct
from struct import error as StructError  # noqa: N812  it is a class
from typing import Any, Final, cast

from projections.machine.pipeline import Encoded

EncodeColumns = Callable[[Iterable[Sequence[Any]]], Encoded]
"""Takes the values of rows, at least one, and returns the column arrays as PostgreSQL receives them."""


def column_expression(sql_type: str, number: int) -> str:
    """Return the SQL that takes apart the array of a column, the parameter of this number: a value of this type a row."""
    # PostgreSQL would take apart an array of arrays down to its single values; so these come as texts.
    return f"unnest(${number}::text[])::{sql_type}" if sql_type.endswith("[]") else f"unnest(${number}::{sql_type}[])"


def columns_encoder(types: Sequence[str]) -> tuple[EncodeColumns, list[int]]:
    """Return the function that encodes rows of these types by column, and the formats of the arrays."""
    forms = [_FORMS[sql_type] for sql_type in types]
    writers = [write for write, _ in forms]

    def encode(rows: Iterable[Sequence[Any]]) -> Encoded:
        return [write(values) for write, values in zip(writers, zip(*rows, strict=True), strict=True)]

    return encode, [form for _, form in forms]


@lru_cache(1_000)
def _integers_packer(count: int) -> Callable[..., bytes]:
    return Struct("!5i" + "iq" * count).pack


def _integers(values: Sequence[int | None]) -> bytes:
    items: list[int | None] = [8] * (2 * len(values))  # before each value its length
    items[1::2] = values
    try:
        return _integers_packer(len(values))(1, 0, 20, len(values), 1, *items)
    except StructError:  # one is None
        return _HEAD(1, 1, 20, len(values), 1) + b"".join(
            _NULL if value is None else _INTEGER(8, value) for value in values
        )


def _texts(values: Sequence[str | None]) -> bytes:
    try:
        encoded = list(map(str.encode, cast("Sequence[str]", values)))
        lengths = list(map(_SHORT_LENGTHS.__getitem__, map(len, encoded)))
    except (TypeError, IndexError):  # one is None, or long
        return _any_texts(values)
    parts = [b""] * (2 * len(encoded))
    parts[::2], parts[1::2] = lengths, encoded
    return _HEAD(1, 0, 25, len(encoded), 1) + b"".join(parts)


def _any_texts(values: Sequence[str | None]) -> bytes:
    parts = [_HEAD(1, 1, 25, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            encoded = value.encode()
            parts += (_LENGTH(len(encoded)), encoded)
    return b"".join(parts)


def _flags(values: Sequence[bool | None]) -> bytes:
    return b"{%s}" % b",".join(b"NULL" if value is None else b"t" if value else b"f" for value in values)


def _numbers(values: Sequence[int | None]) -> bytes:
    return b"{%s}" % ",".join("NULL" if value is None else str(value) for value in values).encode()


def _lists_of_numbers(values: Sequence[Sequence[int | None] | None]) -> bytes:
    return _texts([None if value is None else _numbers(value).decode() for value in values])


def _lists_of_texts(values: Sequence[Sequence[str] | None]) -> bytes:
    return _texts([None if value is None else f"{{{','.join(map(_quoted, value))}}}" for value in values])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_HEAD: Final = Struct("!5i").pack
_INTEGER: Final = Struct("!iq").pack
_LENGTH: Final = Struct("!i").pack
_NULL: Final = _LENGTH(-1)
_SHORT_LENGTHS: Final = [_LENGTH(length) for length in range(256)]

_FORMS: Final[dict[str, tuple[Callable[[Any], bytes], int]]] = {
    "text": (_texts, 1),
    "int8": (_integers, 1),
    "bool": (_flags, 0),
    "numeric": (_numbers, 0),
    "int8[]": (_lists_of_numbers, 1),
    "text[]": (_lists_of_texts, 1),
    "numeric[]": (_lists_of_numbers, 1),
}
"""How a column of each type is written: the function, and 1 for a binary form or 0 for a text."""
