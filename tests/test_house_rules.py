"""The rules of the house that no linter knows. Those about imports and about the text are in two other files.

Each rule is a function that returns complaints about a text, and is tested on a bad example. Exceptions stand in tables,
with their reasons.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import msgspec
import pytest

import domain
from local.compile import MODULES
from settings import Settings
from tests.sources import OURS, ROOT, SHIPPED, committed_files, pyproject, sources

if TYPE_CHECKING:
    from collections.abc import Iterator

# The domain gets its time and ids from the command. It must not import any of these.
NOT_IN_DOMAIN = {
    "asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil", "socket",
    "sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
IN_DOMAIN = {("domain/values.py", "msgspec"): "its structs are quick to create, to encode and to decode"}
MYPY_ONLY = {"typing_extensions"}  # imported for type checking only; a test without it proves that
CLOCK_CALLS = {"now", "today", "utcnow"}
FLOATS_ALLOWED = {
    "domain/lmsr.py": "the pricing functions",
    "domain/market_state.py": "stores the AMM's prices, derived from its integers, for the pricing functions",
    "domain/market_evolution.py": "passes the opening prices to the pricing functions",
    "domain/matching.py": "passes the AMM's prices to the pricing functions",
    "domain/invariants.py": "checks the AMM's prices",
    "domain/sweeping.py": "passes the AMM's prices to the pricing functions",
}

ENVIRONMENT_READERS = {
    "settings.py": "reads the settings",
    "eventsourcing_kafka/settings.py": "asks for the user's cache folder; a separate package that does not know our settings",
}

# mypyc drops the annotations of the classes that it compiles. These may be compiled: their fields are only used by name.
UNREAD_ANNOTATIONS = {"Entry", "Ledger", "BatchLimits", "Sweep", "SweepFill", "TableHeader"}

# Joined from parts, so that the rule does not find them in this file.
FORBIDDEN_WORDS = [
    re.compile("|".join(map(re.escape, words)))
    for words in (
        ["/" + "work/", "/" + "root/", "/" + "home/", "/" + "Users/", "/" + "tmp/"],  # paths of somebody's machine
        [host + ending for host, ending in [("pypi", ".org"), ("python", "hosted"), ("repo1", ".maven"),
            ("repo.maven", ".apache"), ("registry.", "npmjs"), ("docker", ".io"), ("ghcr", ".io"), ("index", "-url")]],
    )
]  # fmt: skip
BINARY_SUFFIXES = {".png", ".ico", ".woff2", ".mo"}

# Numbers whose names need no unit.
UNITLESS_SETTINGS = {"partition", "partitions", "kafka_replication", "port", "ops_port", "sql_port"}
UNITS = ("_ms", "_seconds", "_bytes", "_max", "_per_second")


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and top-level name of every import, those for type checking included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").split(".")[0]


def impurities(path: str, text: str) -> list[str]:
    """Other libraries, input and output, clocks, ids, random numbers and floats in the domain."""
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


def lost_annotations(path: str, text: str) -> list[str]:
    """Structs, dataclasses and named tuples of a compiled module, except those in `UNREAD_ANNOTATIONS`."""
    return [
        f"{path}:{node.lineno} defines {node.name}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and node.name not in UNREAD_ANNOTATIONS
        and re.search(
            r"\b(Struct|NamedTuple|TypedDict|dataclass)\b",
            " ".join(map(ast.unparse, [*node.bases, *node.decorator_list])),
        )
    ]


def loose_events(classes: list[type[Any]]) -> list[str]:
    """Event classes (those with a TOPIC) that are mutable, hold a float, or have a topic that is not a durable name."""
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
    """Every class of the domain that defines its own TOPIC."""
    modules = [importlib.import_module(f"domain.{module.name}") for module in pkgutil.iter_modules(domain.__path__)]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return sorted((cls for cls in found if isinstance(vars(cls).get("TOPIC"), str)), key=lambda cls: cls.__qualname__)


def forbidden_words(path: str, text: str) -> list[str]:
    """Absolute paths of a machine, and hosts of package registries."""
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


def test_the_domain_is_pure() -> None:
    """It uses only the standard library and structs, no clock and no random numbers, and floats only for pricing."""
    assert [complaint for path, text in sources("domain") for complaint in impurities(path, text)] == []


def test_the_domain_needs_one_library(tmp_path: Path) -> None:
    """A Python that has only msgspec can import every module of the domain."""
    names = ["domain", *(f"domain.{module.name}" for module in pkgutil.iter_modules(domain.__path__))]
    (tmp_path / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    program = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]; import {', '.join(names)}"

    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True)


def test_only_the_settings_read_the_environment() -> None:
    """So one file shows everything that can be set."""
    assert [complaint for path, text in sources() for complaint in environment_reads(path, text)] == []


def test_events_are_values_with_durable_names() -> None:
    """Every event is frozen, and its name in the log is unique and has a version."""
    assert loose_events(event_classes()) == []


def test_no_file_names_a_machine_or_a_registry() -> None:
    """Committed files work on any machine, with any package registry."""
    names = [name for name in committed_files() if Path(name).suffix not in BINARY_SUFFIXES]

    assert [complaint for name in names for complaint in forbidden_words(name, (ROOT / name).read_text())] == []


@pytest.mark.parametrize(
    ("file", "groups"),
    [
        ("requirements.txt", []),
        ("requirements-build.txt", ["build"]),
        ("requirements-image.txt", ["image"]),
        ("requirements-dev.txt", ["build", "image", "dev"]),
    ],
)
def test_every_dependency_is_locked(file: str, groups: list[str]) -> None:
    """If you add a dependency to pyproject.toml, run `make lock`."""
    project = pyproject()
    wanted = [] if groups == ["image"] else list(project["project"]["dependencies"])
    wanted += [name for group in groups for name in project["dependency-groups"][group]]

    assert unlocked(wanted, (ROOT / file).read_text()) == []


def test_our_package_names_are_ours_alone() -> None:
    """No other installed distribution has a package with one of our names, which would compete for the import."""
    owners = importlib.metadata.packages_distributions()

    assert {name: owners[name] for name in OURS if set(owners.get(name, [])) - {"tidings"}} == {}


def test_every_package_is_shipped() -> None:
    """The wheel has each folder that is a package, and the settings."""
    assert sorted(SHIPPED) == sorted([*(path.parent.name for path in ROOT.glob("*/__init__.py")), "settings.py"])


def test_no_compiled_class_has_annotations_that_are_read() -> None:
    """A class whose annotations msgspec or our codecs read stands in a module that runs as plain Python."""
    modules = [(name, (ROOT / name).read_text()) for name in MODULES]

    assert [complaint for path, text in modules for complaint in lost_annotations(path, text)] == []


def test_numbers_in_the_settings_have_units() -> None:
    """The name of a numeric setting ends with its unit."""
    numbers = [
        name
        for name, field in Settings.model_fields.items()
        if {int, float}
        & set(get_args(field.annotation) if isinstance(field.annotation, UnionType) else [field.annotation])
    ]

    assert [name for name in numbers if name not in UNITLESS_SETTINGS and not name.endswith(UNITS)] == []


class LooseEvent(msgspec.Struct):
    """A bad example: it is mutable, holds a float, and its topic is an import path."""

    TOPIC: ClassVar[str] = "domain.market:LooseEvent"
    price: float


@pytest.mark.parametrize(
    ("complaints", "expected"),
    [
        (impurities("domain/x.py", "import pydantic"), "domain/x.py:1 imports pydantic"),
        (impurities("domain/x.py", "from uuid import uuid4"), "domain/x.py:1 imports uuid"),
        (impurities("domain/x.py", "t = datetime.now()"), "domain/x.py:1 reads a clock: now"),
        (impurities("domain/x.py", "half = 0.5"), "domain/x.py:1 has a float"),
        (impurities("domain/x.py", "f = float(1)"), "domain/x.py:1 has a float"),
        (impurities("domain/x.py", "print(1)"), "domain/x.py:1 calls print"),
        (environment_reads("api/x.py", "import os\nos.environ['A']"), "api/x.py:2 reads the environment"),
        (environment_reads("api/x.py", "from os import getenv"), "api/x.py:1 reads the environment"),
        (lost_annotations("domain/x.py", "class X(msgspec.Struct): ..."), "domain/x.py:1 defines X"),
        (lost_annotations("domain/x.py", "@dataclass(frozen=True)\nclass X: ..."), "domain/x.py:2 defines X"),
        (lost_annotations("domain/x.py", "class X(NamedTuple): ..."), "domain/x.py:1 defines X"),
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
