"""Wide rows by name at the price of a tuple: fields are copied from objects that have fields of the same name.

A row that a fold makes for every event has most of its values from the event. Naming each of 20 values costs a
microsecond: Python passes more than 15 keywords through a dict. `copying` generates a function that copies the fields it
finds in the types of its sources, takes the rest by keyword, and costs as much as the tuple written by hand.
"""

from collections.abc import Callable
from typing import Any, Final, get_type_hints

from projections.machine.table import Values

KEYWORDS_MAX: Final = 15
"""The most keywords of a call that Python passes without building a dict."""


def copying(row: type[Any], *sources: type) -> Callable[..., Values]:
    """Return a function from one object of each source type, and the other fields by keyword, to the values of a row.

    A field that several sources have comes from the first of them; one that is also given by keyword raises TypeError.
    """
    places: dict[str, str] = {}
    hints = [get_type_hints(source) for source in sources]
    for name in get_type_hints(row):
        for number, fields in enumerate(hints):
            if name in fields:
                places[name] = f"s{number}.{name}"
                break
    named = [name for name in get_type_hints(row) if name not in places]
    assert len(named) <= KEYWORDS_MAX, f"a row of {row.__name__} takes {len(named)} keywords: more sources are needed"
    values = ", ".join(places.get(name, name) for name in get_type_hints(row))
    arguments = ", ".join([*(f"s{number}" for number in range(len(sources))), *(["*", *named] if named else [])])
    function: Callable[..., Values] = eval(f"lambda {arguments}: ({values},)")  # noqa: S307  nothing from outside
    return function
