"""docs/analysis.md: every block for a shell runs, on the demo's export, and prints what stands there; and the notebook.

docs/whatif.md has an example on the same demo.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
NOTEBOOK = ROOT / "docs" / "analysis_notebook.py"

BLOCKS = re.findall(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", PAGE, re.MULTILINE | re.DOTALL)
"""Each block for a shell, with the output that the page shows."""

WHATIF = (ROOT / "docs" / "whatif.md").read_text(encoding="utf-8")
(WHATIF_SHOWN,) = re.findall(r"^tidings whatif .*\n```\n\n```text\n(.*?)^```", WHATIF, re.MULTILINE | re.DOTALL)
(WHATIF_COMMAND,) = re.findall(r"^tidings whatif .*\n", WHATIF, re.MULTILINE)

END = "=====end of a block====="


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can enter."""
    with tempfile.TemporaryDirectory(prefix="tidings-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def reader(folder: Path) -> subprocess.CompletedProcess[str]:
    """A reader of the page, who runs every block in one shell, in a new folder."""
    blocks = [*(block for block, _ in BLOCKS), WHATIF_COMMAND]
    script = "\n".join(["set -eo pipefail", *(f"{block}echo '{END}'" for block in blocks)])
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"
    return subprocess.run(
        ["bash", "-c", script],
        env=clean | {"PATH": path, "PYTHONUTF8": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_every_block_prints_what_the_page_shows(reader: subprocess.CompletedProcess[str]) -> None:
    """To the last digit: the demo plays the same on every machine."""
    assert reader.returncode == 0, reader.stdout + reader.stderr
    printed = reader.stdout.split(f"{END}\n")[:-1]

    assert len(BLOCKS) > 10
    shown = [*(shown for _, shown in BLOCKS), WHATIF_SHOWN]
    assert [output.rstrip("\n") for output in printed] == [text.rstrip("\n") for text in shown]


def test_the_notebook_runs(
    reader: subprocess.CompletedProcess[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cell as a plain function, in the order of what it needs; marimo itself is not needed for that."""
    assert reader.returncode == 0, reader.stderr
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "marimo", Shown())
    shown = "\n".join(run_cells(ast.parse(NOTEBOOK.read_text(encoding="utf-8"))))

    for title in ("Prices", "Calibration", "losses", "market maker", "orders"):
        assert title in shown, title
    assert shown.count("<svg") >= 8
    assert "Marta" in shown
    assert "finalized" in shown.lower()


def run_cells(notebook: ast.Module) -> Iterator[str]:
    """Run each cell with the values that the cells before it return by name; yield what each shows: its last expression."""
    known: dict[str, Any] = {}
    for cell in notebook.body:
        if not isinstance(cell, ast.FunctionDef):
            continue
        *body, last = cell.body
        names = [name.id for name in ast.walk(last) if isinstance(name, ast.Name)]
        if isinstance(body[-1], ast.Expr):
            body[-1] = ast.Assign([ast.Name("shown", ast.Store())], body[-1].value)
        code = ast.fix_missing_locations(ast.Module(body, []))
        found = {**known, "shown": ""}
        exec(compile(code, NOTEBOOK, "exec"), found)  # noqa: S102  our own file
        known |= {name: found[name] for name in names}
        yield str(found["shown"])


class Shown:
    """What the notebook uses of marimo, as text."""

    def md(self, text: str) -> str:
        """Show Markdown."""
        return text

    def Html(self, text: str) -> str:  # noqa: N802  marimo's name
        """Show HTML."""
        return text

    def vstack(self, items: list[str]) -> str:
        """Show one below the other."""
        return "\n".join(items)
