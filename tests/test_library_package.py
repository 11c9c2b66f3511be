"""`eventsourcing_kafka` as a package of its own: its source archive has tests, its wheel is whole, its links work."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "eventsourcing_kafka"
TESTS = ROOT / "tests" / "eventsourcing_kafka"


def build(folder: Path, kind: str, target: Path) -> Path:
    """Build an archive without network, as a packager would, and return it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    (built,) = target.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the source archive unpacks to, far from the repository."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(FOLDER, "sdist", folder)) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that is built from the source archive."""
    return zipfile.ZipFile(build(sdist, "wheel", tmp_path_factory.mktemp("wheel")))


def test_the_wheel_has_all_modules_and_nothing_else(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """It is the same whether it is built from the source archive or from the repository, and can be imported alone."""
    direct = zipfile.ZipFile(build(FOLDER, "wheel", tmp_path))
    modules = {f"eventsourcing_kafka/{path.name}" for path in FOLDER.glob("*.py")}

    for each in (wheel, direct):
        names = [name for name in each.namelist() if ".dist-info/" not in name]
        assert sorted(names) == sorted(modules | {"eventsourcing_kafka/py.typed"})
    wheel.extractall(tmp_path / "target")  # noqa: S202  our own
    seen = "import eventsourcing_kafka as e; print(e.__file__, e.KafkaFactory.__name__)"
    command = [sys.executable, "-W", "ignore", "-P", "-c", seen]
    environment = {"PYTHONPATH": str(tmp_path / "target")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert str(tmp_path / "target") in done.stdout


def test_its_metadata_is_complete(wheel: zipfile.ZipFile) -> None:
    """Whoever finds it on an index sees what it is, whose it is, what it needs, and where its changes stand."""
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))

    for field in ("Summary", "Author", "License-Expression", "License-File", "Keywords", "Requires-Python"):
        assert metadata[field], field
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL", []))
    assert {"Documentation", "Changelog"} <= set(urls)
    classifiers = metadata.get_all("Classifier", [])
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(classifiers)
    assert {text.partition(" ::")[0] for text in classifiers} >= {"Development Status", "Operating System", "Topic"}
    needs = metadata.get_all("Requires-Dist", [])
    assert not [need for need in needs if "==" in need], "no application could share an exact pin"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "# eventsourcing-kafka" in str(metadata.get_payload())


def test_the_source_archive_has_its_tests(sdist: Path) -> None:
    """All of them, with what starts a broker for them, and with the license and the changes."""
    tests = {path.name for path in TESTS.glob("*.py")}

    assert tests == {path.name for path in (sdist / "tests" / "eventsourcing_kafka").glob("*.py")}
    assert {"LICENSE", "CHANGELOG.md", "README.md", "pyproject.toml", "PKG-INFO"} <= {p.name for p in sdist.iterdir()}


def test_its_links_work_outside_of_the_repository(sdist: Path) -> None:
    """A link is a whole address, or names a file of the source archive."""
    for page in sdist.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (sdist / link).is_file(), f"{page.name}: {link}"
    for link in re.findall(r'^\w+ = "(.*\.md)"$', (sdist / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE):
        assert (sdist / link).is_file(), link


def test_its_tests_run_from_the_source_archive(sdist: Path, wheel: zipfile.ZipFile, kafka: str, tmp_path: Path) -> None:
    """All are collected; some run, against a broker and the installed wheel."""
    wheel.extractall(tmp_path)  # noqa: S202  our own
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "TIDINGS_TEST_KAFKA": kafka}

    def pytest_there(*arguments: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(
            command, cwd=sdist, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    folder = "tests/eventsourcing_kafka"
    collected = pytest_there("--collect-only", folder)
    assert sum(path.name in collected for path in TESTS.glob("test_*.py")) > 12  # some have long tests only
    ran = pytest_there(f"{folder}/test_protocol.py", f"{folder}/test_readme.py", "-k", "test_protocol or quickstart")
    assert "passed" in ran
    assert "skipped" not in ran
