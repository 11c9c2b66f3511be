"""The rules about the text: docstrings, lengths, one word for one thing.

Each rule is a function that returns complaints about a text, and is tested on a bad example. Exceptions stand in tables,
with their reasons.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.sources import OURS, committed_python, sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
LONG_FILES = {
    "settings.py": "a list of all settings, to look one up",
    "tests/domain/reference.py": "a whole exchange, told naively in one reading",
    "tidings_client/calls.py": "generated from the OpenAPI document",
    "tidings_client/models.py": "generated from the OpenAPI document",
}
"""Files that may be longer, and may have longer functions."""

WRONG_START = re.compile(r"(So|How) (many|much|long|often)\b|(After|From) so\b")
"""Wrong beginnings of a constant's docstring, which must begin with what the constant is: "The most events in ..."."""

OLD_WORDS = {
    "ACTS": "lifecycle events",
    "Chunk": "EventBatch",
    "Crew": "Assignment",
    "OUTCOME_UNKNOWN": "REPLY_TIMEOUT",
    "OutcomeUnknown": "ReplyTimeout",
    "Place": "Checkpoint",
    "Stretch": "CatchUpTransaction",
    "WrongPlace": "StaleCheckpoint",
    "_acted": "apply",
    "hold_of": "reserved cash",
    "usual_order": "fast path",
    "usual_orders": "fast path",
}
"""Identifiers that mean something else elsewhere, or nothing to a stranger, and the words that replaced them."""

OWN_NAMES = {"eventsourcing_kafka", "tidings_client"}
"""Packages that do not share class names with ours, because they are installed alone."""

SAME_CLASS_NAMES: dict[str, str] = {
    "Order": "users write the one of `analysis.strategy` in their own files; the other is a row that is read",
}
"""Class names that two classes may share, and why no reader will confuse them."""


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


def long_passages(path: str, text: str) -> list[str]:
    """Files and functions with too many lines, docstrings and comments included."""
    if path in LONG_FILES:
        return []
    length = len(text.splitlines())
    found = [f"{path} has {length} lines"] if length > FILE_LINES_MAX else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                found.append(f"{path}:{node.lineno} {node.name} has {length} lines")
    return found


def constant_docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and text of the docstrings below assignments, in modules and classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            for statement, after in zip(node.body, node.body[1:], strict=False):
                match statement, after:
                    case ast.Assign() | ast.AnnAssign(), ast.Expr(value=ast.Constant(value=str(text))):
                        yield after.lineno, text


def wrong_starts(path: str, text: str) -> list[str]:
    """Docstrings of constants that begin with `WRONG_START`."""
    return [
        f"{path}:{line} begins with {match[0]!r}"
        for line, docstring in constant_docstrings(ast.parse(text))
        if (match := WRONG_START.match(docstring))
    ]


def old_words(path: str, text: str) -> list[str]:
    """Identifiers of `OLD_WORDS`."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case (
                ast.Name(id=name)
                | ast.Attribute(attr=name)
                | ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
            ) if name in OLD_WORDS:
                found.append(f"{path}:{node.lineno} has {name}, expected {OLD_WORDS[name]}")
            case _:
                pass
    return found


def repeated_class_names(files: Iterable[tuple[str, str]]) -> list[str]:
    """Class names that two classes share, except those in `SAME_CLASS_NAMES`."""
    paths = defaultdict(list)
    for path, text in files:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                paths[node.name].append(path)
    return [
        f"{name} is a class of {' and '.join(found)}"
        for name, found in sorted(paths.items())
        if len(found) > 1 and name not in SAME_CLASS_NAMES
    ]


def test_everything_public_says_what_it_promises() -> None:
    """Every module, public class and public function has a docstring; every test states its claim."""
    files = [*sources(*OURS), *((path, text) for path, text in committed_python() if path.startswith("tests/"))]

    assert [complaint for path, text in files for complaint in missing_docstrings(path, text)] == []


def test_no_file_is_a_book_and_no_function_a_chapter() -> None:
    """A file has at most 400 lines, a function at most 60."""
    assert [complaint for path, text in committed_python() for complaint in long_passages(path, text)] == []


def test_docstrings_of_constants_say_what_they_are() -> None:
    """Subject first: "The most events in one transaction.", not "So many events are a transaction"."""
    assert [complaint for path, text in committed_python() for complaint in wrong_starts(path, text)] == []


def test_one_word_means_one_thing() -> None:
    """No identifier uses an old word of the vocabulary."""
    assert [complaint for path, text in committed_python() for complaint in old_words(path, text)] == []


def test_one_name_means_one_class() -> None:
    """The name of a class tells a reader which class it is."""
    assert repeated_class_names(sources(*OURS - OWN_NAMES)) == []


@pytest.mark.parametrize(
    ("complaints", "expected"),
    [
        (missing_docstrings("api/x.py", ""), "api/x.py has no docstring"),
        (missing_docstrings("api/x.py", '"""M."""\ndef f(): ...'), "api/x.py:2 f has no docstring"),
        (
            missing_docstrings("api/x.py", '"""M."""\nclass C:\n    """C."""\n    async def f(self): ...'),
            "api/x.py:4 f has no docstring",
        ),
        (long_passages("api/x.py", "\n" * 401), "api/x.py has 401 lines"),
        (long_passages("api/x.py", "class C:\n    def f(self):\n" + "        x\n" * 60), "api/x.py:2 f has 61 lines"),
        (wrong_starts("api/x.py", 'A = 1\n"""So many are read."""'), "api/x.py:2 begins with 'So many'"),
        (wrong_starts("api/x.py", 'class C:\n    a: int\n    """How long it waits."""'), "api/x.py:3 begins with 'How long'"),
        (wrong_starts("api/x.py", 'A: Final = 1\n"""After so many rows."""'), "api/x.py:2 begins with 'After so'"),
        (old_words("api/x.py", "raise errors.OutcomeUnknown"), "api/x.py:1 has OutcomeUnknown, expected ReplyTimeout"),
        (old_words("api/x.py", "class C:\n    async def _acted(self): ..."), "api/x.py:2 has _acted, expected apply"),
        (
            repeated_class_names([("api/x.py", "class C: ..."), ("domain/y.py", "class D:\n    class C: ...")]),
            "C is a class of api/x.py and domain/y.py",
        ),
    ],
)  # fmt: skip
def test_each_rule_has_been_seen_red(complaints: list[str], expected: str) -> None:
    """A rule that finds nothing in a bad example would find nothing anywhere."""
    assert complaints == [expected]
