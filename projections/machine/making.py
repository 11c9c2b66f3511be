"""Rows by name at the price of a tuple: functions that are generated from a row type.

A `NamedTuple` of 8 values costs 390 ns when they are named, the plain tuple 40 ns, and a function that takes the same names
and returns the plain tuple 70 ns. Python passes more than 15 keywords through a dict, which takes a microsecond; wide rows
have most of their values from the event, so a generated function copies these.
"""

from collections.abc import Callable
from typing import Any, Final, ParamSpec, cast, get_type_hints

from projections.machine.table import Values

P = ParamSpec("P")

KEYWORDS_MAX: Final = 15
"""The most keywords of a call that Python passes without a dict."""


def maker(row: Callable[P, Any]) -> Callable[P, Values]:
    """Return a function that takes the fields of a row type by keyword and returns their values."""
    return cast("Callable[P, Values]", _generate(cast("type[Any]", row), []))


def copier(row: type[Any], *sources: type) -> Callable[..., Values]:
    """Return a function that takes an object of each source type, and by keyword the fields that none of these has.

    Fields are copied by their names, from the first source that has them. To name one that is copied raises TypeError.
    """
    return _generate(row, [get_type_hints(source) for source in sources])


def _generate(row: type[Any], sources: list[dict[str, Any]]) -> Callable[..., Values]:
    values: list[str] = []
    keywords: list[str] = []
    for name in get_type_hints(row):
        number = next((number for number, fields in enumerate(sources) if name in fields), None)
        values.append(name if number is None else f"s{number}.{name}")
        if number is None:
            keywords.append(name)
    assert len(keywords) <= KEYWORDS_MAX, f"{row.__name__} takes {len(keywords)} keywords: it needs more sources"
    arguments = [*(f"s{number}" for number in range(len(sources))), *(["*", *keywords] if keywords else [])]
    source = f"lambda {', '.join(arguments)}: ({', '.join(values)},)"
    return cast("Callable[..., Values]", eval(source))  # noqa: S307  nothing from outside
