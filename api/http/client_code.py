"""Writes `tidings_client/calls.py` and `tidings_client/models.py` from the OpenAPI document: `python -m api.http.client_code`.

So the client has a method for every operation and a struct for every answer. A new route needs nothing but this command.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import wrap
from typing import Any, Final, cast

from api.http.app import create_app
from settings import Settings

FOLDER: Final = Path(__file__).parents[2] / "tidings_client"

_INPUT_DECIMAL: Final = "^(0|[1-9][0-9]{0,15})"
_DECIMAL: Final = re.compile(r"\^-\?\(0\|\[1-9\]\[0-9\]\*\)\\\.\[0-9\]\{\d+\}\$")

_HAND_WRITTEN: Final = {"AnswerMoment": "Moment", "Event": "Event"}
"""Components whose structs are written by hand: `pages.py` and the head of `models.py` have them."""

_UNIONS: Final = {
    ("ValuedAccount", "PublicAccount"): "ListedAccount",
    ("Account", "PublicProfile"): "AccountProfile",
    ("PriceHistory", "PriceHistories"): "PriceHistoryPage",
    ("OrderAnswer", "QuoteAnswer", "BatchErrorAnswer"): "BatchResult",
}
"""Names of answers with several forms: the struct has the fields of all; those that a form lacks can be None."""

_LEFT_OUT: Final = {"dry_run": "quote_order does it", "cursor": "the pages are followed"}
"""Parameters and fields that no method has."""

_PAGE_SIZE: Final = "limit"

_CALLS_HEAD: Final = '''"""All calls of the API, made from its document by `python -m api.http.client_code`. Do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tidings_client.call import Amount, Call, When, call, new_id, paged, request
from tidings_client.models import *  # noqa: F403
from tidings_client.pages import Page, Reading


class Calls:
    """A method for each operation of the API; `Client` returns the answers, `AsyncClient` awaits them."""
'''

_MODELS_HEAD: Final = '''"""The answers of the API and the parts of bodies, made by `python -m api.http.client_code`. Do not edit.

Amounts, shares and prices are exact `Decimal`s, times are `datetime`s with a time zone. A newer exchange may send more
fields and other values of texts that stand for a choice: both are read without an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from tidings_client.call import Amount, When, new_id


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the log. `data` has the fields that the schema of its `type` and `version` names."""

    position: int
    type: str
    version: int
    time: datetime
    command_id: str
    stream: str
    stream_version: int
    data: dict[str, Any]
'''


def document() -> dict[str, Any]:
    """Return the OpenAPI document, with every route, made without a database."""
    nothing = cast("Any", None)
    app = create_app(gateway=nothing, pool=nothing, reads=nothing, log=nothing, progress=nothing, settings=Settings())
    return app.openapi()


STREAMED: Final = ("text/event-stream", "application/x-tar")
"""Answers for which no method is made: `Client.stream` serves the first, an archive is for `curl` and `tar`."""


def is_streamed(operation: dict[str, Any]) -> bool:
    """Return whether the answer is one of `STREAMED`."""
    return any(name in response.get("content", {}) for response in operation["responses"].values() for name in STREAMED)


class ClientCode:
    """The text of both modules."""

    def __init__(self, described: dict[str, Any]) -> None:
        self._paths = described["paths"]
        self._schemas = described["components"]["schemas"]
        self._structs: dict[str, str] = {}

    def modules(self) -> dict[str, str]:
        """Return the text of the modules, formatted, by file name."""
        calls = [
            self._method(method.upper(), path, operation)
            for path, operations in self._paths.items()
            for method, operation in operations.items()
            if not is_streamed(operation)
        ]
        names = sorted([*self._structs, "Event"])
        everything = f"__all__ = {names!r}\n"
        head, event = _MODELS_HEAD.split("\n\nclass Event", 1)
        structs = "\n\n".join(self._structs[name] for name in sorted(self._structs))
        return {
            "calls.py": _formatted(_CALLS_HEAD + "\n" + "\n".join(calls)),
            "models.py": _formatted(f"{head}\n\n{everything}\n\nclass Event{event}\n\n{structs}"),
        }

    # --- structs

    def _struct(self, name: str, *, incoming: bool) -> str:
        """Define the struct of a component, once, and return its name."""
        if name in _HAND_WRITTEN:
            return _HAND_WRITTEN[name]
        schema = self._schemas[name]
        if "enum" in schema:
            return self._hint(schema, incoming=incoming)
        shown = name.removesuffix("Body") if incoming else name
        if shown not in self._structs:
            self._structs[shown] = ""  # it may contain itself
            self._define(shown, [schema], schema.get("description", f"{shown}."), incoming=incoming)
        return shown

    def _define(self, name: str, forms: list[dict[str, Any]], about: str, *, incoming: bool) -> None:
        lines = []
        for field in dict.fromkeys(field for form in forms for field in form.get("properties", {})):
            if field in _LEFT_OUT:
                continue
            schemas = [form["properties"][field] for form in forms if field in form["properties"]]
            hints = [self._hint(schema, incoming=incoming) for schema in schemas]
            hint = " | ".join(dict.fromkeys(part for each in hints for part in each.split(" | ")))
            if field == "client_order_id" and incoming:
                lines.append(f"    {field}: str = msgspec.field(default_factory=new_id)")
            elif all(field in form.get("required", ()) for form in forms):
                lines.append(f"    {field}: {hint}")
            elif isinstance(schemas[0].get("default"), str | int):
                lines.append(f"    {field}: {hint} = {schemas[0]['default']!r}")
            else:
                lines.append(f"    {field}: {_or_none(hint)} = None")
        text = f"class {name}(msgspec.Struct, frozen=True, kw_only=True):\n{_docstring(about, 4)}\n\n"
        self._structs[name] = text + "\n".join(lines) + "\n"

    def _hint(self, schema: dict[str, Any], *, incoming: bool = False) -> str:
        """Return the type of a value, as text."""
        if "$ref" in schema:
            return self._struct(schema["$ref"].rpartition("/")[2], incoming=incoming)
        if "anyOf" in schema or "oneOf" in schema:
            return self._union(schema.get("anyOf") or schema["oneOf"], incoming=incoming)
        if "allOf" in schema:
            return self._hint(schema["allOf"][0], incoming=incoming)
        kind = schema.get("type")
        if isinstance(kind, list):
            return _or_none(self._hint({**schema, "type": kind[0]}, incoming=incoming))
        if "enum" in schema or "const" in schema:
            values = schema.get("enum") or [schema["const"]]
            return f"Literal[{', '.join(map(repr, values))}]" if incoming and len(values) < 20 else "str"
        if kind == "array":
            item = self._hint(schema.get("items", {}), incoming=incoming)
            return f"Sequence[{item}]" if incoming else f"list[{item}]"
        if kind == "object":
            item = (
                self._hint(schema["additionalProperties"], incoming=incoming)
                if isinstance(schema.get("additionalProperties"), dict)
                else "Any"
            )
            return f"Mapping[str, {item}]" if incoming else f"dict[str, {item}]"
        if kind == "string":
            return _text_hint(schema, incoming=incoming)
        return {"integer": "int", "number": "float", "boolean": "bool", "null": "None"}.get(cast("str", kind), "Any")

    def _union(self, parts: list[dict[str, Any]], *, incoming: bool) -> str:
        objects = [part["$ref"].rpartition("/")[2] for part in parts if "$ref" in part]
        if len(objects) < 2:
            return " | ".join(dict.fromkeys(self._hint(part, incoming=incoming) for part in parts))
        name = _UNIONS.get(tuple(objects), "Or".join(objects))
        if name not in self._structs:
            self._structs[name] = ""
            forms = [self._schemas[each] for each in objects]
            self._define(name, forms, " Or: ".join(form["description"].strip() for form in forms), incoming=incoming)
        rest = [self._hint(part, incoming=incoming) for part in parts if "$ref" not in part]
        return " | ".join([name, *rest])

    # --- methods

    def _method(self, verb: str, path: str, operation: dict[str, Any]) -> str:
        declared = {each["name"]: each for each in operation.get("parameters", ())}
        in_path = [name for name, each in declared.items() if each["in"] == "path"]
        in_query = {name: each for name, each in declared.items() if each["in"] == "query"}
        answer, is_list = self._answer(operation)
        fields, body_argument = self._body(operation)
        arguments = [f"{name}: str" for name in in_path]
        required = [text for text, is_required in fields.values() if is_required]
        if len(required) == 1:
            arguments += required
        named = [] if len(required) == 1 else required
        named += [text for text, is_required in fields.values() if not is_required]
        query = {}
        for name, each in in_query.items():
            if name in _LEFT_OUT and is_list:
                continue
            shown = "page_size" if name == _PAGE_SIZE else _identifier(name)
            query[name] = shown
            named.append(f"{shown}: {_or_none(self._hint(each['schema'], incoming=True))} = None")
        options = [f"statuses=({', '.join(map(str, _statuses(operation)))},)"]
        if "Idempotency-Key" in declared:
            named.append("idempotency_key: str | None = None")
            options.append("idempotency_key=idempotency_key or new_id()")
        if "Tidings-Time" in declared:
            named.append("at: When | None = None")
            options.append("at=at")
        if "min_position" in in_query:
            options.append("waits=True")
        if query:
            options.append("query={" + ", ".join(f"{name!r}: {shown}" for name, shown in query.items()) + "}")
        if body_argument:
            options.append(f"body={body_argument}")
        if verb != "GET" and operation["operationId"] != "quote_order":
            options.append("writes=True")
        star = ["*"] if named else []
        signature = ", ".join(["self", *arguments, *star, *named])
        template = re.sub(r"\{[^}]+\}", "{}", path)
        result = ", ".join([repr(verb), repr(template), answer, *in_path, *options])
        decorator = "paged" if is_list else "call"
        return (
            f"    @{decorator}\n    def {operation['operationId']}({signature}) -> Call[{answer}]:\n"
            f"{_docstring(operation['description'], 8)}\n        return request({result})\n"
        )

    def _answer(self, operation: dict[str, Any]) -> tuple[str, bool]:
        """Return the type of the answer, and whether it is a page of a list."""
        status = next(status for status in ("201", "200") if status in operation["responses"])
        ((media, content),) = operation["responses"][status]["content"].items()
        if media != "application/json":
            return "str", False
        schema = content["schema"]
        data = schema.get("properties", {}).get("data")
        if data is None:
            return self._hint(schema), False
        if data.get("type") == "array" and "next_cursor" in schema["properties"]:
            return f"Page[{self._hint(data['items'])}]", True
        return f"Reading[{self._hint(data)}]", False

    def _body(self, operation: dict[str, Any]) -> tuple[dict[str, tuple[str, bool]], str | None]:
        """Return the arguments for the fields of the body, with whether they are required, and the body's own argument."""
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            return {}, None if operation.get("requestBody") is None else "{}"
        schema = content["schema"]
        references = [part["$ref"] for part in schema.get("anyOf", [schema]) if "$ref" in part]
        schema = self._schemas[references[0].rpartition("/")[2]]
        fields = {}
        for name, each in schema.get("properties", {}).items():
            if name in _LEFT_OUT:
                continue
            hint = self._hint(each, incoming=True)
            needed = name in schema.get("required", ()) and name != "client_order_id"
            fields[name] = (f"{name}: {hint}" if needed else f"{name}: {_or_none(hint)} = None", needed)
        made = {"client_order_id": "client_order_id or new_id()"}
        return fields, "{" + ", ".join(f"{name!r}: {made.get(name, name)}" for name in fields) + "}"


def _statuses(operation: dict[str, Any]) -> list[int]:
    """Return the statuses of whole answers: a 202 with a part is asked for again until it is whole, a 304 not asked for."""
    found = []
    for status, response in operation["responses"].items():
        schemas = [content["schema"].get("$ref", "") for content in response.get("content", {}).values()]
        if schemas and "x-codes" not in response and not any(each.endswith("/AcceptedWrite") for each in schemas):
            found.append(int(status))
    return found


def _text_hint(schema: dict[str, Any], *, incoming: bool) -> str:
    if schema.get("format") == "date-time":
        return "When" if incoming else "datetime"
    pattern = schema.get("pattern", "")
    if incoming and pattern.startswith(_INPUT_DECIMAL):
        return "Amount"
    if not incoming and _DECIMAL.fullmatch(pattern):
        return "Decimal"
    return "str"


def _or_none(hint: str) -> str:
    return hint if hint.endswith("None") or hint == "Any" else f"{hint} | None"


def _identifier(name: str) -> str:
    """Return the name of an argument: `with` and other keywords get an underscore."""
    return f"{name}_" if name in {"with", "from", "in", "is", "class"} else name


def _docstring(text: str, indent: int) -> str:
    space = " " * indent
    first, _, rest = " ".join(text.split()).partition(". ")
    lines = wrap(f'"""{first.rstrip(".")}.', 118 - indent)
    if rest:
        lines += ["", *wrap(rest, 118 - indent), '"""']
    elif len(lines) > 1:
        lines.append('"""')
    else:
        lines[0] += '"""'
    return "\n".join(f"{space}{line}" if line else "" for line in lines)


def _formatted(text: str) -> str:
    """Return a module as `ruff format` writes it."""
    command = [sys.executable, "-m", "ruff", "format", "--line-length", "120", "--stdin-filename", "generated.py", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout  # noqa: S603


if __name__ == "__main__":
    for name, text in ClientCode(document()).modules().items():
        (FOLDER / name).write_text(text)
