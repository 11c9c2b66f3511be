"""The demo: on both stores, the same seed leads to the same leaderboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from settings import Settings, environment
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENING = {
    "combat": {"No": "0.500000", "Yes": "0.500000"},
    "impact": {"No": "0.500000", "Yes": "0.500000"},
    "more-troops": {"Yes": "0.500000", "No": "0.500000"},
}


def demo(home: Path, *arguments: str) -> dict[str, Any]:
    """Run the demo once in this home; return the JSON object that is its last line."""
    done = subprocess.run(
        [sys.executable, "-m", "api", "demo", "--once", "--json", *arguments],
        env=environment(Settings(home=home)),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    """A home of its own, in a folder that PostgreSQL's user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="tidings-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def played(module_folder: Path) -> dict[str, Any]:
    """The result of the demo with its default seed."""
    return demo(module_folder)


def test_what_is_promised(played: dict[str, Any]) -> None:
    """Opening odds as the seed says, odds that sum to 1, at least 500 orders, two markets paid out, a ledger of zero."""
    opening = played["opening"]
    assert {slug: opening[slug] for slug in OPENING} == OPENING
    assert {price for slug in ("response", "where") for price in opening[slug].values()} == {"0.250000"}
    assert len(played["stories"]) == 1
    assert len(played["markets"]) == 5
    for market in played["markets"]:
        assert sum(round(float(row["price"]) * 1_000_000) for row in market["outcomes"]) == 1_000_000
        assert market["trades"] > 50
    assert sorted(market["status"] for market in played["markets"]) == ["active"] * 3 + ["finalized"] * 2
    assert played["orders"] >= 500
    assert played["ledger_sum"] == "0.000000"
    assert len(played["leaderboard"]) >= 12
    assert float(played["leaderboard"][0]["pnl"]) > 0 > float(played["leaderboard"][-1]["pnl"])
    assert all(history for market in played["prices"].values() for history in market.values())


@pytest.mark.usefixtures("played")
def test_its_commands_are_decided_again_alike(module_folder: Path) -> None:
    """Every event is equal, no command is lost or known by its effect only, and docs/whatif.md shows the true output."""
    settings = Settings(home=module_folder / "demo")

    found = json.loads(tidings(settings, "whatif", "--json").stdout)
    shown = tidings(settings, "whatif", "--subsidy", "2000").stdout

    assert found["control"]["equal"] is True
    assert found["same"] == found["other"]
    commands = found["commands"]
    assert (commands["by_effect"], commands["without_body"]) == (0, 0)
    assert commands["exact"] >= 650
    page = (Path(__file__).parents[3] / "docs" / "whatif.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    assert without_position(shown) == without_position(block)


@pytest.mark.usefixtures("played")
def test_python_steps_through_it(module_folder: Path) -> None:
    """The program in docs/whatif.md prints a line for each position; the last one is what `whatif` says of the house."""
    page = (Path(__file__).parents[3] / "docs" / "whatif.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    settings = Settings(home=module_folder / "demo")

    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(settings), capture_output=True, text=True, check=True
    )

    last = done.stdout.splitlines()[-1].split()
    assert (int(last[0]), last[1]) == (len(done.stdout.splitlines()), "-1881904258")


def without_position(text: str) -> str:
    """A comparison without the last position of the log: how many batches the engine wrote depends on the machine."""
    return re.sub(r"up to position [\d,]+", "", text)


def test_it_can_be_played_again(played: dict[str, Any], module_folder: Path) -> None:
    """In the same home, the same seed has the same result and another seed another."""
    again, other = demo(module_folder), demo(module_folder, "--seed", "2")

    assert again["leaderboard"] == played["leaderboard"]
    assert other["leaderboard"] != played["leaderboard"]
    assert other["opening"] == played["opening"]


@pytest.mark.usefixtures("kafka")
def test_kafka_ends_the_same(played: dict[str, Any], module_folder: Path) -> None:
    """With a broker and separate processes, leaderboard, odds and ledger are the same."""
    found = demo(module_folder, "--kafka")

    assert found["leaderboard"] == played["leaderboard"]
    assert found["opening"] == played["opening"]
    assert [market["outcomes"] for market in found["markets"]] == [market["outcomes"] for market in played["markets"]]
    assert found["ledger"] == played["ledger"]
