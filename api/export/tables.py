"""The tables of an export: their columns, their keys, and how each is cut into files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from projections.dashboards.past import needs_of_past, past_query
from projections.dashboards.views import VIEWS

FILE_POSITIONS: Final = 100_000
"""The number of positions of the log whose rows stand in one file. Files begin after whole multiples of it."""

ColumnType = Literal["text", "bigint", "smallint", "numeric", "timestamp with time zone", "boolean", "json"]

EVENTS: Final = "events"
"""The name of the table that is made from the log itself."""


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """A table of an export.

    `key` has the columns by which rows are sorted; together they are unique. A table that `grows` has the rows of events and
    is cut by position into files of `FILE_POSITIONS`. Any other table has a file for its state at the end of the export, or
    with `apart` a file for each value of that column. `needs` are the read models that it is made from.
    """

    name: str
    about: str
    columns: dict[str, ColumnType]
    key: tuple[str, ...]
    grows: bool
    needs: tuple[str, ...]
    query: str = ""
    apart: str | None = None
    partitioned: bool = False
    group_rows: int = 122_880
    """The number of rows in a row group of Parquet."""

    @property
    def of_markets(self) -> bool:
        """Whether each row is about one market, so that an export of some markets can have the table."""
        return "market_id" in self.columns

    @property
    def amounts(self) -> list[str]:
        """The columns that have control sums."""
        return [name for name, kind in self.columns.items() if kind == "numeric"]

    def firsts(self, until: int) -> range:
        """Return the first position of each file of an export up to a position. There is a file for nothing too."""
        return range(1, max(until, 1) + 1, FILE_POSITIONS) if self.grows else range(1, 2)

    def last(self, first: int, until: int) -> int:
        """Return the last position of the file that begins with a position, in an export up to another one."""
        return min(first + FILE_POSITIONS - 1, until) if self.grows else until

    def file_name(self, first: int, ending: str, part: str = "") -> str:
        """Return the name of a file: of the rows from a position on, or of the state; `part` is a value of `apart`."""
        if self.grows:
            folder = f"{self.name}/partition=0" if self.partitioned else self.name
            return f"{folder}/{self.name}-{first:012}-{first + FILE_POSITIONS - 1:012}.{ending}"
        if self.apart:
            return f"{self.name}/{self.apart}={part}/{self.name}.{ending}"
        return f"{self.name}.{ending}"


EQUITY: Final = "equity"
"""The name of the table whose rows are followed from one to the next, not asked of its view."""

_EVENT_COLUMNS: Final[dict[str, tuple[ColumnType, str]]] = {
    "position": ("bigint", "position in the log"),
    "type": ("text", "type of the event, such as OrderPlaced"),
    "version": ("smallint", "version of the type"),
    "time": ("timestamp with time zone", "when it happened"),
    "command_id": ("text", "id of the command that it follows from"),
    "digest": ("text", "hash of that command, on its first event; else null"),
    "stream": ("text", "stream of its market, account, story or partition"),
    "stream_version": ("bigint", "its number in that stream, from 1"),
    "market_id": ("text", "id of the market; null when it names none"),
    "account_id": ("text", "id of the account; null when it names none"),
    "order_id": ("text", "id of the order; null when it names none"),
    "data": ("json", "its own fields, as `GET /v1/schemas` describes them"),
}

_GROWING: Final[dict[str, tuple[str, ...]]] = {
    "trades": ("position", "number"),
    "ticks": ("market_id", "position", "outcome"),
    "ledger": ("position",),
    "equity": ("position",),
    "settlements": ("position", "account_id", "outcome"),
}

_STATES: Final[dict[str, tuple[str, ...]]] = {
    "markets": ("market_id",),
    "odds": ("market_id", "place"),
    "stories": ("story_id",),
    "accounts": ("account_id",),
    "positions": ("account_id", "market_id", "outcome"),
    "profits": ("account_id", "category"),
    "daily_profits": ("day", "account_id", "category"),
    "forecasts": ("account_id", "category"),
    "candles": ("market_id", "time", "outcome"),
}

PERIODS: Final = ("1m", "1h", "1d")
"""The values of the column by which candles are cut into files."""

_GROUP_ROWS: Final = {"ticks": 2_048}
"""Small row groups where rows are sorted by market: a query for one market reads few of them."""


def _table(name: str, key: tuple[str, ...], *, grows: bool) -> ExportedTable:
    view = VIEWS[name]
    return ExportedTable(
        name=name,
        about=view.about,
        columns={column: declared.type for column, declared in view.columns.items()},  # type: ignore[misc]
        key=key,
        grows=grows,
        needs=needs_of_past(view),
        query=past_query(view),
        apart="period" if name == "candles" else None,
        group_rows=_GROUP_ROWS.get(name, 122_880),
    )


TABLES: Final[dict[str, ExportedTable]] = {
    EVENTS: ExportedTable(
        name=EVENTS,
        about="Every event of the log.",
        columns={name: kind for name, (kind, _) in _EVENT_COLUMNS.items()},
        key=("position",),
        grows=True,
        needs=(),
        partitioned=True,
    ),
    **{name: _table(name, key, grows=True) for name, key in _GROWING.items()},
    **{name: _table(name, key, grows=False) for name, key in _STATES.items()},
}
"""Every table, in the order in which they are written."""


def about_column(table: ExportedTable, column: str) -> str:
    """Return the description of a column."""
    return _EVENT_COLUMNS[column][1] if table.name == EVENTS else VIEWS[table.name].columns[column].about
