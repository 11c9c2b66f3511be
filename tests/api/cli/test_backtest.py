"""`tidings backtest`: what it prints as JSON, and what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from settings import Settings
from tests.api.command_line import tidings
from tests.consumers.imports.tables import ROWS, write

if TYPE_CHECKING:
    from pathlib import Path


def test_backtest_prints_both_worlds(database: str, tmp_path: Path) -> None:
    """On an imported table: the strategy's own record, the control, and the comparison; its prints stand on stderr."""
    settings = Settings(home=tmp_path, dsn=database)
    assert tidings(settings, "import", str(write(tmp_path / "t.csv", ROWS))).returncode == 0
    (tmp_path / "mine.py").write_text(
        "from analysis.strategy import Order\n"
        "def once(seen):\n"
        "    print('asked')\n"
        "    if not seen.shares(seen.market('rain').market_id, 'No'):\n"
        "        yield Order('rain', 'No', 'buy', 2)\n"
        "def wrong(seen):\n"
        "    raise ValueError('mine')\n"
    )

    done = tidings(settings, "backtest", f"{tmp_path}/mine.py:once", "--json", "--cash", "7")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["orders"], found["refused"], found["control"]["equal"]) == ({"filled": 1}, {}, True)
    assert 5 < float(found["cash"]) < 7
    assert float(found["profit"]) == pytest.approx(float(found["equity"]) - 7)
    assert "asked" in done.stderr

    wrong = tidings(settings, "backtest", f"{tmp_path}/mine.py:wrong")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "at position" in wrong.stderr
    assert "ValueError: mine" in wrong.stderr


def test_backtest_refuses_what_is_no_strategy(tmp_path: Path) -> None:
    """Wrong use, in one sentence, before anything is started."""
    settings = Settings(home=tmp_path)
    (tmp_path / "mine.py").write_text("")
    for arguments, message in (
        (("mine.py",), "expected FILE.py:NAME, not mine.py"),
        (("nowhere.py:f",), "there is no file nowhere.py"),
        ((f"{tmp_path}/mine.py:f", "--cash", "-1"), "--cash must be above 0"),
    ):
        done = tidings(settings, "backtest", *arguments)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
