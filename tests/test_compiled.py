"""The compiled rules: they run, they do the same as their sources, and they never run after a source has changed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from consumers.simulation.simulation import simulate
from local import compile as compiling

if TYPE_CHECKING:
    from pathlib import Path

SIMULATED = (5, 600)
"""The seed and the number of commands of a simulation."""

AS_PLAIN_PYTHON = f"""
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader

def hook(path):
    if path.startswith({str(compiling.ROOT)!r}) and "site-packages" not in path:
        return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))
    raise ImportError

sys.path_hooks.insert(0, hook)
sys.path_importer_cache.clear()
from consumers.simulation.simulation import simulate
import domain.order_decisions
assert domain.order_decisions.__file__.endswith(".py")
print(simulate(*{SIMULATED}).state_hash)
"""


@pytest.mark.parametrize("name", compiling.MODULES)
def test_where_there_is_a_compiler_the_compiled_module_runs(name: str) -> None:
    """Its file is not the source. This fails after `python -m local.compile --remove`."""
    module = importlib.import_module(name.removesuffix(".py").replace("/", "."))

    assert str(module.__file__).endswith(".py") is not compiling.has_compiler()


def test_plain_python_does_the_same() -> None:
    """The same random commands, crashes and repetitions end in the same state."""
    plain = subprocess.run(
        [sys.executable, "-c", AS_PLAIN_PYTHON], cwd=compiling.ROOT, capture_output=True, text=True, check=True
    )

    assert plain.stdout.strip() == simulate(*SIMULATED).state_hash


def test_what_a_compiled_module_imports_is_watched_too() -> None:
    """The compiled rules contain copies of the limits of a market, although `domain/market.py` is not compiled."""
    watched = compiling._sources()

    assert watched >= {*compiling.MODULES, "domain/market.py", "domain/values.py", "messages/replies.py"}
    assert watched >= {"domain/__init__.py", "consumers/engine/recorded_replies.py", "consumers/engine/snapshots.py"}
    assert not any(name.startswith((".venv", "tests", "api")) for name in watched)
    if compiling.has_compiler():
        assert watched == compiling._recorded()["sources"].keys()


def test_a_module_that_is_older_than_its_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the program starts, with the name of the source. A source that is missing counts as changed."""
    (tmp_path / "build").mkdir()
    for name in ("changed", "gone", "same"):
        (tmp_path / f"{name}.py").write_text(name)
    monkeypatch.setattr(compiling, "ROOT", tmp_path)
    monkeypatch.setattr(compiling, "_RECORD", tmp_path / "build" / "compiled.json")
    names = ["changed.py", "gone.py", "same.py"]
    for name in names:
        compiling._binary(name).touch()
    record = {"python": sys.version, "sources": {name: compiling._digest(name) for name in names}}
    (tmp_path / "build" / "compiled.json").write_text(json.dumps(record))
    assert compiling.outdated() == []

    (tmp_path / "changed.py").write_text("otherwise")
    (tmp_path / "gone.py").unlink()

    assert compiling.outdated() == ["changed.py", "gone.py"]
    with pytest.raises(SystemExit, match=r"changed\.py has changed"):
        compiling.refuse_outdated()

    compiling.remove()
    assert not list(tmp_path.glob("*.so"))
    compiling.refuse_outdated()


def test_required_modules_that_cannot_be_compiled_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `--required` a missing compiler is an error, so that no image lacks the compiled rules. Otherwise it is none."""
    monkeypatch.setattr(compiling, "ROOT", tmp_path)
    monkeypatch.setattr(compiling, "_RECORD", tmp_path / "build" / "compiled.json")
    monkeypatch.setattr(compiling, "MODULES", ())
    monkeypatch.setattr(compiling, "has_compiler", lambda: False)

    monkeypatch.setattr(sys, "argv", ["compile"])
    compiling.main()
    assert compiling.compiled() == []

    monkeypatch.setattr(sys, "argv", ["compile", "--required"])
    with pytest.raises(SystemExit, match="is there a C compiler"):
        compiling.main()
