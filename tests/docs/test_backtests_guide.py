"""docs/backtests.md: its commands print what it shows, and its first strategy runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.strategy_child import load
from settings import Settings, environment
from tests.sources import ROOT

if TYPE_CHECKING:
    import pytest

GUIDE = (ROOT / "docs/backtests.md").read_text()


def test_its_commands_print_what_it_shows(database: str, tmp_path: Path) -> None:
    """The real trades are imported; one strategy gains and one loses, as the guide says."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "\n".join(["set -e", *re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT, env=environment(Settings(home=tmp_path, dsn=database)) | {"PATH": path},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    printed = iter(done.stdout.splitlines())
    for block in re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL):
        for line in block.splitlines():
            assert line == "..." or line in printed, f"not printed, or not in this order: {line}"


def test_its_first_strategy_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example is a module with a function."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (source,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "cheap.py").write_text(source)

    assert load(tmp_path / "cheap.py", "cheap_yes").__name__ == "cheap_yes"
