"""`tidings_client` as a package of its own: the wheel beside a stranger's files, and the quickstart of its README."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from tests.api.conftest import OPERATOR_KEY

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

FOLDER = Path(__file__).parents[2] / "tidings_client"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network."""
    target = tmp_path_factory.mktemp("client wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, timeout=120)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture
def service(wheel: Path, tmp_path: Path) -> Path:
    """The folder of a stranger's service, with a `settings.py` of its own and the unpacked wheel; nothing of ours."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    (tmp_path / "settings.py").write_text("MINE = True\n")
    return tmp_path


def test_the_wheel_has_all_modules_and_nothing_else(wheel: Path) -> None:
    """And says what it needs: two libraries, and for Kafka a third."""
    names = zipfile.ZipFile(wheel).namelist()
    (metadata,) = (name for name in names if name.endswith("/METADATA"))
    needs = re.findall(r"^Requires-Dist: (\S+?)[<>;]", zipfile.ZipFile(wheel).read(metadata).decode(), re.MULTILINE)

    assert sorted(name for name in names if ".dist-info/" not in name) == sorted(
        [*(f"tidings_client/{path.name}" for path in FOLDER.glob("*.py")), "tidings_client/py.typed"]
    )
    assert {"httpx", "msgspec"} <= set(needs) <= {"httpx", "msgspec", "confluent-kafka"}


def test_the_quickstart_runs_beside_other_settings(exchange: Exchange, service: Path) -> None:
    """As its README shows it, in a Python that sees the wheel and its two libraries, and not this repository."""
    exchange.market()
    (block,) = re.findall(r"^```python\n(.*?)^```", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (service / "main.py").write_text(f"import settings\nassert settings.MINE\n{block}")
    libraries = {str(Path(module.__file__ or "").parents[1]) for module in (httpx, msgspec)}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TIDINGS_", "PYTHON"))}
    environment = clean | {
        "PYTHONPATH": ":".join([str(service), *libraries]),
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
