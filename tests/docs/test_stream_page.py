"""The command of docs/stream.md, executed as it stands, stopped at any line and gone on with."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.api.conftest import Exchange, connected, start

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "stream.md").read_text("utf-8")
COMMAND = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0].strip()


@pytest.fixture
def combat(database: str, tmp_path: Path) -> Iterator[Exchange]:
    """An exchange with the market that the page speaks of."""
    with start(database, tmp_path, address_costly_reads_per_second=0) as running:
        found = connected(running)
        found.market(slug="combat")
        yield found
        found.api.client.close()


def lines_of(command: str) -> Generator[str]:
    """Yield the lines that a command of the shell prints; whoever closes the iterator ends it."""
    with subprocess.Popen(["bash", "-c", f"exec {command}"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield from process.stdout
        finally:
            process.kill()


def told(command: str, lines: int | None = None) -> tuple[list[str], str]:
    """Return the messages of a command up to the market's halt or so many lines, and the last id.

    As a browser takes them: a position counts once its id has come.
    """
    found: list[str] = []
    pending: list[str] = []
    block: dict[str, str] = {}
    last_id = ""
    with closing(lines_of(command)) as reading:
        for number, line in enumerate(reading, 1):
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                block[name] = value
            else:
                pending += [block["data"]] if block.get("event") in {"trades", "prices", "lifecycle"} else []
                if "id" in block:
                    found, pending, last_id = [*found, *pending], [], block["id"]
                block = {}
            if number == lines or (found and "MarketHalted" in found[-1]):
                break
    return found, last_id


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page tells it with curl")
def test_curl_prints_the_story_stays_live_and_goes_on_at_the_next_line(combat: Exchange) -> None:
    """From the first event to one that happens while it runs; stopped anywhere, `Last-Event-ID` gives exactly the rest."""
    trader = combat.trader()
    for _ in range(4):
        trader.place("combat")
    command = COMMAND.replace("http://127.0.0.1:8000", combat.running.url).replace("curl -N", "curl -sN")
    assert command != COMMAND
    story = ""
    with closing(lines_of(command)) as reading:
        for line in reading:
            story += line
            if line == "event: trades\n" and story.count(line) == 4:
                trader.place("combat")  # it stays live
            if story.count("event: trades\n") == 5 and '"prices"' in line:
                break
    combat.api.done("/markets/combat/halt")
    whole, _ = told(command)
    assert "MarketDrafted" in whole[0]
    assert "MarketHalted" in whole[-1]
    assert [line.removeprefix("data: ") for line in story.splitlines() if '"position"' in line] == whole[:-1]
    chance = random.Random(8)  # noqa: S311  repeatable
    for lines in chance.sample(range(5, 40), 4):
        first, last_id = told(command, lines)
        rest, _ = told(f"{command} -H 'Last-Event-ID: {last_id}'")
        assert first + rest == whole, (lines, last_id)
