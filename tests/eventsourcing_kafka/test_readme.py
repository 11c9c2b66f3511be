"""The package's README: its code runs and its table is correct."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import eventsourcing_kafka
from eventsourcing_kafka import Settings

PACKAGE = Path(eventsourcing_kafka.__file__).parent
PAGE = next(
    path
    for path in (PACKAGE / "README.md", Path(__file__).resolve().parents[2] / "README.md")  # in a source archive: here
    if path.exists()
)
README = PAGE.read_text(encoding="utf-8")
MODULE, *SCRIPTS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS, ids=["quickstart", "projection", "system", "service"])
def test_its_code_runs(script: str, kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """As printed, except for the broker's address and the names of topics; the projection goes on when it runs again."""
    (tmp_path / "school.py").write_text(MODULE)
    path = tmp_path / "script.py"
    path.write_text(script.replace("127.0.0.1:9092", kafka).replace('"counters"', f'"{topic_prefix}counters"'))
    environment = {
        "KAFKA_TOPIC": f"{topic_prefix}dogs",
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": str(PACKAGE.parent),
    }

    for _ in range(1 if "System(" in script else 2):
        command = [sys.executable, "-W", "ignore", path]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


def test_its_table_of_settings_is_complete() -> None:
    """Names, defaults and meanings are those of `Settings`."""
    rows = re.findall(r"^\| `KAFKA_(\w+)` \| (?:`(.*?)`)? ?\| (.*) \|$", README, re.MULTILINE)

    assert rows == [(spec.name.upper(), str(spec.default), spec.metadata["doc"]) for spec in fields(Settings)]
