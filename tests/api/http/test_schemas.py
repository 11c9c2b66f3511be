"""The schemas of answers say what the serializers write, for any row of any type."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.http.schemas import COMPONENTS, component, row_fields, schema_of
from api.http.serializers import serialize
from messages.wire import TIME_MAX, object_schema
from tests.api.http.test_serializers import ROWS, Forgotten

LARGEST = 2**63 - 1


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Return values of a type as the read models have them."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return st.integers(0, TIME_MAX) if "time" in args[1:] else st.integers(0, LARGEST)
    if origin in {UnionType, Union}:
        return st.one_of([st.none() if part is NoneType else values(part) for part in args])
    if origin is list:
        return st.lists(values(args[0]), max_size=3)
    if origin is dict:
        return st.just({"some": "data"})
    if is_dataclass(hint) or hasattr(hint, "_fields"):
        return rows(hint)
    return {str: st.text(max_size=5), bool: st.booleans(), int: st.integers(0, LARGEST)}[hint]


def rows(row_type: Any) -> st.SearchStrategy[Any]:
    """Return rows of a type."""
    hints = get_type_hints(row_type, include_extras=True)
    names = [field.name for field in fields(row_type)] if is_dataclass(row_type) else row_type._fields
    return st.builds(row_type, **{name: values(hints[name]) for name in names})


@pytest.mark.parametrize("row_type", ROWS, ids=lambda row: row.__name__)
def test_a_row_fits_its_schema(row_type: Any) -> None:
    """With the largest amounts, with null where that is allowed, and with empty lists."""
    schema = jsonschema_rs.Draft202012Validator(
        {**object_schema(*row_fields(row_type)), "components": {"schemas": COMPONENTS}}, validate_formats=True
    )

    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(rows(row_type))
    def fits(row: Any) -> None:
        schema.validate(msgspec.json.decode(msgspec.json.encode(serialize(row))))

    fits()


def test_a_schema_is_as_narrow_as_its_type() -> None:
    """Null only where the type has it; amounts are strings, counts are numbers; other words than these are refused."""
    assert schema_of(Literal["a", "b"]) == {"enum": ["a", "b"]}
    assert schema_of(str | None) == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert schema_of(list[bool]) == {"type": "array", "items": {"type": "boolean"}}
    with pytest.raises(TypeError, match="no form"):
        schema_of(bytes)


def test_one_name_is_one_schema() -> None:
    """Two schemas cannot share the name of a component."""
    component("Sample", {"type": "string"})
    component("Sample", {"type": "string"})
    with pytest.raises(AssertionError, match="two schemas"):
        component("Sample", {"type": "integer"})
    del COMPONENTS["Sample"]


def test_an_integer_without_a_form_has_no_schema() -> None:
    """As it has no form in an answer."""
    with pytest.raises(TypeError, match="has no form"):
        schema_of(Forgotten)
