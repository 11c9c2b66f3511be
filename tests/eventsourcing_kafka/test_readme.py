"""The package's README: its code runs and its table is correct. The folder builds as a separate wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from dataclasses import fields
from pathlib import Path

import pytest

from eventsourcing_kafka import Settings

FOLDER = Path(__file__).resolve().parents[2] / "eventsourcing_kafka"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [0, 1], ids=["quickstart", "service"])
def test_its_code_runs(number: int, kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """As printed, except for the broker's address and the names of topics."""
    code = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)[number]
    script = tmp_path / "readme.py"
    script.write_text(code.replace("127.0.0.1:9092", kafka).replace('"counters"', f'"{topic_prefix}counters"'))
    environment = {
        "KAFKA_TOPIC": f"{topic_prefix}dogs",
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": str(FOLDER.parent),
    }

    done = subprocess.run(
        [sys.executable, "-W", "ignore", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_its_table_of_settings_is_complete() -> None:
    """Names, defaults and meanings are those of `Settings`."""
    rows = re.findall(r"^\| `KAFKA_(\w+)` \| (?:`(.*?)`)? ?\| (.*) \|$", README, re.MULTILINE)

    assert rows == [(spec.name.upper(), str(spec.default), spec.metadata["doc"]) for spec in fields(Settings)]


def test_it_builds_as_a_wheel_of_its_own(tmp_path: Path) -> None:
    """The wheel has all modules and types, and nothing else, and can be imported alone."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", tmp_path, FOLDER], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("eventsourcing_kafka-*.whl")
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]

    modules = {f"eventsourcing_kafka/{path.name}" for path in FOLDER.glob("*.py")}
    assert set(names) == modules | {"eventsourcing_kafka/py.typed"}
    target = tmp_path / "target"
    target.mkdir()
    zipfile.ZipFile(wheel).extractall(target)
    seen = "import eventsourcing_kafka as e; print(e.__file__, e.KafkaFactory.__name__)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", seen],
        cwd=target,
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(target) in done.stdout
