"""Tables -> a plan: every row is read before anything is done, and each bad one is told with its place.

What a row must have depends on the mapping (`ImportMapping`). The plan is a function of the files and of the mapping.
"""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from consumers.imports.cells import CellError, micros_of, number_of, scale_of, time_reader
from consumers.imports.columns import CellReader, locate
from consumers.imports.plan import ImportedMarket, ImportedTrade, ImportPlan, RowNumber, Said
from consumers.imports.tables import TableError, open_table
from domain.market import SUBSIDY_MAX, SUBSIDY_MIN
from domain.money import format_decimal
from messages.wire import TIME_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal
    from pathlib import Path

    from consumers.imports.mapping import ImportMapping
    from domain.money import Time

FORMAT: Final = b"1"
"""The version of what an import makes of a table: it is part of the digest, so no import goes on with another's log."""

_MARKET_TEXTS: Final = ("question", "story", "category", "outcomes", "close_time", "subsidy")
_RESOLUTION_TEXTS: Final = ("resolution", "resolution_time")
_SIGNS: Final = frozenset({"sale", "ignore"})


def read_plan(files: Sequence[Path], mapping: ImportMapping, *, now: Time, markets: Path | None = None) -> ImportPlan:
    """Read all trades of the files, and what the file `markets` says about their markets; nothing happened after `now`.

    Bad rows are in the plan, and are not among its trades. Raises TableError for a file that cannot be read or lacks a
    column, CellError for a mapping with an impossible value, and OSError.
    """
    digest = blake2b(FORMAT + repr(mapping).encode(), digest_size=8)
    for file in (*files, *([markets] if markets else [])):
        digest.update(_digest_of(file))
    names = [file.name for file in (*files, *([markets] if markets else []))]
    plan = ImportPlan(mapping, names, digest.hexdigest())
    reader = _TradeReader(plan, now)
    for number, file in enumerate(files, 1):
        reader.read(file, number)
    plan.trades.sort()
    if markets is not None:
        reader.read_markets(markets, len(names))
    reader.finish()
    return plan


def _digest_of(file: Path) -> bytes:
    digest = blake2b(digest_size=16)
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.digest()


class _TradeReader:
    """Reads rows into a plan."""

    def __init__(self, plan: ImportPlan, now: Time) -> None:
        mapping = plan.mapping
        amounts = mapping.amounts
        self._plan = plan
        self._mapping = mapping
        self._time = time_reader(mapping.times.format, mapping.times.zone, now)
        self._any_time = time_reader(mapping.times.format, mapping.times.zone, TIME_MAX)
        self._scales: dict[str, Decimal] = {
            name: scale_of(getattr(amounts, name), name) for name in ("shares", "credits", "price")
        }
        self._scales["amount"] = self._scales[amounts.unit]
        self._sides = {word.casefold(): True for word in mapping.sides.sell}
        self._sides |= {word.casefold(): False for word in mapping.sides.buy}
        self._words = {word.casefold(): name for word, name in mapping.outcomes.words.items()}
        self._accounts: dict[str, int] = {}
        self._markets: dict[str, int] = {}
        self._outcomes: dict[tuple[int, str], int] = {}
        self._ids: dict[str, int] = {}
        self._cells = CellReader({})
        self._field = ""
        self._negative = ""

    # --- trades

    def read(self, path: Path, file: int) -> None:
        """Add the trades of a file to the plan."""
        table = open_table(path, self._mapping.file)
        self._cells = locate(table.columns, self._mapping.columns, path.name, required=("time", "market"))
        self._negative = self._mapping.amounts.negative or ("refuse" if self._cells.has("side") else "sale")
        only, skip = _filters(self._mapping, table.columns, path.name)
        facts = [name for name in (*_MARKET_TEXTS, *_RESOLUTION_TEXTS) if self._cells.has(name)]
        plan = self._plan
        for row, cells, problem in table.rows:
            place = RowNumber(file, row)
            if problem:
                plan.refuse(place, "", problem)
                continue
            if any(cells[at].strip() not in texts for at, texts in only) or any(
                cells[at].strip() in texts for at, texts in skip
            ):
                plan.filtered += 1
                continue
            try:
                trade = self._trade(place, cells, facts)
            except CellError as error:
                plan.refuse(place, self._cells.label(self._field), str(error))
                continue
            if trade is None:
                plan.duplicates += 1
            else:
                plan.trades.append(trade)

    def _trade(self, place: RowNumber, cells: Sequence[str], facts: Sequence[str]) -> ImportedTrade | None:
        """Return the trade of a row, None where the row stands twice. Raises CellError; `_field` says for which field."""
        get = self._cells.get
        self._field = "time"
        time = self._time(get("time", cells))
        self._field = "side"
        side = get("side", cells)
        sells = None
        if self._cells.has("side"):
            sells = self._sides.get(side.casefold())
            if sells is None:
                raise CellError(
                    f"must be a word for buy or sell, not {side!r}; sides.buy and sides.sell name the words"
                )
        sells, shares, spend = self._amounts(cells, sells=sells)
        self._field = "market"
        number = self._market(get("market", cells), place)
        market = self._plan.markets[number]
        outcome = self._outcome(number, market, cells)
        if sells and self._mapping.amounts.sales == "other-outcome":
            sells, outcome = False, self._other(market, outcome)
        self._field = "account"
        account = self._account(cells, market, outcome)
        self._field = "id"
        if (row_id := get("id", cells)) and self._is_duplicate(row_id, cells):
            return None
        for name in facts:
            self._say(market, name, get(name, cells), place)
        return ImportedTrade(time, place, account, number, outcome, sells, shares, spend)

    def _amounts(self, cells: Sequence[str], *, sells: bool | None) -> tuple[bool, int, int]:
        """Return whether a trade sells, and its shares or what it spends."""
        forms = self._mapping.amounts
        found = {name: self._number(name, cells) for name in ("shares", "credits", "price")}
        places = {name: name for name in found}
        if (amount := self._number("amount", cells)) is not None:
            found[forms.unit], places[forms.unit] = amount, "amount"
        shares, spend = found["shares"], found["credits"]
        first = "shares" if shares is not None else "credits"
        self._field = places[first] if self._cells.has(places[first]) else "amount"
        main = found[first]
        if main is None:
            raise CellError("must be given: a trade has shares or credits")
        if main < 0:
            if self._negative not in _SIGNS:
                raise CellError("must not be negative; amounts.negative says what that means")
            sells = bool(sells) if self._negative == "ignore" else True
        if not sells and spend is not None and (shares is None or forms.buys == "credits"):
            self._field = places["credits"]
            return False, 0, micros_of(abs(spend))
        if shares is None:
            assert spend is not None, "one of the two is given"
            if not found["price"]:
                raise CellError("alone is not enough for a sale: it needs shares, or a price")
            shares = spend / found["price"]
        return bool(sells), micros_of(abs(shares)), 0

    def _number(self, name: str, cells: Sequence[str]) -> Decimal | None:
        self._field = name
        text = self._cells.get(name, cells)
        return number_of(text, self._scales[name]) if text else None

    def _market(self, key: str, place: RowNumber) -> int:
        found = self._markets.get(key)
        if found is not None:
            return found
        if not key:
            raise CellError("must be given")
        market = ImportedMarket(key, place)
        for name in self._mapping.outcomes.names or ([] if self._cells.has("outcome") else ["Yes", "No"]):
            self._field = "outcome"
            market.outcome(name)
        market.closed = bool(market.names)
        number = self._markets[key] = len(self._plan.markets)
        self._plan.markets.append(market)
        return number

    def _outcome(self, number: int, market: ImportedMarket, cells: Sequence[str]) -> int:
        self._field = "outcome"
        if not self._cells.has("outcome"):
            return 0
        text = self._cells.get("outcome", cells)
        found = self._outcomes.get((number, text))
        if found is None:
            if not text:
                raise CellError("must be given")
            found = self._outcomes[number, text] = market.outcome(self._words.get(text.casefold(), text))
        return found

    @staticmethod
    def _other(market: ImportedMarket, outcome: int) -> int:
        """Return the other outcome of a market of two."""
        names = market.outcomes()
        if len(names) != 2 or not (market.closed or names == ("Yes", "No")):
            raise CellError("has no other outcome to buy: outcomes.names must name two, where sales buy the other one")
        return market.outcome(names[1] if market.is_first(outcome) else names[0])

    def _account(self, cells: Sequence[str], market: ImportedMarket, outcome: int) -> int:
        if self._cells.has("account"):
            text = self._cells.get("account", cells)
            if not text:
                raise CellError("must be given")
        else:
            text = self._mapping.accounts.nobody[0 if market.is_first(outcome) else 1]
        found = self._accounts.get(text)
        if found is None:
            found = self._accounts[text] = len(self._plan.accounts)
            self._plan.accounts.append(text)
        return found

    def _is_duplicate(self, row_id: str, cells: Sequence[str]) -> bool:
        """Return whether the same row came before. Raises CellError when another row has its id."""
        row = int.from_bytes(blake2b("\0".join(cells).encode(errors="replace"), digest_size=8).digest())
        if row_id not in self._ids:
            self._ids[row_id] = row
            return False
        if self._ids[row_id] != row:
            raise CellError(f"is {row_id!r}, as in an earlier row that has other cells")
        return True

    # --- what the tables say about markets

    def _say(self, market: ImportedMarket, name: str, text: str, place: RowNumber) -> None:
        """Note what a row says about its market. The first row that says anything counts; resolutions must agree."""
        said = market.said.get(name)
        if said is None:
            if text:
                market.said[name] = Said(text, place)
        elif name == "resolution" and text and text != said.text:
            self._field = name
            raise CellError(f"is {text!r}, and was {said.text!r} in row {said.place.row}")

    def read_markets(self, path: Path, file: int) -> None:
        """Add to the markets what a table of markets says about them. Of two rows of a market, the later one counts."""
        table = open_table(path, self._mapping.file)
        self._cells = locate(table.columns, self._mapping.markets.columns, path.name, required=("market",))
        names = [name for name in (*_MARKET_TEXTS, *_RESOLUTION_TEXTS) if self._cells.has(name)]
        for row, cells, problem in table.rows:
            place = RowNumber(file, row)
            if problem:
                self._plan.refuse(place, "", problem)
                continue
            number = self._markets.get(self._cells.get("market", cells))
            if number is None:
                continue  # nobody traded it
            market = self._plan.markets[number]
            for name in names:
                if text := self._cells.get(name, cells):
                    market.said[name] = Said(text, place)

    def finish(self) -> None:
        """Make outcomes, times, subsidies and resolutions of what the tables say about the markets."""
        for market in self._plan.markets:
            for name, use in (
                ("outcomes", self._use_outcomes),
                ("close_time", self._use_close_time),
                ("subsidy", self._use_subsidy),
                ("resolution", self._use_resolution),
                ("resolution_time", self._use_resolution_time),
            ):
                said = market.said.get(name)
                if said is None and name != "subsidy":
                    continue
                try:
                    use(market, said.text if said else self._mapping.markets.subsidy)
                except CellError as error:
                    self._plan.refuse(said.place if said else market.place, name, str(error))

    def _use_outcomes(self, market: ImportedMarket, text: str) -> None:
        names = [name.strip() for name in _listed(text)]
        market.declared = [market.outcome(self._words.get(name.casefold(), name)) for name in names if name]

    def _use_close_time(self, market: ImportedMarket, text: str) -> None:
        market.close_time = self._any_time(text)

    def _use_subsidy(self, market: ImportedMarket, text: str) -> None:
        market.subsidy = micros_of(number_of(text, scale_of("1", "credits")))
        if not SUBSIDY_MIN <= market.subsidy <= SUBSIDY_MAX:
            raise CellError(f"must be {format_decimal(SUBSIDY_MIN)} to {format_decimal(SUBSIDY_MAX)}")

    def _use_resolution(self, market: ImportedMarket, text: str) -> None:
        resolutions = self._mapping.resolutions
        word = text.casefold()
        if word in {each.casefold() for each in resolutions.open}:
            return
        if word in {each.casefold() for each in resolutions.void}:
            market.voided = True
            return
        named = {each.casefold(): name for each, name in resolutions.words.items()}
        market.resolved = market.outcome(named.get(word) or self._words.get(word, text))

    def _use_resolution_time(self, market: ImportedMarket, text: str) -> None:
        market.resolution_time = self._time(text)


def _listed(text: str) -> list[str]:
    """Return the items of a JSON array, or of a text with semicolons or commas between them."""
    if text.startswith("["):
        with suppress(ValueError):
            found = json.loads(text)
            return [str(each) for each in found]
    return text.split(";" if ";" in text else ",")


def _filters(
    mapping: ImportMapping, columns: Sequence[str], file: str
) -> tuple[list[tuple[int, frozenset[str]]], list[tuple[int, frozenset[str]]]]:
    """Return `rows.only` and `rows.skip` by the places of their columns."""

    def places(wanted: dict[str, list[str]], what: str) -> list[tuple[int, frozenset[str]]]:
        if missing := [name for name in wanted if name not in columns]:
            raise TableError(f"{file} has no column {missing[0]!r} ({what}); it has {', '.join(columns)}")
        return [(columns.index(name), frozenset(texts)) for name, texts in wanted.items()]

    return places(mapping.rows.only, "rows.only"), places(mapping.rows.skip, "rows.skip")
