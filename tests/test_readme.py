"""The README's story is executed as it stands; only port, home and key are this test's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.processes import free_port, polls

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
KEY = "choose-a-long-secret-yourself"


def blocks(heading: str) -> list[str]:
    """The shell blocks under a heading."""
    section = re.split(r"^## ", README, flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading)]
    return re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text; curl puts nothing between them."""
    found, at = [], 0
    while (start := text.find("{", at)) >= 0:
        value, at = json.JSONDecoder().raw_decode(text, start)
        found.append(value)
    return found


@pytest.fixture
def environment(server_folder: Path) -> dict[str, str]:
    """The environment of a reader: a home of its own, the programs of this virtual environment in the path."""
    programs = Path(sys.executable).parent
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    return clean | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "TIDINGS_HOME": str(server_folder),
        "TIDINGS_PORT": str(free_port()),
    }


@pytest.fixture
def served(environment: dict[str, str]) -> Iterator[str]:
    """The server that the first block starts."""
    server = subprocess.Popen(
        ["bash", "-c", blocks("From order")[0].replace("tidings serve", "exec tidings serve")],
        env=environment,
        cwd=ROOT,
    )
    url = f"http://127.0.0.1:{environment['TIDINGS_PORT']}"
    for _ in polls(90):
        assert server.poll() is None, "it serves until it is stopped"
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=2).close()  # noqa: S310  our own server
        except OSError:
            continue
        break
    yield url
    server.terminate()
    assert server.wait(30) == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's story is told with curl")
def test_the_story_from_order_to_leaderboard(served: str, environment: dict[str, str]) -> None:
    """Every block runs; one trade for two sends; Ada is paid and leads; replay and verify agree."""
    script = "\n".join(["set -e", *blocks("From order")[1:]]).replace("http://127.0.0.1:8000", served)

    done = subprocess.run(
        ["bash", "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stdout + done.stderr
    answers = objects(done.stdout)
    assert [answer for answer in answers if "code" in answer] == []
    orders = [answer for answer in answers if "client_order_id" in answer]
    assert orders[0] == orders[1]
    assert orders[0]["status"] == "filled"
    (board,) = [answer["data"] for answer in answers if isinstance(answer.get("data"), list)]
    assert [(row["rank"], row["account"]) for row in board] == [(1, "ada")]
    paid = float(orders[0]["filled_quantity"]) - float(orders[0]["cost"])
    assert float(board[0]["pnl"]) == pytest.approx(paid)
    assert "combat  [finalized]" in done.stdout
    assert "everything agrees" in done.stdout


def test_the_files_that_the_readme_names_are_there() -> None:
    """Every file and folder that the README names exists."""
    named = set(re.findall(r"`((?:[a-z_]+/)+(?:[A-Za-z_]+\.(?:py|md|json))?|[a-z_]+\.py)`", README))

    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("heading", ["Follow one order", "Follow one trade"])
def test_a_walk_has_few_stops(heading: str) -> None:
    """A walk through the code has at most eight stops; each is one sentence that begins with the file."""
    (section,) = re.findall(rf"^## {heading}.*?\n(.*?)^## ", README, flags=re.MULTILINE | re.DOTALL)
    stops = re.findall(r"^\d\. (.*?\.)(?=\n(?:\d\. |\n))", section, flags=re.MULTILINE | re.DOTALL)

    assert 1 < len(stops) <= 8
    assert len(stops) == len(re.findall(r"^\d\. ", section, flags=re.MULTILINE))
    assert [stop for stop in stops if not re.match(r"`[a-z_/]+\.py` ", stop) or ". " in stop] == []
