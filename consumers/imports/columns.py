"""Where the fields of a mapping stand in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumers.imports.tables import TableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumers.imports.mapping import ColumnNames


class CellReader:
    """Reads the cells of fields out of rows."""

    def __init__(self, columns: Mapping[str, tuple[tuple[int, str], ...]]) -> None:
        """Take for each field the places and names of its columns."""
        self._columns = columns
        self._single = {name: found[0][0] for name, found in columns.items() if len(found) == 1}

    def has(self, field: str) -> bool:
        """Return whether the table has columns for the field."""
        return field in self._columns

    def get(self, field: str, cells: Sequence[str]) -> str:
        """Return the text of a field without blanks around it; empty where the table has no column for it."""
        at = self._single.get(field)
        if at is not None:
            return cells[at].strip()
        found = self._columns.get(field)
        return "" if found is None else "-".join([cells[place].strip() for place, _ in found])

    def label(self, field: str) -> str:
        """Return the name of a field for people: its columns."""
        found = self._columns.get(field)
        return field if found is None else " + ".join(name for _, name in found)


def locate(columns: Sequence[str], names: ColumnNames, file: str, *, required: Sequence[str]) -> CellReader:
    """Return where the fields stand.

    A field that the mapping leaves out stands in the column of its name, if there is one that no other field names.

    Raises TableError for a column that the table lacks.
    """
    found: dict[str, tuple[tuple[int, str], ...]] = {}
    has = f"it has {', '.join(columns)}"
    taken = {name for _, wanted in names.named() for name in wanted or ()}
    for field, wanted in names.named():
        if wanted is None:
            if field in columns and field not in taken:
                found[field] = ((columns.index(field), field),)
            elif field in required and field in columns:
                raise TableError(
                    f"{file}: the mapping names no column for {field!r}, and the column {field!r} is already that of another "
                    f"field; {has}"
                )
            elif field in required:
                raise TableError(f"{file} has no column {field!r}, and the mapping names none for it; {has}")
            continue
        if missing := [name for name in wanted if name not in columns]:
            raise TableError(f"{file} has no column {missing[0]!r} (columns.{field}); {has}")
        found[field] = tuple((columns.index(name), name) for name in wanted)
    return CellReader(found)
