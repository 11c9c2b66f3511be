"""`tidings import`: a table becomes a log of PostgreSQL, killed and run again; what it refuses, it refuses whole."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import make_conninfo

from consumers.wiring import open_recorder
from domain.partition import CommandsRead, SnapshotWritten
from local.postgres import create_database, drop_database
from settings import Settings, environment
from tests.api.command_line import tidings
from tests.consumers.checks import recorded
from tests.consumers.imports.tables import HEADER, ROWS, write
from tests.consumers.processes import kafka_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def imported(settings: Settings, *arguments: str | Path) -> dict[str, Any]:
    """Import, and return what is printed as JSON."""
    done = tidings(settings, "import", *map(str, arguments), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def history(settings: Settings) -> list[tuple[object, ...]]:
    """All of a log but where its batches and snapshots end."""
    with open_recorder(settings) as log:
        return [
            (each.event, each.stream, each.version, each.time, each.command_id, each.digest)
            for each in recorded(log)
            if not isinstance(each.event, CommandsRead | SnapshotWritten)
        ]


def trades(count: int) -> Iterator[tuple[object, ...]]:
    """Yield rows of a large table, not sorted by time."""
    for number in range(count):
        time = 1_600_000_000 + number * 7_919 % count
        yield time, f"a{number % 50}", f"m{number % 20}", ("Yes", "No")[number % 3 == 0], "buy", 1 + number % 9


def test_import_survives_kill_9(postgres_dsn: str, tmp_path: Path) -> None:
    """Killed twice in the middle and run again, the log is that of an import that nobody killed; a further run adds nothing."""
    table = write(tmp_path / "t.csv", list(trades(900)))
    databases = [f"{tmp_path.name}_{name}"[-50:].lower() for name in ("whole", "killed")]
    whole, killed = (Settings(home=tmp_path / name, dsn=make_conninfo(postgres_dsn, dbname=name)) for name in databases)
    try:
        for name in databases:
            create_database(postgres_dsn, name)
        report = imported(whole, table)
        assert report["filled"] == report["trades"] == 900

        for events in (1, 700):
            kill_at(killed, events, table)
        assert 0 < len(history(killed)) < len(history(whole))
        rest = imported(killed, table)
        assert rest["commands"] + rest["commands_before"] == report["commands"]
        assert history(killed) == history(whole)
        assert imported(killed, table)["commands"] == 0
    finally:
        for name in databases:
            drop_database(postgres_dsn, name)


def kill_at(settings: Settings, events: int, table: Path) -> None:
    """Run an import, and kill it when its log has so many events."""
    command = [sys.executable, "-m", "api", "import", str(table)]
    process = subprocess.Popen(command, env=environment(settings), stdout=subprocess.DEVNULL)
    until = monotonic() + 60
    with open_recorder(settings) as log:
        while (log.max_notification_id() or 0) < events:
            assert monotonic() < until, "the import has not come so far"
            assert process.poll() is None, "the import ended too soon"
            sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_import_makes_a_log_in_kafka_too(database: str, kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """The log is that of an import into PostgreSQL; run again it adds nothing, and another table is refused."""
    table = write(tmp_path / "t.csv", list(trades(60)))
    postgres = Settings(home=tmp_path, dsn=database)
    settings = kafka_settings(tmp_path / "kafka", kafka, topic_prefix)

    report = imported(settings, table)
    imported(postgres, table)

    assert report["filled"] == 60
    assert history(settings) == history(postgres)
    assert imported(settings, table)["commands"] == 0
    other = tidings(settings, "import", str(write(tmp_path / "o.csv", ROWS)))
    assert (other.returncode, "something else than this import" in other.stderr) == (1, True), other
    assert not (settings.home / "postgres").exists(), "a log in Kafka needs no database"


def test_import_refuses_a_log_with_events(home_settings: Settings, tmp_path: Path) -> None:
    """An exchange that is there stays as it is."""
    table = write(tmp_path / "t.csv", ROWS)
    before = tidings(home_settings, "replay", "--format", "json").stdout
    done = tidings(home_settings, "import", str(table))

    assert done.returncode == 1
    assert "the log has events of something else than this import" in done.stderr
    assert "TIDINGS_HOME" in done.stderr
    assert tidings(home_settings, "replay", "--format", "json").stdout == before


def test_import_refuses_a_bad_table_whole(database: str, tmp_path: Path) -> None:
    """Each bad row with its column; nothing is done before all rows are read, unless bad ones are to be left out."""
    settings = Settings(home=tmp_path, dsn=database)
    table = write(tmp_path / "t.csv", [ROWS[0], ("x", *ROWS[1][1:]), (*ROWS[2][:5], "-1"), ROWS[3]])

    done = tidings(settings, "import", str(table))
    assert (done.returncode, done.stdout) == (2, "")
    assert "t.csv, row 3, time must be an ISO 8601 time" in done.stderr
    assert "t.csv, row 4, amount must not be negative" in done.stderr
    assert "2 bad rows, so nothing was imported; --skip-bad-rows leaves them out" in done.stderr
    assert history(settings) == []
    told = json.loads(tidings(settings, "import", str(table), "--json").stdout)
    assert [(bad["row"], bad["column"]) for bad in told["bad"]] == [(3, "time"), (4, "amount")]

    checked = json.loads(tidings(settings, "import", str(table), "--skip-bad-rows", "--check", "--json").stdout)
    assert (checked["trades"], checked["bad_rows"]) == (2, 2)
    assert history(settings) == []
    assert imported(settings, table, "--skip-bad-rows")["filled"] == 2


def test_import_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    """A missing file, a file without the columns, a mapping that is none: wrong use, in one sentence."""
    settings = Settings(home=tmp_path)
    table, mapping = write(tmp_path / "t.csv", ROWS, ("when", *HEADER[1:])), tmp_path / "m.toml"
    mapping.write_text("[columns]\nwhen = 1\n")

    for arguments, message in (
        (("nowhere.csv",), "nowhere.csv: No such file or directory"),
        ((str(table),), "t.csv has no column 'time', and the mapping names none for it; it has when, account"),
        ((str(table), "--mapping", str(mapping)), "m.toml: Object contains unknown field `when`"),
    ):
        done = tidings(settings, "import", *arguments)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
        assert len(done.stderr.splitlines()) == 1
