"""Rows by name at the price of a tuple: functions that are generated from a row type.

A `NamedTuple` of 8 values costs 390 ns when they are named, the plain tuple 40 ns, and a function that takes the same names
and returns the plain tuple 70 ns. Python passes more than 15 keywords through a dict, which takes a microsecond; wide rows
have most of their values from the event, so a generated function copies these.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, cast, get_type_hints

from projections.machine.table import Values

P = ParamSpec("P")

_NO_CONSTANTS: Final[Mapping[str, object]] = {}

KEYWORDS_MAX: Final = 15
"""The most keywords of a call that Python passes without a dict."""


def by_name(row: Callable[P, Any]) -> Callable[P, Values]:
    """Return a function that takes the fields of a row type by keyword and returns their values."""
    return cast("Callable[P, Values]", _generate(cast("type[Any]", row), {}))


def copying(
    row: type[Any], *sources: type, constants: Mapping[str, object] = _NO_CONSTANTS, **prefixes: type
) -> Callable[..., Values]:
    """Return a function that takes an object of each source type, and by keyword the fields that none of these has.

    Fields are copied by their names, from the first source that has them. A source that is given by keyword has the
    fields that its keyword is the prefix of: `account=Total` copies `account_volume` from the `volume` of a `Total`, which
    the function takes as `account`. `constants` are the fields that have the same value in every row: a number, a text or
    None. To name a field that is copied or constant raises TypeError.
    """
    copied = {
        f"{prefix}_{name}": f"{prefix}.{name}" for prefix, source in prefixes.items() for name in get_type_hints(source)
    }
    for number, source in reversed([*enumerate(sources)]):
        copied.update((name, f"s{number}.{name}") for name in get_type_hints(source))
    copied.update((name, repr(value)) for name, value in constants.items())
    return _generate(row, copied, len(sources), list(prefixes))


def _generate(
    row: type[Any], copied: Mapping[str, str], sources: int = 0, prefixes: Sequence[str] = ()
) -> Callable[..., Values]:
    fields = get_type_hints(row)
    values = [copied.get(name, name) for name in fields]
    keywords = [*prefixes, *(name for name in fields if name not in copied)]
    assert len(keywords) <= KEYWORDS_MAX, f"{row.__name__} takes {len(keywords)} keywords: it needs more sources"
    arguments = [*(f"s{number}" for number in range(sources)), *(["*", *keywords] if keywords else [])]
    source = f"lambda {', '.join(arguments)}: ({', '.join(values)},)"
    return cast("Callable[..., Values]", eval(source))  # noqa: S307  nothing from outside
