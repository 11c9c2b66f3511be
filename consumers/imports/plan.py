"""What an import is going to do: the trades of a table in the order of their times, and the accounts and markets in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from consumers.imports.cells import CellError
from domain.market import OUTCOMES_MAX
from messages.fields import InvalidCommand
from messages.name_fields import NAME
from messages.names import name_key

if TYPE_CHECKING:
    from consumers.imports.mapping import ImportMapping
    from domain.money import Credits, Shares, Time

BAD_ROWS_KEPT: Final = 100
"""The most bad rows that a plan describes; it counts all of them."""

_CANONICAL: Final = {"yes": "Yes", "no": "No"}


class RowNumber(NamedTuple):
    """A row of one of the files of an import; files count from 1."""

    file: int
    row: int


class BadRow(NamedTuple):
    """What is wrong with a row, and in which column of its file; `column` is empty where the whole row is meant."""

    file: str
    row: int
    column: str
    problem: str

    def __str__(self) -> str:
        where = f"{self.file}, row {self.row}"
        return f"{where}, {self.column} {self.problem}" if self.column else f"{where} {self.problem}"


class ImportedTrade(NamedTuple):
    """A trade: who did what when. One of `shares` and `credits` is 0; a sale has shares."""

    time: Time
    place: RowNumber
    account: int
    market: int
    outcome: int
    sells: bool
    shares: Shares
    credits: Credits


class Said(NamedTuple):
    """A text that a row has about its market."""

    text: str
    place: RowNumber


@dataclass(slots=True)
class ImportedMarket:
    """A market of the table: its outcomes, and what the table says about it.

    `names` are the outcomes in the order in which they were mentioned, `closed` says that there are no others.
    """

    key: str
    place: RowNumber
    names: list[str] = field(default_factory=list)
    closed: bool = False
    declared: list[int] = field(default_factory=list)
    """The outcomes that the table lists, in its order, by their places in `names`."""
    said: dict[str, Said] = field(default_factory=dict)
    close_time: Time | None = None
    resolution_time: Time | None = None
    resolved: int | None = None
    """The outcome that came true, by its place in `names`."""
    voided: bool = False
    subsidy: Credits = 0
    _by_key: dict[str, int] = field(default_factory=dict)

    def outcome(self, text: str) -> int:
        """Return the place of an outcome in `names`, under any spelling of its name. Raises CellError."""
        key = name_key(text)
        found = self._by_key.get(key)
        if found is not None:
            return found
        if self.closed:
            raise CellError(f"is {text!r}, none of the outcomes: {', '.join(self.names)}")
        if len(self.names) == OUTCOMES_MAX:
            raise CellError(f"is {text!r}, one outcome more than the {OUTCOMES_MAX} that a market may have")
        name = _CANONICAL.get(key, text)
        try:
            NAME.check(name, "")
        except InvalidCommand as error:
            raise CellError(str(error).strip()) from None
        self._by_key[key] = len(self.names)
        self.names.append(name)
        return len(self.names) - 1

    def outcomes(self) -> tuple[str, ...]:
        """Return the outcomes of the market to open, two at least; those of a yes-no question in this order."""
        if set(self._by_key) <= set(_CANONICAL):
            return tuple(_CANONICAL.values())
        if len(self.names) == 1:
            return (self.names[0], f"Not {self.names[0]}"[:100])
        order = dict.fromkeys((*self.declared, *range(len(self.names))))
        return tuple(self.names[place] for place in order)

    def is_first(self, outcome: int) -> bool:
        """Return whether an outcome, by its place in `names`, is Yes, or the first that was mentioned of others."""
        return self.names[outcome] == "Yes" or (outcome == 0 and self.names[0] != "No")


@dataclass(slots=True)
class ImportPlan:
    """The trades, sorted by time and place; accounts by their names in the table; markets by their first mention."""

    mapping: ImportMapping
    files: list[str]
    digest: str
    """Tells this import from every other: a hash of the files and of the mapping."""
    trades: list[ImportedTrade] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    markets: list[ImportedMarket] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    bad_count: int = 0
    filtered: int = 0
    duplicates: int = 0

    def refuse(self, place: RowNumber, column: str, problem: str) -> None:
        """Note that a row is bad."""
        self.bad_count += 1
        if len(self.bad) < BAD_ROWS_KEPT:
            self.bad.append(BadRow(self.files[place.file - 1], place.row, column, problem))
