"""Rows of tables: what each form of a cell means, and every bad row told with its place before anything is done."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import duckdb
import pytest

from consumers.imports.cells import CellError
from consumers.imports.history import ImportHistory
from consumers.imports.mapping import (
    AccountFunds,
    AmountForms,
    ColumnNames,
    FileForm,
    ImportMapping,
    MappingError,
    OutcomeNames,
    ResolutionWords,
    RowFilter,
    TimeForms,
    read_mapping,
)
from consumers.imports.tables import TableError
from messages.wire import format_time
from tests.consumers.imports.tables import HEADER, ROWS, plan_of, write

if TYPE_CHECKING:
    from pathlib import Path

    from consumers.imports.plan import ImportPlan

GOOD = dict(zip(HEADER, ROWS[0], strict=True))


def one(tmp_path: Path, mapping: ImportMapping | None = None, **cells: str) -> ImportPlan:
    """Return the plan of a table of one row, good but for these cells."""
    row = GOOD | cells
    return plan_of(write(tmp_path / "t.csv", [list(row.values())], list(row)), mapping)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"time": "yesterday"}, "t.csv, row 2, time must be an ISO 8601 time"),
        ({"time": ""}, "t.csv, row 2, time must be an ISO 8601 time"),
        ({"time": "20240301"}, "t.csv, row 2, time is a number of unknown unit; times.format names it: s, ms, us or ns"),
        ({"time": "1969-12-31T23:59:59Z"}, "t.csv, row 2, time must be a time from 1970 on"),
        ({"time": "2031-01-01"}, "row 2, time is in the future (2031-01-01T00:00:00.000000Z)"),
        ({"account": " "}, "t.csv, row 2, account must be given"),
        ({"market": ""}, "t.csv, row 2, market must be given"),
        ({"outcome": ""}, "t.csv, row 2, outcome must be given"),
        ({"outcome": "a\u202eb"}, "t.csv, row 2, outcome must be one line of text"),
        ({"side": "hold"}, "t.csv, row 2, side must be a word for buy or sell, not 'hold'"),
        ({"amount": "ten"}, "t.csv, row 2, amount must be a decimal number"),
        ({"amount": "NaN"}, "t.csv, row 2, amount must be a decimal number"),
        ({"amount": "1,000"}, "t.csv, row 2, amount must be a decimal number"),
        ({"amount": ""}, "t.csv, row 2, amount must be given: a trade has shares or credits"),
        ({"amount": "0"}, "t.csv, row 2, amount must be above 0"),
        ({"amount": "0.0000001"}, "t.csv, row 2, amount must be at least 0.000001"),
        ({"amount": "-1"}, "t.csv, row 2, amount must not be negative"),
        ({"amount": "1000000001"}, "t.csv, row 2, amount must be at most 1000000000.000000"),
        ({"amount": "1e999999999"}, "t.csv, row 2, amount must be"),
        ({"subsidy": "0.5"}, "t.csv, row 2, subsidy must be 1.000000 to 10000000.000000"),
        ({"close_time": "never"}, "t.csv, row 2, close_time must be an ISO 8601 time"),
        ({"question": "?" * 501}, "row 2 makes a market that cannot be: markets[0].question must have 1 to 500 characters"),
        ({"shares": "", "credits": "5", "amount": "", "side": "sell"}, "row 2, credits alone is not enough for a sale"),
    ],
)  # fmt: skip
def test_bad_cells_are_told(tmp_path: Path, cells: dict[str, str], message: str) -> None:
    """With file, row, column and limit. A bad row is not among the trades."""
    plan = one(tmp_path, **cells)

    assert plan.bad_count == 1
    assert message in str(plan.bad[0])


def test_all_bad_rows_are_told_and_the_good_ones_stay(tmp_path: Path) -> None:
    """One run finds all of them; a row of another width is bad too."""
    plan = plan_of(write(tmp_path / "t.csv", [ROWS[0], ("x",), ROWS[1], (*ROWS[2][:5], "-"), ROWS[3]]))

    assert [bad.row for bad in plan.bad] == [3, 5]
    assert [trade.place.row for trade in plan.trades] == [2, 4, 6]


@pytest.mark.parametrize(
    ("text", "form", "zone", "time"),
    [
        ("1709287200", "auto", "UTC", "2024-03-01T10:00:00.000000Z"),
        ("1709287200.25", "auto", "UTC", "2024-03-01T10:00:00.250000Z"),
        ("1709287200123", "auto", "UTC", "2024-03-01T10:00:00.123000Z"),
        ("1709287200123456789", "auto", "UTC", "2024-03-01T10:00:00.123456Z"),
        ("2024-03-01 10:00:00.5", "auto", "America/New_York", "2024-03-01T15:00:00.500000Z"),
        ("2024-03-01T10:00:00+02:00", "auto", "America/New_York", "2024-03-01T08:00:00.000000Z"),
        ("2024-03-01", "iso", "UTC", "2024-03-01T00:00:00.000000Z"),
        ("86400", "s", "UTC", "1970-01-02T00:00:00.000000Z"),
        ("01/03/2024 10:00", "%d/%m/%Y %H:%M", "UTC", "2024-03-01T10:00:00.000000Z"),
    ],
)  # fmt: skip
def test_forms_of_times(tmp_path: Path, text: str, form: str, zone: str, time: str) -> None:
    """A number by its digits or its unit, ISO 8601 with or without an offset, a pattern."""
    plan = one(tmp_path, ImportMapping(times=TimeForms(form, zone)), time=text)

    assert [format_time(trade.time) for trade in plan.trades] == [time]


def test_units_and_signs(tmp_path: Path) -> None:
    """Cents, micro-units, and a negative amount that is a sale or means nothing."""

    def first(mapping: AmountForms, **cells: str) -> tuple[bool, int, int]:
        row = {name: text for name, text in GOOD.items() if name not in {"side", "amount"}} | cells
        plan = plan_of(write(tmp_path / "t.csv", [list(row.values())], list(row)), ImportMapping(amounts=mapping))
        (trade,) = plan.trades
        return trade.sells, trade.shares, trade.credits

    assert first(AmountForms(), shares="2.5") == (False, 2_500_000, 0)
    assert first(AmountForms(), shares="-2.5") == (True, 2_500_000, 0)
    assert first(AmountForms(negative="ignore"), shares="-2.5", side="buy") == (False, 2_500_000, 0)
    assert first(AmountForms(shares="0.000001"), shares="7") == (False, 7, 0)
    assert first(AmountForms(unit="credits", credits="0.01"), amount="150") == (False, 0, 1_500_000)
    assert first(AmountForms(), shares="3", credits="2") == (False, 3_000_000, 0)
    assert first(AmountForms(buys="credits"), shares="3", credits="2") == (False, 0, 2_000_000)
    assert first(AmountForms(price="0.01"), credits="-2", price="50") == (True, 4_000_000, 0)
    assert first(AmountForms(), shares="0.0000015") == (False, 2, 0), "half even"


def test_a_column_that_another_field_names_is_not_a_field_too(tmp_path: Path) -> None:
    """Credits that stand in a column called amount are not shares as well."""
    header = ("time", "account", "market", "outcome", "shares", "amount")
    mapping = ImportMapping(columns=ColumnNames(credits="amount"), amounts=AmountForms(buys="credits"))
    rows = [(*ROWS[0][:4], "37.4", "20"), (*ROWS[1][:4], "-18.2", "-9.7")]

    trades = plan_of(write(tmp_path / "t.csv", rows, header), mapping).trades

    assert [(each.sells, each.shares, each.credits) for each in trades] == [
        (False, 0, 20_000_000), (True, 18_200_000, 0),
    ]  # fmt: skip


def test_trades_without_accounts_have_two(tmp_path: Path) -> None:
    """As on Kalshi, which tells the taker's side and cents, and no account: one account takes Yes, the other No."""
    rows = [("KX-1", 10, 65, 35, "yes", "2024-03-01T10:00:00Z"), ("KX-1", 2, 64, 36, "no", "2024-03-01T10:01:00Z")]
    header = ("ticker", "count", "yes_price", "no_price", "taker_side", "created_time")
    mapping = ImportMapping(
        columns=ColumnNames(time="created_time", market="ticker", outcome="taker_side", shares="count"),
        accounts=AccountFunds(nobody=("Yes takers", "No takers")),
    )
    plan = plan_of(write(tmp_path / "t.csv", rows, header), mapping)

    assert plan.accounts == ["Yes takers", "No takers"]
    assert [(trade.account, trade.shares) for trade in plan.trades] == [(0, 10_000_000), (1, 2_000_000)]
    assert plan.markets[0].outcomes() == ("Yes", "No")


def test_outcomes_are_those_of_the_mapping_or_those_that_are_mentioned(tmp_path: Path) -> None:
    """One outcome that is mentioned alone gets an opposite; case does not tell outcomes apart; a wrong one is told."""

    def outcomes(mentioned: list[str], mapping: ImportMapping | None = None) -> tuple[str, ...]:
        rows = [("2024-03-01", "ann", "m", name, "buy", "1") for name in mentioned]
        plan = plan_of(write(tmp_path / "t.csv", rows), mapping)
        return () if plan.bad else plan.markets[0].outcomes()

    assert outcomes(["no", "NO"]) == ("Yes", "No")
    assert outcomes(["Up", "Down", "UP"]) == ("Up", "Down")
    assert outcomes(["Trump"]) == ("Trump", "Not Trump")
    assert outcomes(["1", "0"], ImportMapping(outcomes=OutcomeNames(words={"0": "Yes", "1": "No"}))) == ("Yes", "No")
    assert outcomes(["B"], ImportMapping(outcomes=OutcomeNames(names=["A", "B", "C"]))) == ("A", "B", "C")
    assert outcomes(["D"], ImportMapping(outcomes=OutcomeNames(names=["A", "B", "C"]))) == ()
    assert outcomes([f"o{number}" for number in range(65)]) == ()


def test_filters_and_duplicates(tmp_path: Path) -> None:
    """Rows are chosen by texts; a row that stands twice counts once if the table has ids, and two rows of one id are told."""
    rows = [(*ROWS[0], "a"), (*ROWS[0], "a"), (*ROWS[1], "b"), (*ROWS[2], "b"), (*ROWS[3], "c")]
    mapping = ImportMapping(rows=RowFilter(skip={"market": ["snow"]}))
    plan = plan_of(write(tmp_path / "t.csv", rows, (*HEADER, "id")), mapping)

    assert (len(plan.trades), plan.duplicates, plan.filtered) == (2, 1, 1)
    assert "row 5, id is 'b', as in an earlier row that has other cells" in str(plan.bad[0])
    assert len(plan_of(write(tmp_path / "t.csv", [ROWS[0], ROWS[0]])).trades) == 2


def test_names_that_no_account_may_have(tmp_path: Path) -> None:
    """They are replaced, as are names too much like another; the trades stay with their accounts."""
    rows = [("2024-03-01", name, "m", "Yes", "buy", "1") for name in ("Ann", "ANN", "x" * 101, "ann", "Ann")]
    plan = plan_of(write(tmp_path / "t.csv", rows))
    history = ImportHistory(plan)

    assert plan.bad == []
    assert len(set(history.names)) == 4
    assert (history.names[0], history.renamed) == ("Ann", 3)


def test_resolutions_of_one_market_agree(tmp_path: Path) -> None:
    """Two rows that say different things are told; a word may mean an outcome, a void, or that nothing is known yet."""
    rows = [(*ROWS[0], "Yes"), (*ROWS[1], "No")]
    assert "resolution is 'No', and was 'Yes' in row 2" in str(
        plan_of(write(tmp_path / "t.csv", rows, (*HEADER, "resolution"))).bad[0]
    )
    mapping = ImportMapping(resolutions=ResolutionWords(words={"1": "Yes"}, open=("MKT",)))
    assert one(tmp_path, mapping, resolution="1").markets[0].resolved == 0
    assert one(tmp_path, mapping, resolution="MKT").markets[0].resolved is None
    assert one(tmp_path, mapping, resolution="Cancel").markets[0].voided
    assert "none of the outcomes" in str(
        one(tmp_path, ImportMapping(outcomes=OutcomeNames(names=["Yes", "No"])), resolution="Maybe").bad[0]
    )


@pytest.mark.parametrize("kind", ["csv.gz", "json", "jsonl", "parquet", "tsv"])
def test_all_forms_of_tables_are_one(tmp_path: Path, kind: str) -> None:
    """The same trades from CSV, gzip, JSON, JSON lines and Parquet; numbers keep their digits."""
    source = write(tmp_path / "t.csv", ROWS)
    expected = plan_of(source).trades
    path = tmp_path / f"t.{kind}"
    objects = [dict(zip(HEADER, [*row[:5], float(row[5])], strict=True)) for row in ROWS]
    match kind:
        case "csv.gz":
            path.write_bytes(gzip.compress(source.read_bytes()))
        case "json":
            path.write_text(json.dumps(objects))
        case "jsonl":
            path.write_text("\n".join(map(json.dumps, objects)))
        case "tsv":
            path.write_text(source.read_text().replace(",", "\t"))
        case _:
            with duckdb.connect() as database:
                database.execute(f"COPY (FROM read_csv('{source}')) TO '{path}' (FORMAT parquet)")
    mapping = ImportMapping(file=FileForm(delimiter="\t")) if kind == "tsv" else None

    found = plan_of(path, mapping)

    assert found.bad == []
    assert [(trade.time, *trade[2:]) for trade in found.trades] == [(trade.time, *trade[2:]) for trade in expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("time,time\n", "row 1: two columns are called 'time'"),
        ("account,market\nx,y\n", "t.csv has no column 'time', and the mapping names none for it; it has account, market"),
        ('time,market\n"2024', "row 2: unexpected end of data"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    """The message says what is missing, and what is there."""
    path = tmp_path / "t.csv"
    path.write_text(text)

    with pytest.raises(TableError, match=message):
        plan_of(path)


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 20])
def test_an_array_is_read_object_by_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Wherever its blocks end: within a text, a number or a blank. What is no array is told with its place."""
    monkeypatch.setattr("consumers.imports.tables._BLOCK", block)
    path, objects = tmp_path / "t.json", [dict(zip(HEADER, row, strict=True)) for row in ROWS]
    for indent, blanks in ((None, ""), (2, "\n \t")):
        path.write_text(blanks + json.dumps(objects, indent=indent) + blanks)
        assert len(plan_of(path).trades) == len(ROWS)

    whole = json.dumps(objects)
    for text, message in (
        ("", "expected an array of objects"),
        ('{"a": 1}', "expected an array of objects"),
        (whole[:-1], "the array has no end: is the file whole"),
        (whole[:-9], rf"row {len(ROWS)} is not JSON: [^()]*$"),  # a place in a block is none in the file
        (whole.replace("}, {", "} {", 1), "the array has no end"),
        (whole + "x", "expected nothing behind the array"),
        ("[1]", "row 1 is not an object"),
        ("[,]", "row 1 is not JSON"),
    ):
        path.write_text(text)
        with pytest.raises(TableError, match=message):
            plan_of(path)


def test_what_a_mapping_cannot_say(tmp_path: Path) -> None:
    """Fields that do not exist, wrong types and impossible values are told by their place in the file."""

    def problem(text: str) -> str:
        path = tmp_path / "m.toml"
        path.write_text(text)
        with pytest.raises((MappingError, CellError, TableError)) as told:
            plan_of(write(tmp_path / "t.csv", ROWS), read_mapping(path))
        return str(told.value)

    assert "unknown field `tiem`" in problem('[columns]\ntiem = "x"')
    assert "`$.accounts.top_up`" in problem("[accounts]\ntop_up = 1")
    assert "not TOML" in problem("[columns")
    assert "one character" in problem('[file]\ndelimiter = ";;"')
    assert problem('[columns]\ntime = "when"').startswith(
        "t.csv has no column 'when' (columns.time); it has time, account"
    )
    assert problem('[columns]\naccount = "time"').startswith(
        "t.csv: the mapping names no column for 'time', and the column 'time' is already that of another field; it has time"
    )
    assert problem('[rows]\nonly = {x = ["1"]}').startswith("t.csv has no column 'x' (rows.only)")
    assert problem('[times]\nzone = "Mars/Olympus"') == "times.zone: there is no time zone 'Mars/Olympus'"
    assert problem('[times]\nformat = "seconds"').startswith(
        "times.format must be auto, iso, s, ms, us, ns or a pattern"
    )
    assert problem('[amounts]\nshares = "0"').startswith("amounts.shares must be a decimal number above 0")
    assert problem('[accounts]\nfunds = "2000000000"').startswith("accounts.funds must be at most 1000000000.000000")
