"""`tidings_client` as a package of its own: the wheel beside a stranger's files, and the quickstart of its README."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tests.api.conftest import OPERATOR_KEY

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

FOLDER = Path(__file__).parents[2] / "tidings_client"

BESIDE = """
import settings, sys
from importlib.util import find_spec
assert settings.MINE
assert [name for name in ("pytest", "pydantic", "structlog", "psycopg", "domain", "api") if find_spec(name)] == []
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network."""
    target = tmp_path_factory.mktemp("client wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, timeout=120)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def libraries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel says that it needs, and what that needs, and nothing else."""
    folder = tmp_path_factory.mktemp("libraries")
    needed, linked = needs_of(wheel), set()
    while needed:
        if (name := needed.pop()) in linked:
            continue
        linked.add(name)
        found = distribution(name)
        for top in {path.parts[0] for path in found.files or ()} - {"..", "__pycache__"}:
            (folder / top).symlink_to(Path(str(found.locate_file(top))).resolve())
        needed |= names_in(found.requires or [])
    assert not {"tidings", "pydantic", "psycopg", "structlog"} & linked
    return folder


@pytest.fixture
def service(wheel: Path, libraries: Path, tmp_path: Path) -> Path:
    """The folder of a stranger's service: a `settings.py` of its own, the unpacked wheel, and the libraries."""
    for library in libraries.iterdir():
        (tmp_path / library.name).symlink_to(library)
    zipfile.ZipFile(wheel).extractall(tmp_path)
    (tmp_path / "settings.py").write_text("MINE = True\n")
    return tmp_path


def needs_of(wheel: Path) -> set[str]:
    """The names of the libraries that the wheel needs without extras."""
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    return names_in(re.findall(r"^Requires-Dist: (.+)$", archive.read(metadata).decode(), re.MULTILINE))


def names_in(requirements: list[str]) -> set[str]:
    """The names of the requirements that apply here without extras."""
    parsed = map(Requirement, requirements)
    return {each.name for each in parsed if each.marker is None or each.marker.evaluate({"extra": ""})}


def test_the_wheel_has_all_modules_and_nothing_else(wheel: Path) -> None:
    """And says what it needs: two libraries."""
    names = zipfile.ZipFile(wheel).namelist()

    assert sorted(name for name in names if ".dist-info/" not in name) == sorted(
        [*(f"tidings_client/{path.name}" for path in FOLDER.glob("*.py")), "tidings_client/py.typed"]
    )
    assert needs_of(wheel) == {"httpx", "msgspec"}


def test_the_quickstart_runs_beside_other_settings(exchange: Exchange, service: Path) -> None:
    """As its README shows it, in a Python that sees the wheel, its two libraries and what these need, and nothing else."""
    exchange.market()
    (block,) = re.findall(r"^```python\n(.*?)^```", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (service / "main.py").write_text(f"{BESIDE}{block}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TIDINGS_", "PYTHON"))}
    environment = clean | {
        "PYTHONPATH": str(service),
        "TIDINGS_URL": exchange.running.url,
        "TIDINGS_KEY": OPERATOR_KEY,
    }

    done = subprocess.run(
        [sys.executable, "-S", "main.py"],
        cwd=service,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "filled" in done.stdout
    assert "INVALID_FIELD" in done.stdout
