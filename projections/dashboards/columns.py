"""The parts of a view for dashboards: columns with SQL types and descriptions. The views themselves are in views.py.

Read models keep amounts as whole millionths and times as microseconds since 1970. Views show exact decimal numbers of
credits or shares, and `timestamptz`.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a view: its PostgreSQL type, the SQL expression behind it, and its description for users."""

    type: str
    sql: str
    about: str


@dataclass(frozen=True, slots=True)
class View:
    """A view for dashboards.

    `reads` names the read models whose tables it uses. `about` describes a row. `source` is the SQL from `FROM` on.
    """

    name: str
    reads: tuple[str, ...]
    about: str
    columns: dict[str, Column]
    source: str

    @property
    def query(self) -> str:
        """The whole `SELECT` statement."""
        columns = ",\n    ".join(f"{column.sql} AS {name}" for name, column in self.columns.items())
        return f"SELECT {columns}\n{self.source}"


def text(sql: str, about: str) -> Column:
    """Return a column of texts."""
    return Column("text", sql, about)


def count(sql: str, about: str) -> Column:
    """Return a column of whole numbers: counts, positions and ordinals."""
    return Column("bigint", sql, about)


def decimal(sql: str, about: str) -> Column:
    """Return a column of decimal numbers, made from whole millionths.

    The SQL multiplies by 0.000001 because PostgreSQL rounds long quotients.
    """
    return Column("numeric", f"({sql}) * 0.000001", about)


def time(sql: str, about: str) -> Column:
    """Return a column of times, made from microseconds since 1970 and exact to the microsecond."""
    return Column(
        "timestamp with time zone", f"timestamptz '1970-01-01 00:00:00Z' + ({sql}) * interval '1 microsecond'", about
    )


def flag(sql: str, about: str) -> Column:
    """Return a column of truth values."""
    return Column("boolean", sql, about)


def one_of(values: Sequence[str]) -> str:
    """Return the values as a description lists them: `a, b or c`."""
    return f"{', '.join(values[:-1])} or {values[-1]}"
