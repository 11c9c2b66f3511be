"""The files of the repository, as the tests of its rules read them."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


def pyproject() -> dict[str, Any]:
    """The project's own description."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


SHIPPED = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
OURS = {name.removesuffix(".py") for name in SHIPPED}
"""Our packages, and the module `settings`, by their import names."""


def sources(*packages: str) -> Iterator[tuple[str, str]]:
    """The path and text of every Python file of these packages; without names, of all that we ship."""
    for package in packages or sorted(OURS):
        found = [ROOT / "settings.py"] if package == "settings" else sorted((ROOT / package).rglob("*.py"))
        for path in found:
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def committed_files() -> list[str]:
    """Every file that is, or is about to be, in the repository. Without git: all but hidden and generated files."""
    if shutil.which("git") is None:
        generated = {"build", "dist", "__pycache__"}
        paths = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file() and path.suffix != ".so"]
        return sorted(
            path.as_posix() for path in paths if not any(part in generated or part[0] == "." for part in path.parts)
        )
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


def committed_python() -> Iterator[tuple[str, str]]:
    """The path and text of every Python file in the repository, tests included."""
    return ((name, (ROOT / name).read_text()) for name in committed_files() if name.endswith(".py"))
