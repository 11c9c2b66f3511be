"""The README's story is executed as it stands, in fresh shells; only port and home are this test's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
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


def blocks(heading: str) -> list[str]:
    """The shell blocks under a heading."""
    section = re.split(r"^## ", README, flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading)]
    return re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def outputs(heading: str) -> list[str]:
    """The printed texts that are shown under a heading."""
    (text,) = [part for part in re.split(r"^## ", README, flags=re.MULTILINE) if part.startswith(heading)]
    return re.findall(r"^```text\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def differences(shown: str, printed: str, url: str) -> list[str]:
    """The first shown line that was not printed after the lines before it, if any. `...` stands for anything."""
    lines = iter(printed.replace(url, "http://127.0.0.1:8000").splitlines())
    for line in shown.splitlines():
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        if line.strip() != "..." and not any(re.fullmatch(pattern, each) for each in lines):
            return [line]
    return []


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text; curl puts nothing between them."""
    found, at = [], 0
    while (start := text.find("{", at)) >= 0:
        value, at = json.JSONDecoder().raw_decode(text, start)
        found.append(value)
    return found


@pytest.fixture
def environment(server_folder: Path) -> dict[str, str]:
    """The environment of a reader: a port and a home of their own, and no program of ours in the path."""
    programs = str(Path(sys.executable).parent)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TIDINGS_", "MAKE", "ARGS"))}
    return clean | {
        "PATH": ":".join(part for part in os.environ["PATH"].split(":") if part != programs),
        "TIDINGS_HOME": str(server_folder / "a home"),
        "TIDINGS_PORT": str(free_port()),
    }


@pytest.fixture
def served(environment: dict[str, str], server_folder: Path) -> Iterator[str]:
    """The server that the first block starts; make neither installs nor compiles, which it did before the tests."""
    block = blocks("From order")[0].replace("make serve", "exec make -o compile serve")
    url = f"http://127.0.0.1:{environment['TIDINGS_PORT']}"
    with (server_folder / "printed").open("w") as printed:
        server = subprocess.Popen(
            ["bash", "-c", block], env=environment, cwd=ROOT, stdout=printed, start_new_session=True
        )
    for _ in polls(90):
        assert server.poll() is None, (server_folder / "printed").read_text()
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=2).close()  # noqa: S310  our own server
        except OSError:
            continue
        break
    assert differences(outputs("From order")[0], (server_folder / "printed").read_text(), url) == []
    yield url
    os.killpg(server.pid, signal.SIGINT)  # as Ctrl-C does
    server.wait(30)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's story is told with curl")
def test_the_story_from_order_to_leaderboard(served: str, environment: dict[str, str]) -> None:
    """Every block prints what the README shows; one trade for two sends; Ada is paid and leads; replay and verify agree."""
    marker = "-- the next block --"
    script = f"\necho '{marker}'\n".join(["set -eo pipefail", *blocks("From order")[1:]])

    done = subprocess.run(
        ["bash", "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stdout + done.stderr
    _, *printed = done.stdout.split(f"{marker}\n")
    shown = outputs("From order")[1:]
    assert len(shown) == len(printed) == 3
    assert [differences(*both, served) for both in zip(shown, printed, strict=True)] == [[], [], []]
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


def test_an_output_that_differs_is_seen() -> None:
    """Lines must be there in their order; `...` stands for any text, and for any lines."""
    text = "one\n two 2\nthree\n"

    assert differences("one\n...\n two ...\n", text, "http://x") == []
    assert differences("three\none\n", text, "http://x") == ["one"]
    assert differences("two\n", text, "http://x") == ["two"]


def test_the_blocks_can_be_pasted() -> None:
    """No block has a comment: zsh, the shell of macOS, takes it for arguments of the command before it."""
    found = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)

    assert len(found) > 5
    assert [line for block in found for line in block.splitlines() if re.search(r"(^|\s)#", line)] == []


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
