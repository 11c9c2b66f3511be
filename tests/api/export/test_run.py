"""Exports follow from the log alone: whenever they are made, in one run or many, as Parquet or JSON lines."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import polars as pl
import psycopg
import pytest

from api.export import snapshot
from api.export.errors import ExportRefusedError
from api.export.tables import TABLES
from domain.money import MICRO
from messages.events import public_event
from projections.dashboards.views import VIEWS
from projections.machine.known_log import LostEventsError
from projections.machine.store import CONNECT_OPTIONS, connect
from tests.api.export.exchange import exported, files, fill, tables
from tests.projections.simulation import Simulation, simulate

if TYPE_CHECKING:
    from pathlib import Path

    from domain.events import Recorded


def parquet_rows(folder: Path, table: str) -> list[dict[str, Any]]:
    """Return the rows of a table of Parquet in the order of its files, amounts and times as JSON lines have them."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = []
        for path in sorted(folder.rglob(f"{table}*.parquet")):
            found = connection.execute(f"SELECT {', '.join(TABLES[table].columns)} FROM read_parquet('{path}')")
            rows += [dict(zip(TABLES[table].columns, map(plain, row), strict=True)) for row in found.fetchall()]
    return rows


def plain(value: Any) -> Any:
    """Return a value of DuckDB as JSON lines have it."""
    if isinstance(value, Decimal):
        return str(value)
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if hasattr(value, "strftime") else value


def json_rows(folder: Path, table: str) -> list[dict[str, Any]]:
    """Return the rows of a table of JSON lines in the order of its files."""
    return [
        json.loads(line) for path in sorted(folder.rglob(f"{table}*.jsonl")) for line in path.read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def whole(dsn: str, log: list[Recorded], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The export of the whole log in both formats."""
    made = {name: tmp_path_factory.mktemp(name) for name in ("parquet", "jsonl")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.export.tables.FILE_POSITIONS", 500)
        for name, folder in made.items():
            report = exported(dsn, folder, format=name, verify=True)
            assert (report.problems, report.manifest.until) == ([], len(log))
    return made


@pytest.mark.parametrize("table", TABLES)
def test_json_lines_hold_what_parquet_holds(whole: dict[str, Path], table: str) -> None:
    """Row by row; the data of an event is the same text."""
    expected = json_rows(whole["jsonl"], table)
    for row in expected if table == "events" else ():
        row["data"] = json.dumps(row["data"], separators=(",", ":"), ensure_ascii=False)

    assert parquet_rows(whole["parquet"], table) == expected
    assert expected


def test_events_are_the_public_form(whole: dict[str, Path], log: list[Recorded]) -> None:
    """Each event of the log once, as `/v1/events` returns it, with the digest and what it is about."""
    found = json_rows(whole["jsonl"], "events")

    about = ("digest", "market_id", "account_id", "order_id")
    assert [{name: value for name, value in row.items() if name not in about} for row in found] == [
        msgspec.json.decode(msgspec.json.encode(public_event(recorded))) for recorded in log
    ]
    assert {row["market_id"] for row in found} > {"m0", "m1", None}


def test_sums_are_those_of_sql_duckdb_polars_and_python(whole: dict[str, Path], dsn: str) -> None:
    """Of every column of amounts, to the last micro-unit."""
    lines, parquet = whole["jsonl"], whole["parquet"]
    with psycopg.connect(dsn, **CONNECT_OPTIONS) as connection, duckdb.connect() as duck:
        for table in TABLES.values():
            frame = pl.scan_parquet(sorted(parquet.rglob(f"{table.name}*.parquet")), hive_partitioning=False)
            for column in table.amounts:
                values = [row[column] for row in json_rows(lines, table.name)]
                python = sum(int(value.replace(".", "")) for value in values if value is not None)
                in_sql = connection.execute(
                    f"SELECT coalesce(sum({column}), 0) FROM ({VIEWS[table.name].query}) q".encode()
                ).fetchone()
                in_duckdb = duck.execute(
                    f"SELECT coalesce(sum({column}), 0) FROM read_parquet('{parquet}/**/{table.name}*.parquet')"
                ).fetchall()
                in_polars = frame.select(pl.col(column).sum()).collect().item()
                sums = {int(value * MICRO) for value in (in_sql[0], in_duckdb[0][0], in_polars or 0)}
                assert sums == {python}, (table.name, column)


def test_equity_is_that_of_the_view(whole: dict[str, Path], dsn: str) -> None:
    """Row by row, although it is computed in another way; also where a file begins in the middle of the log."""
    with psycopg.connect(dsn, **CONNECT_OPTIONS) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        expected = connection.execute(
            f"SELECT * FROM ({VIEWS['equity'].query}) q ORDER BY position".encode()
        ).fetchall()

    found = [list(row.values()) for row in parquet_rows(whole["parquet"], "equity")]
    assert found == [[*map(plain, row)] for row in expected]


def test_the_ledger_sums_to_zero(whole: dict[str, Path]) -> None:
    """In every row."""
    with duckdb.connect() as duck:
        found = duck.execute(
            f"SELECT max(abs(cash+held+pool+fees+house+bonds+external)), count(*) FROM '{whole['parquet']}/ledger/*.parquet'"
        ).fetchall()
    assert found[0][0] == 0
    assert found[0][1] > 0


def test_an_earlier_end_is_the_export_of_a_shorter_log(
    dsn: str, database: str, log: list[Recorded], tmp_path: Path
) -> None:
    """Byte for byte, although the read models are further on."""
    until = len(log) * 2 // 3
    fill(database, log[:until])

    exported(dsn, tmp_path / "until", until_position=until)
    exported(database, tmp_path / "stopped")

    assert tables(tmp_path / "until") == tables(tmp_path / "stopped")


def test_a_time_is_the_last_position_at_it(dsn: str, log: list[Recorded], tmp_path: Path) -> None:
    """Events of the same microsecond are in, later ones are not."""
    for at in (1, len(log) // 2, len(log)):
        time = log[at - 1].time
        last = max(recorded.position for recorded in log if recorded.time <= time)
        found = exported(dsn, tmp_path / str(at), until_time=time, tables=["events"], format="jsonl")
        assert (found.manifest.until, len(json_rows(tmp_path / str(at), "events"))) == (last, last)
    assert exported(dsn, tmp_path / "before", until_time=0, format="jsonl").manifest.until == 0


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_going_on_gives_the_bytes_of_one_run(
    dsn: str, log: list[Recorded], whole: dict[str, Path], tmp_path: Path, file_format: str
) -> None:
    """Whole files are kept, the last ones are written anew, and a run that finds nothing new writes nothing."""
    exported(dsn, tmp_path, format=file_format, until_position=1_100)
    kept = tmp_path / TABLES["trades"].file_name(501, file_format)
    before = kept.stat()

    went_on = exported(dsn, tmp_path)
    idle = exported(dsn, tmp_path)

    assert files(tmp_path) == files(whole[file_format])
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert went_on.manifest.until == len(log)
    assert idle.written == []


def test_verify_finds_and_mends_a_file_that_was_changed(dsn: str, whole: dict[str, Path], tmp_path: Path) -> None:
    """A file of another size is written again in any case, one of the same size with `verify`."""
    exported(dsn, tmp_path)
    shorter, changed = tmp_path / "markets.parquet", tmp_path / "odds.parquet"
    data = bytearray(changed.read_bytes())
    data[len(data) // 2] ^= 1
    changed.write_bytes(data)
    shorter.write_bytes(b"")

    assert exported(dsn, tmp_path).written == ["markets.parquet"]
    assert exported(dsn, tmp_path, verify=True).written == ["odds.parquet"]
    assert files(tmp_path) == files(whole["parquet"])


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_verify_compares_control_sums(dsn: str, tmp_path: Path, file_format: str) -> None:
    """Whatever the hash says: a sum or a number of rows that is not the file's is told."""
    exported(dsn, tmp_path, format=file_format)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["name"].startswith("profits"):
            entry["sums"]["buys"] = "1.000000"
            entry["rows"] += 1
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    problems = exported(dsn, tmp_path, verify=True).problems

    assert problems is not None
    assert [problem.split(" and ")[0].rpartition(",")[0].split(" ", 3)[:3] for problem in problems] == [
        [f"profits.{file_format}", "has", problems[0].split()[2]],
        ["buys", "of", f"profits.{file_format}"],
    ]


def test_texts_survive(database: str, tmp_path: Path) -> None:
    r"""Quotes, newlines, tabs, backslashes, NULL's own `\N`, and what looks like SQL or JSON."""
    odd = [
        'say "it"\nor\r\n\tnot',
        "\\N",
        "\\",
        "a\\tb",
        "'; DROP",
        '{"a": 1}',
        "NULL",
        "",
        "ünï ✓ \U0001f4c8",
        "\\\\N\x0b\x08\x0c",
    ]
    simulation = Simulation(3)
    for number, text in enumerate(odd):
        simulation.send(simulation.odd_market(number, text))
    fill(database, simulation.log)

    for file_format, rows in (("parquet", parquet_rows), ("jsonl", json_rows)):
        exported(database, tmp_path / file_format, format=file_format, verify=True)
        found = {row["slug"]: row["question"] for row in rows(tmp_path / file_format, "markets")}
        assert {slug: text for slug, text in found.items() if slug.startswith("odd-")} == {
            f"odd-{number}": text for number, text in enumerate(odd)
        }


def test_some_markets_only(dsn: str, log: list[Recorded], tmp_path: Path) -> None:
    """Rows of these markets alone; tables that are not about markets are left out, and refused when they are asked for."""
    report = exported(dsn, tmp_path, markets=["slug-m1", "m0"])

    assert report.manifest.markets == ["m0", "m1"]
    assert set(report.manifest.tables) == {table.name for table in TABLES.values() if table.of_markets}
    for table in report.manifest.tables:
        assert {row["market_id"] for row in parquet_rows(tmp_path, table)} <= {"m0", "m1"}
    assert len(parquet_rows(tmp_path, "events")) == sum(
        getattr(recorded.event, "market_id", None) in {"m0", "m1"} for recorded in log
    )
    assert exported(dsn, tmp_path).written == []
    for options, said in (
        ({"markets": ["m2"]}, "other markets"),
        ({"markets": ["nowhere"]}, "no market nowhere"),
    ):
        with pytest.raises(ExportRefusedError, match=said):
            exported(dsn, tmp_path, **options)
    with pytest.raises(ExportRefusedError, match="accounts"):
        exported(dsn, tmp_path / "other", markets=["m0"], tables=["events", "accounts"])


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_an_empty_log(database: str, tmp_path: Path, file_format: str) -> None:
    """Every table has its file, without rows and with its columns; the export goes on when something happens."""
    report = exported(database, tmp_path / "empty", format=file_format, verify=True)

    assert (report.manifest.until, report.problems) == (0, [])
    assert {entry.table for entry in report.manifest.files} == set(TABLES)
    if file_format == "parquet":
        with duckdb.connect() as duck:
            names = duck.execute(f"SELECT * FROM '{tmp_path}/empty/ledger/*.parquet'").description
        assert [name for name, *_ in names] == list(TABLES["ledger"].columns)
    fill(database, simulate(5, 20))
    exported(database, tmp_path / "empty")
    exported(database, tmp_path / "new", format=file_format)
    assert files(tmp_path / "empty") == files(tmp_path / "new")


def test_an_export_of_something_else_is_refused(dsn: str, database: str, log: list[Recorded], tmp_path: Path) -> None:
    """Of another log, in another format, of other tables, or beyond the end that is asked for. Nothing is changed."""
    exported(dsn, tmp_path, format="jsonl", tables=["ledger", "stories"])
    before = files(tmp_path)
    fill(database, log[:50])

    for there, options, said in (
        (database, {}, "an export of the log"),
        (dsn, {"format": "parquet"}, "--format jsonl"),
        (dsn, {"tables": ["ledger"]}, "--what ledger,stories"),
        (dsn, {"until_position": 3}, "up to position"),
        (dsn, {"until_position": len(log) + 1}, "the log ends at"),
    ):
        with pytest.raises(ExportRefusedError, match=said):
            exported(there, tmp_path, **options)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text("{}")
    with pytest.raises(ExportRefusedError, match="is not a folder"):
        exported(dsn, tmp_path / "other" / "manifest.json")
    with pytest.raises(ExportRefusedError, match="not the manifest of an export"):
        exported(dsn, tmp_path / "other")
    assert {name: data for name, data in files(tmp_path).items() if not name.startswith("other")} == before


def test_no_mixture(database: str, log: list[Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export waits for read models that are behind, gives up where they stand still, and refuses those with holes."""
    monkeypatch.setattr(snapshot, "STILL_SECONDS", 0.3)
    fill(database, log[:300])
    with connect(database) as connection:
        connection.execute("UPDATE projection_positions SET position = 200 WHERE projection = 'candles'")

    with pytest.raises(ExportRefusedError, match="candles is at position 200 of 300"):
        exported(database, tmp_path)
    assert exported(database, tmp_path / "others", tables=["events", "ledger"]).manifest.until == 300
    assert exported(database, tmp_path / "earlier", until_position=200).manifest.until == 200

    with connect(database) as connection:
        connection.execute("UPDATE projection_positions SET position = 300 WHERE projection = 'candles'")
        connection.execute(
            "INSERT INTO projection_parked (projection, partition, position, topic, error, keys) "
            "VALUES ('trades', 0, 7, 'OrderPlaced.v1', 'odd', '{}')"
        )
    with pytest.raises(ExportRefusedError, match="trades has set 1 events aside"):
        exported(database, tmp_path)
    with connect(database) as connection:
        connection.execute("UPDATE projection_positions SET log = 'another'")
    with pytest.raises(LostEventsError):
        exported(database, tmp_path, tables=["ledger"])
