"""The rules of the house that no linter knows. Each is a function from text to complaints, tried on a bad example too.

A rule about things that do not exist finds nothing. An exception stands in a table here, with its reason.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import msgspec
import pytest

import domain
from settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

# Who may import whom. `api` puts everything together; what is lower knows nothing of what is above it.
MAY_IMPORT = {
    "domain": set[str](),
    "messages": {"domain"},
    "projections": {"domain", "messages", "migrations"},
    "consumers": {"domain", "messages", "projections", "eventsourcing_kafka", "settings"},
    "api": {"domain", "messages", "projections", "consumers", "eventsourcing_kafka", "local", "migrations", "settings"},
    "eventsourcing_kafka": set[str](),
    "local": {"settings"},
    "migrations": set[str](),
    "settings": set[str](),
}
OURS = set(MAY_IMPORT)

# The domain gets its time and ids with the command; none of these may be reached from it.
NOT_IN_DOMAIN = {
    "asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil", "socket",
    "sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
IN_DOMAIN = {("domain/values.py", "msgspec"): "makes values that are quick to make, to write and to read"}
MYPY_ONLY = {"typing_extensions"}  # only ever imported for type checking: a test without it proves that
CLOCK_CALLS = {"now", "today", "utcnow"}
FLOATS_ALLOWED = {
    "domain/lmsr.py": "the pricing functions",
    "domain/market.py": "keeps the maker's prices, derived from its integers, for the pricing functions",
    "domain/market_rules.py": "gives the opening prices to the pricing functions",
    "domain/matching.py": "passes the maker's prices on to the pricing functions",
    "domain/invariants.py": "checks the maker's prices",
    "domain/sweeping.py": "passes the maker's prices on to the pricing functions",
}

ENVIRONMENT_READERS = {
    "settings.py": "reads the settings",
    "eventsourcing_kafka/settings.py": "asks for the user's cache folder; a package of its own, that knows nothing of ours",
}

LINES_MAX = 700
LONG_FILES = {"tests/domain/reference.py": "a whole exchange, told naively in one reading"}

# Assembled, so that this file does not find itself.
FORBIDDEN_WORDS = [
    re.compile("|".join(map(re.escape, words)))
    for words in (
        ["/" + "work/", "/" + "root/", "/" + "home/", "/" + "Users/", "/" + "tmp/"],  # paths of somebody's machine
        [host + ending for host, ending in [("pypi", ".org"), ("python", "hosted"), ("repo1", ".maven"),
            ("repo.maven", ".apache"), ("registry.", "npmjs"), ("docker", ".io"), ("ghcr", ".io"), ("index", "-url")]],
    )
]  # fmt: skip
BINARY_SUFFIXES = {".png", ".ico", ".woff2"}

# Numbers of which the name says all.
UNITLESS_SETTINGS = {"partition", "partitions", "kafka_replication", "port"}
UNITS = ("_ms", "_bytes", "_max")


def sources(*packages: str) -> Iterator[tuple[str, str]]:
    """The path and text of every Python file of the packages, or of everything that is ours."""
    for package in packages or sorted(OURS):
        found = [ROOT / "settings.py"] if package == "settings" else sorted((ROOT / package).rglob("*.py"))
        for path in found:
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and top-level name of every import, those for type checking included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").split(".")[0]


def wrong_way_imports(path: str, text: str) -> list[str]:
    """Imports against the direction of `MAY_IMPORT`."""
    package = path.split("/", maxsplit=1)[0].removesuffix(".py")
    allowed = MAY_IMPORT[package] | {package}
    return [
        f"{path}:{line} imports {name}"
        for line, name in imported(ast.parse(text))
        if name in OURS and name not in allowed
    ]


def impurities(path: str, text: str) -> list[str]:
    """What makes the domain impure: other libraries, input and output, clocks, ids, random numbers, floats."""
    tree = ast.parse(text)
    found = [
        f"{path}:{line} imports {name}"
        for line, name in imported(tree)
        if name not in OURS | MYPY_ONLY
        and (name not in sys.stdlib_module_names or name in NOT_IN_DOMAIN)
        and (path, name) not in IN_DOMAIN
    ]
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if name in CLOCK_CALLS:
                found.append(f"{path}:{node.lineno} reads a clock: {name}")
            case ast.Constant(value=float()) | ast.Name(id="float") if path not in FLOATS_ALLOWED:
                found.append(f"{path}:{node.lineno} has a float")
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
                found.append(f"{path}:{node.lineno} calls {name}")
    return found


def environment_reads(path: str, text: str) -> list[str]:
    """Uses of the environment outside `ENVIRONMENT_READERS`."""
    if path in ENVIRONMENT_READERS:
        return []
    return [
        f"{path}:{node.lineno} reads the environment"
        for node in ast.walk(ast.parse(text))
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"})
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and any("env" in a.name for a in node.names))
    ]


def missing_docstrings(path: str, text: str) -> list[str]:
    """Modules, and public classes and functions at their top or in public classes, without a docstring."""
    tree = ast.parse(text)
    found = [] if ast.get_docstring(tree) else [f"{path} has no docstring"]

    def look(body: list[ast.stmt]) -> None:
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            decorators = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
            if node.name.startswith("_") or decorators & {"overload", "override", "setter"}:
                continue
            if not ast.get_docstring(node):
                found.append(f"{path}:{node.lineno} {node.name} has no docstring")
            if isinstance(node, ast.ClassDef):
                look(node.body)

    look(tree.body)
    return found


def loose_events(classes: list[type[Any]]) -> list[str]:
    """Event classes (those with a TOPIC) that can be changed, hold a float, or whose topic is no durable name."""
    found = []
    topics: dict[str, str] = {}
    for event in classes:
        if not (issubclass(event, msgspec.Struct) and event.__struct_config__.frozen):
            found.append(f"{event.__qualname__} is not a frozen struct")
        found += [
            f"{event.__qualname__}.{name} is a float"
            for name, kind in getattr(event, "__annotations__", {}).items()
            if "float" in str(kind)
        ]
        topic = vars(event)["TOPIC"]
        if not re.fullmatch(r"[A-Z][A-Za-z]+\.v[1-9]\d*", topic):
            found.append(f"{event.__qualname__} has the topic {topic!r}, expected one like 'OrderPlaced.v1'")
        if topics.setdefault(topic, event.__qualname__) != event.__qualname__:
            found.append(f"{event.__qualname__} and {topics[topic]} have the same topic {topic}")
    return found


def event_classes() -> list[type[Any]]:
    """Every class of the domain that says its own TOPIC."""
    modules = [importlib.import_module(f"domain.{module.name}") for module in pkgutil.iter_modules(domain.__path__)]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return sorted((cls for cls in found if isinstance(vars(cls).get("TOPIC"), str)), key=lambda cls: cls.__qualname__)


def forbidden_words(path: str, text: str) -> list[str]:
    """Paths of a machine and hosts of package registries."""
    return [
        f"{path}:{number} has {match[0]!r}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern in FORBIDDEN_WORDS
        if (match := pattern.search(line))
    ]


def unlocked(dependencies: list[str], lock: str) -> list[str]:
    """Names of dependencies that a requirements file does not pin with a hash."""
    pinned = set(re.findall(r"^([a-z0-9._-]+)==\S+(?: ;[^\\\n]*)? \\\n +--hash=sha256:", lock, re.MULTILINE))
    names = [re.split(r"[^A-Za-z0-9._-]", dependency)[0] for dependency in dependencies]
    return [name for name in names if re.sub(r"[-_.]+", "-", name).lower() not in pinned]


def committed_files() -> list[str]:
    """Every file that is, or is about to be, in the repository; without git, what is neither hidden nor made."""
    if shutil.which("git") is None:
        paths = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file() and path.suffix != ".so"]
        made = {"build", "dist", "__pycache__"}
        return sorted(p.as_posix() for p in paths if not any(part in made or part[0] == "." for part in p.parts))
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


def pyproject() -> dict[str, Any]:
    """The project's own description."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_imports_go_one_way() -> None:
    """`api | consumers -> projections -> messages -> domain`; the rest stands alone."""
    assert [complaint for path, text in sources() for complaint in wrong_way_imports(path, text)] == []


def test_the_domain_is_pure() -> None:
    """The domain uses nothing but the standard library and structs; no clock, no random number, floats in one place."""
    assert [complaint for path, text in sources("domain") for complaint in impurities(path, text)] == []


def test_the_domain_needs_one_library(tmp_path: Path) -> None:
    """Every module of the domain is imported by a Python that has no other library than that of its values."""
    names = ["domain", *(f"domain.{module.name}" for module in pkgutil.iter_modules(domain.__path__))]
    (tmp_path / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    program = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]; import {', '.join(names)}"

    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True)


def test_only_the_settings_read_the_environment() -> None:
    """Whoever wants to know what can be set reads one file."""
    assert [complaint for path, text in sources() for complaint in environment_reads(path, text)] == []


def test_everything_public_says_what_it_promises() -> None:
    """Every module, public class and public function has a docstring; every test states its claim."""
    paths = [(path.relative_to(ROOT).as_posix(), path.read_text()) for path in sorted((ROOT / "tests").rglob("*.py"))]

    assert [complaint for path, text in [*sources(), *paths] for complaint in missing_docstrings(path, text)] == []


def test_events_are_values_with_durable_names() -> None:
    """Every event is frozen and slotted, and its name in the log is its own and has a version."""
    assert loose_events(event_classes()) == []


def test_no_file_is_a_book() -> None:
    """A file is a chapter: at most 700 lines."""
    lengths = {
        name: len((ROOT / name).read_text().splitlines())
        for name in committed_files()
        if name.endswith(".py") and name not in LONG_FILES
    }

    assert {name: length for name, length in lengths.items() if length > LINES_MAX} == {}


def test_no_file_names_a_machine_or_a_registry() -> None:
    """What is committed works on any machine, with any package registry."""
    names = [name for name in committed_files() if Path(name).suffix not in BINARY_SUFFIXES]

    assert [complaint for name in names for complaint in forbidden_words(name, (ROOT / name).read_text())] == []


@pytest.mark.parametrize(
    ("file", "groups"), [("requirements.txt", ["build"]), ("requirements-dev.txt", ["build", "dev"])]
)
def test_every_dependency_is_locked(file: str, groups: list[str]) -> None:
    """Who adds a dependency to pyproject.toml also runs `make lock`."""
    project = pyproject()
    wanted = project["project"]["dependencies"] + [
        name for group in groups for name in project["dependency-groups"][group]
    ]

    assert unlocked(wanted, (ROOT / file).read_text()) == []


def test_our_package_names_are_ours_alone() -> None:
    """No other installed distribution brings a `domain` or an `api`: whichever came first would win the import."""
    owners = importlib.metadata.packages_distributions()

    assert {name: owners[name] for name in OURS if set(owners.get(name, [])) - {"tidings"}} == {}


def test_every_package_is_shipped() -> None:
    """The wheel has each of our packages, and nothing that is not listed here."""
    shipped = pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]

    assert sorted(OURS) == sorted(name.removesuffix(".py") for name in shipped)


def test_numbers_in_the_settings_have_units() -> None:
    """A setting that is a number says in its name of what."""
    numbers = [
        name
        for name, field in Settings.model_fields.items()
        if {int, float}
        & set(get_args(field.annotation) if isinstance(field.annotation, UnionType) else [field.annotation])
    ]

    assert [name for name in numbers if name not in UNITLESS_SETTINGS and not name.endswith(UNITS)] == []


class LooseEvent(msgspec.Struct):
    """A bad example: it can be changed, holds a float, and its topic is an import path."""

    TOPIC: ClassVar[str] = "domain.market:LooseEvent"
    price: float


@pytest.mark.parametrize(
    ("complaints", "expected"),
    [
        (wrong_way_imports("domain/x.py", "def f():\n    from projections.y import z"), "domain/x.py:2 imports projections"),
        (wrong_way_imports("projections/x.py", "import api.cli.main as c"), "projections/x.py:1 imports api"),
        (wrong_way_imports("local/x.py", "import domain"), "local/x.py:1 imports domain"),
        (impurities("domain/x.py", "import pydantic"), "domain/x.py:1 imports pydantic"),
        (impurities("domain/x.py", "from uuid import uuid4"), "domain/x.py:1 imports uuid"),
        (impurities("domain/x.py", "t = datetime.now()"), "domain/x.py:1 reads a clock: now"),
        (impurities("domain/x.py", "half = 0.5"), "domain/x.py:1 has a float"),
        (impurities("domain/x.py", "f = float(1)"), "domain/x.py:1 has a float"),
        (impurities("domain/x.py", "print(1)"), "domain/x.py:1 calls print"),
        (environment_reads("api/x.py", "import os\nos.environ['A']"), "api/x.py:2 reads the environment"),
        (environment_reads("api/x.py", "from os import getenv"), "api/x.py:1 reads the environment"),
        (missing_docstrings("api/x.py", ""), "api/x.py has no docstring"),
        (missing_docstrings("api/x.py", '"""M."""\ndef f(): ...'), "api/x.py:2 f has no docstring"),
        (
            missing_docstrings("api/x.py", '"""M."""\nclass C:\n    """C."""\n    async def f(self): ...'),
            "api/x.py:4 f has no docstring",
        ),
        (loose_events([LooseEvent])[:1], "LooseEvent is not a frozen struct"),
        (loose_events([LooseEvent])[1:2], "LooseEvent.price is a float"),
        (loose_events([LooseEvent])[2:], "LooseEvent has the topic 'domain.market:LooseEvent'"),
        (forbidden_words("x.md", "\nsee /" + "tmp/x"), "x.md:2 has '/" + "tmp/'"),
        (forbidden_words("x.txt", "https://pypi" + ".org/simple"), "x.txt:1 has 'pypi" + ".org'"),
        (unlocked(["Foo_Bar[baz]>=1", "ok==1"], "ok==1 \\\n    --hash=sha256:00\nfoo-bar==1\n"), "Foo_Bar"),
    ],
)  # fmt: skip
def test_each_rule_has_been_seen_red(complaints: list[str], expected: str) -> None:
    """A rule that finds nothing in a bad example would find nothing anywhere."""
    assert [complaint.startswith(expected) for complaint in complaints] == [True]
