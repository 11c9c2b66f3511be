"""The mapping of an import: which column of a table is which, in what units, and what the table leaves open.

It is a TOML file; `docs/imports.md` shows every line of it. Without one, the columns have the names of the fields below.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Names = str | list[str] | None
"""A column, several whose texts are joined by a hyphen, or None: the column with the name of the field, if there is one."""

_BUY: Final = ("buy", "b", "bid", "bought", "long")
_SELL: Final = ("sell", "s", "ask", "sold", "short")
_NOBODY: Final = ("Takers of the first outcome", "Takers of other outcomes")


class MappingError(ValueError):
    """The mapping is not TOML, or has a field or a value that does not exist."""


class ColumnNames(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The columns of a trade, and of what it says about its market."""

    time: Names = None
    account: Names = None
    market: Names = None
    outcome: Names = None
    side: Names = None
    amount: Names = None
    shares: Names = None
    credits: Names = None
    price: Names = None
    id: Names = None
    question: Names = None
    story: Names = None
    category: Names = None
    outcomes: Names = None
    close_time: Names = None
    subsidy: Names = None
    resolution: Names = None
    resolution_time: Names = None

    def named(self) -> Iterator[tuple[str, list[str] | None]]:
        """Yield each field and the columns that it names, None if it names none."""
        for field in self.__struct_fields__:
            names = getattr(self, field)
            yield field, [names] if isinstance(names, str) else names


class AmountForms(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What the numbers count. `shares`, `credits` and `price` are what 1 in the table is worth: "0.01" for cents."""

    unit: Literal["shares", "credits"] = "shares"
    shares: str = "1"
    credits: str = "1"
    price: str = "1"
    buys: Literal["shares", "credits"] = "shares"
    negative: Literal["sale", "refuse", "ignore"] | None = None
    sales: Literal["as-recorded", "held", "other-outcome"] = "as-recorded"


class TimeForms(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The form of the times: auto, iso, s, ms, us, ns, or a pattern of `strptime`; `zone` is that of times without one."""

    format: str = "auto"
    zone: str = "UTC"


class OutcomeNames(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The outcomes of markets that name none of their own; without `names`, those that the trades of a market name."""

    names: list[str] = []
    words: dict[str, str] = {}


class SideWords(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The words for the two sides, in lower or upper case."""

    buy: tuple[str, ...] = _BUY
    sell: tuple[str, ...] = _SELL


class AccountFunds(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What accounts get: `funds` when opened, and with `top_up` more whenever a trade might need more.

    `nobody` are the two accounts of trades without an account: buyers of the first outcome, and of any other.
    """

    funds: str = "1000"
    top_up: bool = True
    nobody: tuple[str, str] = _NOBODY


class MarketDefaults(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The terms of markets that have none of their own."""

    subsidy: str = "500"
    fee_rate: str = "0"
    category: str = "Imported"
    columns: ColumnNames = ColumnNames()


class ResolutionWords(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What stands in the column of resolutions: words for outcomes, words that void a market, words for "not yet"."""

    words: dict[str, str] = {}
    void: tuple[str, ...] = ("void", "cancel", "canceled", "cancelled", "n/a")
    open: tuple[str, ...] = ()


class RowFilter(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which rows count: those with one of these texts in each column of `only`, and none of those in `skip`."""

    only: dict[str, list[str]] = {}
    skip: dict[str, list[str]] = {}


class FileForm(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The form of CSV files."""

    delimiter: str = ","
    encoding: str = "utf-8-sig"


class ImportMapping(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A whole mapping. Everything has a default."""

    columns: ColumnNames = ColumnNames()
    amounts: AmountForms = AmountForms()
    times: TimeForms = TimeForms()
    outcomes: OutcomeNames = OutcomeNames()
    sides: SideWords = SideWords()
    accounts: AccountFunds = AccountFunds()
    markets: MarketDefaults = MarketDefaults()
    resolutions: ResolutionWords = ResolutionWords()
    rows: RowFilter = RowFilter()
    file: FileForm = FileForm()


def read_mapping(path: Path) -> ImportMapping:
    """Return the mapping of a file. Raises MappingError, with a message for people, and OSError."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise MappingError("the file is not TOML in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"the file is not TOML: {error}") from None
    try:
        mapping = msgspec.convert(values, ImportMapping)
    except msgspec.ValidationError as error:
        raise MappingError(str(error)) from None
    if len(mapping.file.delimiter) != 1:
        raise MappingError("file.delimiter must be one character")
    return mapping
