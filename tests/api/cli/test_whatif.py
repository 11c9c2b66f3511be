"""`tidings whatif`: a comparison of two worlds, and a database that is as it was before."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest
from msgspec.structs import replace

from analysis.scratch import PREFIX
from consumers.wiring import open_recorder
from domain.market import MarketHalted
from domain.story import StoryPublished
from local.processes import polls
from settings import Settings, environment
from tests.analysis.random_logs import random_log
from tests.api.cli.read_model_home import append
from tests.api.command_line import tidings
from tests.api.export.exchange import exported, fill, tables
from tests.consumers.processes import kafka_settings
from tests.projections.logs import stored

if TYPE_CHECKING:
    from pathlib import Path

LOG = random_log(11, 150)

SLOW = """
import time, analysis.comparison, api.cli.main
analysis.comparison.measures = lambda *_: time.sleep(60)
raise SystemExit(api.cli.main.main(["whatif", "--subsidy", "2000"]))
"""
"""A program that rests when both worlds are decided."""

ENDED = """
import analysis.scratch, api.cli.main, api.export.event_lines
analysis.scratch.BATCH_EVENTS, api.export.event_lines.PROCESS_EVENTS, api.export.event_lines.PAGE_EVENTS = 50, 0, 50
popen = analysis.scratch.subprocess.Popen
class Killed(popen):
    def __init__(self, command, **options):
        super().__init__(command, **options)
        if "%s" in command:
            self.kill()
analysis.scratch.subprocess.Popen = Killed
raise SystemExit(api.cli.main.main(%s))
"""
"""A program whose child process is killed as soon as it is there."""


def scratch(dsn: str) -> list[str]:
    """The scratch schemas in a database."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", [PREFIX])
        return [row[0] for row in found]


def compared(settings: Settings, *arguments: str) -> dict[str, Any]:
    """Run the command with JSON."""
    done = tidings(settings, "whatif", "--json", *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_unchanged_terms_change_nothing(database: str) -> None:
    """Both worlds have the same measures, every command is proved, and no schema is left."""
    append(database, LOG.log)
    settings = Settings(dsn=database)

    found = compared(settings)

    assert found["same"] == found["other"]
    assert found["control"] == {"equal": True, "events": len(LOG.log)}
    commands = found["commands"]
    assert (commands["exact"], commands["by_effect"], commands["without_body"]) == (len(LOG.sent), 0, 0)
    assert found["fills_lost"] == found["fills_gained"] == found["answers"] == []
    assert found["position"] == len(LOG.log)
    assert round(sum(float(amount) for amount in found["same"]["books"].values()), 6) == 0
    assert float(found["same"]["books"]["house"]) == LOG.exchange.ledger.balances["house"] / 1_000_000
    assert scratch(database) == []


def test_other_terms_are_compared(database: str) -> None:
    """The text has its three lines; JSON has both worlds, up to a position and for one market."""
    append(database, LOG.log)
    settings = Settings(dsn=database)
    with psycopg.connect(database) as connection:
        connection.execute(f"CREATE SCHEMA {PREFIX}left_behind")
    slug = next(iter(LOG.exchange.markets.values())).terms.slug

    text = tidings(settings, "whatif", "--subsidy", "2000", "--fee-rate", "0.07").stdout
    inside = next(one.position for one in LOG.log if isinstance(one.event, StoryPublished) and one.position > 100)
    found = compared(
        settings, "--subsidy", "2000", "--fee-rate", "0.07", "--market", slug, "--until-position", str(inside)
    )
    last = max(one.position for one in LOG.log if one.command_id == LOG.log[inside - 1].command_id)

    lines = text.splitlines()
    assert lines[0] == f"what if fee rate 0.07 and subsidy 2,000.00 of all markets, up to position {len(LOG.log):,}"
    assert lines[-3:] == [
        f"commands: {len(LOG.sent)} exact, 0 by effect, 0 without body",
        f"control: {len(LOG.log):,} of {len(LOG.log):,} events equal",
        "mechanical: traders are assumed to send the same commands; they would not",
    ]
    assert found["position"] == last > inside
    terms = {market["slug"]: (market["subsidy"], market["fee_rate"]) for market in found["other"]["markets"]}
    assert terms.pop(slug) == ("2000.000000", "0.070000")
    before = {market["slug"]: (market["subsidy"], market["fee_rate"]) for market in found["same"]["markets"]}
    assert terms == {name: before[name] for name in terms}
    assert scratch(database) == []


def test_both_worlds_can_be_exported(database: str, tmp_path: Path) -> None:
    """As an exchange with their events would be exported; other terms need another folder."""
    settings = Settings(dsn=database)
    fill(database, LOG.log)
    exported(database, tmp_path / "whole")

    found = compared(settings, "--subsidy", "2000", "--export", str(tmp_path / "x"))
    refused = tidings(settings, "whatif", "--subsidy", "2001", "--export", str(tmp_path / "x"))

    whole, other = tables(tmp_path / "whole"), tables(tmp_path / "x" / "other")
    assert tables(tmp_path / "x" / "same") == whole
    assert other.keys() == whole.keys()
    assert other != whole
    with duckdb.connect() as duck:
        sums = "sum(cash), sum(held), sum(pool), sum(fees), sum(house), sum(bonds), sum(external)"
        rows = duck.execute(f"SELECT {sums} FROM '{tmp_path}/x/other/ledger/*.parquet'").fetchall()
    assert [str(amount) for amount in rows[0]] == list(found["other"]["books"].values())
    assert (refused.returncode, "decided with subsidy=2000.000000" in refused.stderr) == (1, True), refused
    assert scratch(database) == []


def test_a_log_that_the_rules_did_not_make_ends_with_1(database: str) -> None:
    """The first difference is named, and nothing is said of other terms."""
    place = next(number for number, one in enumerate(LOG.log) if number > 100 and one.digest is None)
    odd = replace(LOG.log[place], event=MarketHalted("mk_odd"))
    append(database, [*LOG.log[:place], odd, *LOG.log[place + 1 :]])
    settings = Settings(dsn=database)

    text, found = tidings(settings, "whatif", "--subsidy", "2000"), tidings(settings, "whatif", "--json")

    assert (text.returncode, found.returncode) == (1, 1)
    assert text.stdout.startswith("control: position ")
    assert "house" not in text.stdout
    assert json.loads(found.stdout)["control"]["equal"] is False
    assert scratch(database) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--subsidy", "0.5"],
        ["--subsidy", "many"],
        ["--fee-rate", "1.1"],
        ["--tick", "0.0015"],
        ["--tick", "0"],
        ["--dispute-seconds", "-1"],
        ["--until-position", "0"],
    ],
    ids=str,
)
def test_terms_that_no_market_can_have_are_refused(arguments: list[str]) -> None:
    """Before anything is started; the option is named."""
    done = tidings(Settings(dsn="host=127.0.0.1 port=1"), "whatif", *arguments)

    assert (done.returncode, arguments[0] in done.stderr) == (2, True)


def test_a_market_that_never_was_and_an_empty_log_end_with_1(database: str) -> None:
    """With a sentence that says so."""
    settings = Settings(dsn=database)
    empty = tidings(settings, "whatif")
    append(database, LOG.log)

    unknown = tidings(settings, "whatif", "--market", "nowhere")
    beyond = tidings(settings, "whatif", "--until-position", str(len(LOG.log) + 1))

    assert (empty.returncode, "empty" in empty.stderr) == (1, True)
    assert (unknown.returncode, "no market nowhere" in unknown.stderr) == (1, True)
    assert (beyond.returncode, "the log ends at position" in beyond.stderr) == (1, True)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_scratch_schemas_are_gone_after_an_end_at_any_time(database: str, end: signal.Signals) -> None:
    """After Ctrl-C at once. After a kill the next one drops them; beside one that works, another is refused."""
    append(database, LOG.log)
    settings = Settings(dsn=database)
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW],
        env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in polls(60):
        if len(scratch(database)) == 2:
            break
    other = tidings(settings, "whatif")
    child.send_signal(end)
    _, errors = child.communicate(timeout=60)

    assert (other.returncode, "another what-if or backtest" in other.stderr) == (1, True)
    if end is signal.SIGINT:
        assert (child.returncode, errors) == (130, "")
    else:
        assert len(scratch(database)) == 2
        for _ in polls(30):  # the server notices that the connection is gone
            if (again := tidings(settings, "whatif")).returncode == 0:
                break
        assert again.returncode == 0, again.stderr
    assert scratch(database) == []


@pytest.mark.parametrize("command", ["whatif", "export"])
def test_a_child_that_others_end_is_told_in_a_sentence(database: str, tmp_path: Path, command: str) -> None:
    """The exit code says that something needed is not there; nothing is left."""
    fill(database, LOG.log)
    child = "analysis.fold_child" if command == "whatif" else "api.export.event_process"
    arguments = [command] if command == "whatif" else [command, str(tmp_path / "x"), "--what", "events"]

    done = subprocess.run(
        [sys.executable, "-c", ENDED % (child, arguments)],
        env=environment(Settings(dsn=database)), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr
    assert "ended with -9" in done.stderr
    assert scratch(database) == []


def test_the_log_may_be_in_kafka(database: str, kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """The scratch schemas are in the database of the read models."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix).model_copy(update={"dsn": database})
    with open_recorder(settings) as recorder:
        recorder.insert_events(stored(LOG.log))

    found = compared(settings, "--fee-rate", "0.05")

    assert found["control"] == {"equal": True, "events": len(LOG.log)}
    assert float(found["other"]["books"]["fees"]) > 0
