"""The image, tested without Docker: the steps of its first stage make a complete program.

The tests read the rules of `.dockerignore` and the steps COPY and RUN from the files themselves, and follow them.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from local.compile import MODULES, has_compiler

ROOT = Path(__file__).parents[1]
BINARY = f"tidings__mypyc{sysconfig.get_config_var('EXT_SUFFIX')}"

# Imports every module of the program from the installation folder, and prints where each came from. The libraries are those
# of this Python, without those that the image lacks.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
place, libraries, *missing = sys.argv[1:]
sys.path[:0] = [place, libraries]
sys.modules |= dict.fromkeys(missing)
names = ["settings"]
packages = "domain messages eventsourcing_kafka projections consumers api local migrations tidings_client"
for package in packages.split():
    names += [package, *(found.name for found in pkgutil.walk_packages([f"{place}/{package}"], f"{package}."))]
names = [name for name in names if not name.startswith(("migrations.", "api.__main__", "local.wheel"))]
print(json.dumps({name: importlib.import_module(name).__file__ for name in names}))
"""


def ignored(path: str, rules: list[str]) -> bool:
    """Return whether Docker leaves a file out. The last rule that matches the file or one of its folders decides."""
    parts = path.split("/")
    paths = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    out = False
    for rule in rules:
        pattern = re.escape(rule.removeprefix("!"))
        pattern = pattern.replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        if any(re.fullmatch(pattern, each) for each in paths):
            out = not rule.startswith("!")
    return out


def locked(file: str) -> set[str]:
    """Return the names of the packages in a lock file."""
    return set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / file).read_text("utf-8"), re.MULTILINE))


def only_for_building() -> set[str]:
    """Return the modules of the packages that are not installed into the image."""
    missing = locked("requirements-build.txt") - locked("requirements.txt")
    return {
        module
        for module, packages in packages_distributions().items()
        if {re.sub(r"[-_.]+", "-", package).lower() for package in packages} <= missing
    }


def rules() -> list[str]:
    """Return the rules of `.dockerignore`."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def steps() -> list[tuple[str, str]]:
    """Return the steps of the first stage of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    found = re.findall(r"^([A-Z]+) +(.+)$", text, re.MULTILINE)
    second = [number for number, (name, _) in enumerate(found) if name == "FROM"][1]
    return found[:second]


def copy(line: str, folder: Path) -> None:
    """Do what COPY does: copy files into a folder, or the contents of one folder into another."""
    *sources, target = shlex.split(line)
    for source in sources:
        paths = [ROOT / source] if (ROOT / source).is_file() else sorted((ROOT / source).rglob("*"))
        for path in paths:
            name = path.relative_to(ROOT).as_posix()
            if path.is_dir() or ignored(name, rules()):
                continue
            inside = path.relative_to(ROOT / source) if path != ROOT / source else Path(source)
            (folder / target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / target / inside)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the copied and built sources in `app`, and the installed program in `place`."""
    folder = tmp_path_factory.mktemp("image")
    app, place = folder / "app", folder / "place"
    copied = False
    for name, line in steps():
        if name == "COPY":
            copy(line, app)
            copied = copied or line.startswith("domain ")
        elif name == "RUN" and copied:  # earlier steps install libraries, which are here already
            program, *arguments = shlex.split(line.replace("/wheels", str(folder / "wheels")))
            if "--required" in arguments and not has_compiler():
                continue
            module = {"pip": ["-m", "pip"], "cyclonedx-py": ["-m", "cyclonedx_py"]}.get(program.rpartition("/")[2], [])
            ours = {"/venv/bin/python": sys.executable, "/venv/sbom.cdx.json": str(folder / "sbom.cdx.json")}
            command = [sys.executable, *module, *(ours.get(each, each) for each in arguments)]
            command += ["--target", str(place)] if "install" in arguments else []
            subprocess.run(command, cwd=app, check=True, capture_output=True, timeout=600)
    return folder


@pytest.mark.timeout(900)
def test_the_image_has_the_compiled_rules(built: Path) -> None:
    """Every module is imported from the installed program. With a compiler, the rules are the machine code of this build."""
    libraries = sysconfig.get_paths()["purelib"]
    command = [sys.executable, "-I", "-S", "-c", IMPORT_ALL, str(built / "place"), libraries, *only_for_building()]
    done = subprocess.run(command, cwd=built, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    files: dict[str, str] = json.loads(done.stdout)
    assert {name for name, file in files.items() if not file.startswith(str(built / "place"))} == set()
    machine_code = {name for name, file in files.items() if file.endswith(".so")}
    expected = {name.removesuffix(".py").replace("/", ".") for name in MODULES}
    assert machine_code == (expected if has_compiler() else set())


def test_the_image_has_a_bill_of_materials(built: Path) -> None:
    """It names every package that runs, with its version."""
    listed = json.loads((built / "sbom.cdx.json").read_text("utf-8"))

    assert listed["bomFormat"] == "CycloneDX"
    names = {each["name"].lower().replace("_", "-") for each in listed["components"] if each["version"]}
    assert {"confluent-kafka", "eventsourcing", "fastapi", "msgspec"} <= names


def test_the_image_lacks_no_file(built: Path) -> None:
    """All files of our packages are installed, also those that are not Python, such as the hashes of the jars."""
    packages = [path for path in (built / "app").iterdir() if (path / "__init__.py").exists()]
    files = {
        path.relative_to(built / "app").as_posix()
        for package in packages
        for path in package.rglob("*")
        if path.is_file()
    }

    assert [name for name in files if "__pycache__" not in name and not (built / "place" / name).exists()] == []
    assert {"local/kafka_jars.txt", "api/cli/main.py"} <= files


@pytest.mark.parametrize(
    ("name", "out"),
    [
        ("domain/market.py", False),
        ("requirements.txt", False),
        ("requirements-build.txt", False),
        ("requirements-image.txt", False),
        ("domain/lmsr.cpython-311-x86_64-linux-gnu.so", True),
        ("consumers/engine/engine.cpython-313-darwin.so", True),
        (BINARY, True),
        ("domain/__pycache__/market.cpython-311.pyc", True),
        ("build/compiled.json", True),
        (".git/config", True),
        (".venv/bin/python", True),
        ("tests/test_image.py", True),
    ],
)
def test_docker_gets_only_the_sources(name: str, out: bool) -> None:
    """Docker gets nothing that this machine has compiled, installed or stored."""
    assert ignored(name, rules()) is out


def test_the_image_has_no_tools_for_building() -> None:
    """The environment of the image gets the packages that run, neither mypy nor hatchling."""
    installs = [line for name, line in steps() if name == "RUN" and line.startswith("/venv/bin/pip")]

    assert [re.findall(r"requirements\S*", line) for line in installs] == [["requirements.txt"], []]
    assert locked("requirements.txt") < locked("requirements-build.txt") < locked("requirements-dev.txt")
    assert {"mypy", "hatchling", "setuptools", "editables"} <= locked("requirements-build.txt") - locked(
        "requirements.txt"
    )
    assert {"mypy", "mypyc", "hatchling"} <= only_for_building()


def test_the_program_starts_when_the_container_does() -> None:
    """The second stage copies the environment of the first one, and finds its command on the path."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    environment = dict(re.findall(r"(\w+)=(\S+)", text))

    assert "COPY --from=build /venv /venv" in text
    assert environment["PATH"].startswith("/venv/bin:")
    assert 'ENTRYPOINT ["tidings"]' in text
