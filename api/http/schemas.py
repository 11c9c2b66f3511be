"""From the types of answers to JSON Schema, as components of the OpenAPI document.

The schemas of rows follow from the annotated types from which `serializers` writes them, those of all other answers from the
typed dictionaries of `answers`.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from api.http.errors import CODES
from api.http.serializers import encoders
from messages.wire import (
    AMOUNT_MARKS,
    DECIMAL_SCHEMA,
    PICO_MARK,
    PICO_SCHEMA,
    TIME_MARK,
    TIME_SCHEMA,
    Schema,
    object_schema,
    summary,
)

COMPONENTS: Final[dict[str, Schema]] = {}
"""The named schemas of the OpenAPI document, without those of request bodies, which FastAPI adds."""

_OF_MARK: Final[dict[str, Schema]] = {
    **dict.fromkeys(AMOUNT_MARKS, DECIMAL_SCHEMA),
    PICO_MARK: PICO_SCHEMA,
    TIME_MARK: TIME_SCHEMA,
    "count": {"type": "integer"},
    "liquidity": DECIMAL_SCHEMA,
    "code": {"enum": list(CODES)},
}
"""The schema of a value by the mark of its annotated type, as `serializers` writes it."""

_PLAIN: Final[dict[Any, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"type": "number"},
    Any: {},
}


def component(name: str, schema: Schema) -> Schema:
    """Add a named schema to the document and return the reference to it."""
    assert COMPONENTS.setdefault(name, schema) == schema, f"two schemas have the name {name}"
    return {"$ref": f"#/components/schemas/{name}"}


def schema_of(hint: Any) -> Schema:
    """Return the JSON Schema of a type as answers show it. Rows and typed dictionaries become components.

    Raises TypeError for a type that has no form in JSON.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        known = next((_OF_MARK[mark] for mark in args[1:] if mark in _OF_MARK), None)
        return known or schema_of(args[0])
    if origin in {UnionType, Union}:
        parts = [{"type": "null"} if part is NoneType else schema_of(part) for part in args]
        return {"anyOf": parts}
    if origin is list:
        return {"type": "array", "items": schema_of(args[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(args[1])}
    if origin is Literal:
        return {"enum": list(args)}
    if is_typeddict(hint):
        return component(hint.__name__, _dictionary_schema(hint))
    if is_dataclass(hint) or hasattr(hint, "_fields"):
        return component(hint.__name__.removesuffix("Row"), object_schema(*row_fields(hint), summary(hint)))
    if hint in _PLAIN:
        return _PLAIN[hint]
    raise TypeError(f"{hint} has no form in JSON")


def row_fields(row_type: Any) -> tuple[dict[str, Schema], list[str]]:
    """Return the properties of a row in JSON, and the names of those that are always there: all."""
    hints = get_type_hints(row_type, include_extras=True)
    for name, member in vars(row_type).items():
        if isinstance(member, property):
            hints[name] = get_type_hints(member.fget, include_extras=True)["return"]
    names = [name for name, _ in encoders(row_type)]
    return {name: schema_of(hints[name]) for name in names}, names


def _dictionary_schema(dictionary: Any) -> Schema:
    hints = get_type_hints(dictionary, include_extras=True)
    plain = {name: get_args(hint)[0] if get_origin(hint) is NotRequired else hint for name, hint in hints.items()}
    properties = {name: schema_of(hint) for name, hint in plain.items()}
    return object_schema(
        properties, [name for name in hints if name in dictionary.__required_keys__], summary(dictionary)
    )
