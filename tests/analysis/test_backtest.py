"""Backtests: a strategy trades by the rules, sees nothing that comes later, and changes nothing but by its orders."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest
from eventsourcing.popo import POPOApplicationRecorder
from psycopg.conninfo import make_conninfo

from analysis import strategy_process
from analysis.backtest import ACCOUNT_ID, BacktestResult, StrategyFile, backtest
from analysis.replay import history_of_log
from analysis.strategy_process import StrategyError, StrategyProcess
from domain.account import AccountOpened
from domain.events import Recorded
from domain.money import MICRO
from local.postgres import create_database, drop_database
from migrations import migrate
from projections.machine.store import connect
from tests.consumers.checks import recorded
from tests.consumers.imports.tables import plan_of, run_plan, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ROWS = [
    *(
        (f"2024-03-0{day}T10:{minute:02}:00Z", f"a{minute % 3}", "rain", ("Yes", "No")[minute % 2], "buy", "5")
        for day in (1, 2)
        for minute in range(10)
    ),
    ("2024-03-09T10:00:00Z", "FUTURE-123456", "rain", "Yes", "buy", "1"),
]

SPY = '''
import gc, json, os, re, sys
from pathlib import Path

HOME = Path(__file__).parent
MARK = re.compile(rb"FUTURE-[0-9]{6}")  # does not match itself

def in_memory():
    """Whether the name of the last account is anywhere in this process, in whatever object, buffer or frame."""
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            where, access = line.split()[:2]
            if "rw" not in access or "[v" in line:
                continue
            first, last = (int(part, 16) for part in where.split("-"))
            try:
                memory.seek(first)
                if MARK.search(memory.read(last - first)):
                    return True
            except (OSError, ValueError, OverflowError):
                pass
    return False

def frames():
    frame, found = sys._getframe(), []
    while frame is not None:
        found += [type(value).__module__ for value in frame.f_locals.values()]
        frame = frame.f_back
    return sorted({name for name in found if name.startswith(("analysis.", "eventsourcing", "psycopg"))})

calls = 0

def spy(seen):
    global calls
    calls += 1
    report = {"call": calls, "position": seen.position, "told": any("FUTURE" in a.name for a in seen.exchange.accounts.values())}
    if calls in (1, 12) or report["told"]:
        report |= {"memory": in_memory(), "frames": frames(), "settings": [n for n in os.environ if n.startswith("TIDINGS")],
                   "files": sorted({os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in os.listdir("/proc/self/fd")
                                    if os.path.exists(f"/proc/self/fd/{n}")} - {"/dev/null"})}
    with (HOME / "report.jsonl").open("a") as file:
        file.write(json.dumps(report) + "\\n")
    seen.account.cash += 10**9  # only its own copy
'''


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> POPOApplicationRecorder:
    """A log of a small table."""
    recorder = POPOApplicationRecorder()
    run_plan(plan_of(write(tmp_path_factory.mktemp("table") / "t.csv", ROWS)), recorder)
    return recorder


@pytest.fixture(scope="module")
def dsn(postgres_dsn: str) -> Iterator[str]:
    """A migrated database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_database(postgres_dsn, name)
    found = make_conninfo(postgres_dsn, dbname=name)
    with connect(found) as connection:
        migrate(connection)
    yield found
    drop_database(postgres_dsn, name)


def run(
    log: POPOApplicationRecorder, dsn: str, folder: Path, source: str, name: str, *, cash: int = 1_000
) -> BacktestResult:
    """Backtest a strategy given as a text."""
    (folder / "strategies.py").write_text(source)
    return backtest(history_of_log(log), StrategyFile(folder / "strategies.py", name, cash=cash * MICRO), dsn)


def test_nothing_that_comes_later_is_in_its_process(log: POPOApplicationRecorder, dsn: str, tmp_path: Path) -> None:
    """It searches its whole memory, its frames, its open files and its environment, and finds the future only once it is told.

    What it does to what it sees changes neither world.
    """
    found = run(log, dsn, tmp_path, SPY, "spy")

    reports = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert len(reports) == found.record.asked > 20
    assert [report["memory"] for report in reports if "memory" in report][:2] == [False, False]
    assert all(report["memory"] == report["told"] for report in reports if "memory" in report)
    assert reports[-1]["told"], "the search finds it where it is"
    for report in reports:
        assert report.get("settings", []) == []
        assert set(report.get("frames", [])) <= {"analysis.strategy", "analysis.strategy_frames"}
        assert "socket" not in report.get("files", []), "no connection to a database"
    assert found.record.equity == 1_000 * MICRO
    assert found.result.other.books.house == found.result.same.books.house
    assert not found.result.counts.changes


def test_its_orders_are_decided_by_the_rules(log: POPOApplicationRecorder, dsn: str, tmp_path: Path) -> None:
    """Filled from its own cash and refused beyond it, and told so; money is conserved, ranks are the board's."""
    source = """
from analysis.strategy import CancelAll, Order
told = []
def trade(seen):
    told.extend(type(event).__name__ for event in seen.events if getattr(event, "account_id", "") == seen.account_id)
    if len(list(seen.markets())) and not seen.shares(seen.market("rain").market_id, "No"):
        yield Order("rain", "No", "buy", quantity=20)
        yield Order("rain", "No", "buy", spend="999")
        yield Order("rain", "Yes", "buy", quantity="5", limit_price=0.1)
        yield CancelAll("rain")
    elif "OrderCanceled" not in told or "CommandRejected" not in told:
        raise RuntimeError(told)
"""
    found = run(log, dsn, tmp_path, source, "trade", cash=50)

    record, other = found.record, found.result.other
    assert (record.orders, record.refused, record.canceled) == (
        {"filled": 1, "resting": 1}, {"INSUFFICIENT_FUNDS": 1}, 1,
    )  # fmt: skip
    assert record.account is not None
    assert record.account.holdings[next(iter(record.account.holdings))].shares["No"] == 20 * MICRO
    assert sum(other.books) == 0
    assert found.standing is not None
    assert found.standing.account_id == ACCOUNT_ID
    assert found.standing.pnl == record.equity - 50 * MICRO
    assert found.result.same.events == len([each for each in recorded(log) if each.stream != "partition-0"])


WRONG = "from analysis.strategy import CancelAll, Order\n\ndef wrong(seen):\n    {}\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('mine')", "KeyError: 'mine'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(3)", "the process of the strategy ended with exit code 3"),
        ("return [1]", "a strategy sends Order and CancelAll, not int"),
        ("return [Order('nowhere', 'Yes', 'buy', 1)]", "KeyError: 'nowhere'"),
        ("return [CancelAll()] * 1001", "it sent 1001 orders; at most 1000 can be sent at a position"),
    ],
)  # fmt: skip
def test_an_error_of_a_strategy_is_told(tmp_path: Path, body: str, message: str) -> None:
    """Whatever it does wrong: its traceback, or how its process ended."""
    (tmp_path / "wrong.py").write_text(WRONG.format(body))

    with StrategyProcess(tmp_path / "wrong.py", "wrong", ACCOUNT_ID) as process:
        with pytest.raises(StrategyError) as told:
            process.step(1, [])
        assert message in str(told.value)


def test_a_strategy_that_does_not_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while; its process is killed."""
    monkeypatch.setattr(strategy_process, "STOP_SECONDS", 0.1)
    (tmp_path / "endless.py").write_text(WRONG.format("while True: pass"))

    with StrategyProcess(tmp_path / "endless.py", "wrong", ACCOUNT_ID) as process:
        monkeypatch.setattr(strategy_process, "ANSWER_SECONDS", 0.1)
        with pytest.raises(StrategyError, match=r"it did not answer within 0\.1 seconds"):
            process.step(1, [])


def test_a_wrong_order_ends_the_backtest(log: POPOApplicationRecorder, dsn: str, tmp_path: Path) -> None:
    """The message names the position, the field and its limit."""
    source = WRONG.format("return [Order('rain', 'Yes', 'buy', -1)]")

    with pytest.raises(StrategyError, match=r"at position [1-9]\d*: quantity must be above 0"):
        run(log, dsn, tmp_path, source, "wrong")


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    """An error of the module, a name that it does not have, and what cannot be called."""
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "empty.py").write_text("x = 1")
    for file, name, message in (
        ("broken.py", "f", "ZeroDivisionError"), ("empty.py", "f", "has no attribute 'f'"), ("empty.py", "x", "TypeError"),
    ):  # fmt: skip
        with pytest.raises(StrategyError, match=message), StrategyProcess(tmp_path / file, name, ACCOUNT_ID):
            pass


def test_the_state_that_it_sees_is_the_worlds(log: POPOApplicationRecorder, tmp_path: Path) -> None:
    """Its own exchange, made of the events that it was told, has the state that the log's events make."""
    (tmp_path / "watch.py").write_text(
        "from pathlib import Path\n"
        "def watch(seen):\n"
        "    with (Path(__file__).parent / 'states').open('a') as file:\n"
        "        file.write(seen.exchange.state_hash() + '\\n')\n"
    )
    history = history_of_log(log)
    expected, told = list[str](), list[Recorded]()
    with StrategyProcess(tmp_path / "watch.py", "watch", ACCOUNT_ID) as process:
        for recorded_event in (replay := history.replay()):
            told.append(recorded_event)
            if isinstance(recorded_event.event, AccountOpened) or recorded_event.position == history.end():
                process.step(recorded_event.position, told)
                told.clear()
                expected.append(replay.exchange.state_hash())

    assert states(tmp_path) == expected
    assert len(expected) == 5


def states(folder: Path) -> Sequence[str]:
    """What the strategy wrote."""
    return (folder / "states").read_text().splitlines()
