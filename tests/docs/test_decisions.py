"""The list of decisions names every decision, by its title."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"


def test_every_decision_is_listed() -> None:
    """Each file stands in the README, in order, under the number and title that it has itself."""
    files = sorted(FOLDER.glob("[0-9]*.md"))
    titles = [path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in files]
    expected = [
        (title.partition(". ")[0], title.partition(". ")[2], path.name)
        for title, path in zip(titles, files, strict=True)
    ]

    listed = re.findall(r"^(\d+)\. \[(.*)\]\((.*)\)$", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert listed == expected
    assert [int(number) for number, _, _ in expected] == [int(path.name[:4]) for path in files]
