"""Checks the types in the modules of the pages, which stand in their comments: `python -m tests.javascript_types`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from local.npm import TYPESCRIPT, fetch, node
from tests.sources import ROOT

STATIC = ROOT / "api" / "page" / "static"
OPTIONS = ("--noEmit", "--checkJs", "--strict", "--target", "es2022", "--module", "es2022", "--pretty", "false")


def problems(folder: Path = STATIC) -> str:
    """Return what TypeScript says about the modules in a folder, empty if they are sound; raises StartError without it."""
    with tempfile.TemporaryDirectory() as scratch:
        for path in folder.glob("*.js"):  # as they are, only imported without the hash that the server writes into them
            (Path(scratch) / path.name).write_text(path.read_text("utf-8").replace("?v=VERSION", ""), "utf-8")
        names = sorted(path.name for path in Path(scratch).iterdir())
        compiler = fetch(TYPESCRIPT) / "lib" / "tsc.js"
        done = subprocess.run(
            [node(), compiler, *OPTIONS, "--lib", "es2023,dom,dom.iterable", *names],
            cwd=scratch, capture_output=True, text=True, check=False,
        )  # fmt: skip
    return (done.stdout + done.stderr if done.returncode else "").strip()


if __name__ == "__main__":
    sys.exit(problems() or 0)
