"""The page `/docs`: the OpenAPI document as HTML. It needs no script and loads nothing, so it works without the internet."""

from __future__ import annotations

import json
from html import escape
from itertools import groupby
from typing import Any, Final

import msgspec

STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { border-bottom: 1px solid #ccc; margin-top: 3rem } h3 { margin-top: 2rem } h3 code { font-size: 1.1rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0 }
pre { background: #f5f5f5; padding: .6rem; overflow-x: auto; font-size: .85rem } summary { cursor: pointer }
"""
"""The page's style. The policy of every answer allows this text by its hash, and no other style and no script."""


def reference_page(document: dict[str, Any]) -> str:
    """Return the page: every operation by tag with its parameters, body and answers, then every schema."""
    operations = [
        (operation["tags"][0], method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    parts = [
        f"<h2>{escape(tag)}</h2>" + "".join(_operation(method, path, operation) for _, method, path, operation in group)
        for tag, group in groupby(operations, key=lambda each: each[0])
    ]
    schemas = "".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}: HTTP API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{escape(info['title'])}: HTTP API</h1><p>{escape(info['description'])} "
        'The same as JSON: <a href="/openapi.json">/openapi.json</a>.</p>'
        f"{''.join(parts)}<h2>Schemas</h2>{schemas}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    name = operation["operationId"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    needs = operation.get("security", [])
    key = "" if not needs else "<p>With a key.</p>" if {} not in needs else "<p>With or without a key.</p>"
    return (
        f'<h3 id="{name}"><code>{method.upper()} {escape(path)}</code></h3><p>{escape(operation["description"])}</p>{key}'
        + _table("Parameter", [_parameter(each) for each in operation["parameters"]])
        + ("" if body is None else f"<p>Body: {_type(body)}</p>")
        + _table("Answer", [(status, _answer(each)) for status, each in operation["responses"].items()])
    )


def _parameter(parameter: dict[str, Any]) -> tuple[str, str]:
    schema = parameter["schema"]
    given = schema.get("default")
    default = "" if given is None else f", {escape(given if isinstance(given, str) else json.dumps(given))} if missing"
    return (
        f"<code>{escape(parameter['name'])}</code>",
        f"{parameter['in']}, {_type(schema)}{default}. {escape(parameter.get('description', ''))}",
    )


def _answer(response: dict[str, Any]) -> str:
    schemas = ", ".join(_type(content["schema"]) for content in response.get("content", {}).values())
    codes = ", ".join(f"<code>{code}</code>" for code in response.get("x-codes", ()))
    return f"{schemas}: {codes}" if codes else schemas


def _type(schema: dict[str, Any]) -> str:
    """Return a schema in a few words, with links to the named ones."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "properties" in schema:
        return ", ".join(f"<code>{escape(name)}</code> {_type(each)}" for name, each in schema["properties"].items())
    kind = schema.get("type", "any JSON")
    return escape(" or ".join(kind) if isinstance(kind, list) else kind)


def _schema(name: str, schema: dict[str, Any]) -> str:
    text = msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()
    return f'<details id="schema-{escape(name)}"><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>'


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    lines = "".join(f"<tr><td>{name}</td><td>{about}</td></tr>" for name, about in rows)
    return f"<table><tr><th>{title}</th><th></th></tr>{lines}</table>"
