"""Holds every HTTP answer that a test gets to what the OpenAPI document declares for its path, method and status."""

from __future__ import annotations

import re
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import jsonschema_rs

from api.http.app import create_app
from settings import Settings

if TYPE_CHECKING:
    import httpx

NOT_DECLARED = {"/openapi.json", "/docs"}
"""Paths that serve the document itself."""

PAGES = ("text/html", "text/css", "text/javascript", "image/svg+xml", "application/rss+xml")
"""The media types of pages and of what they load, which are for people."""

PAGE_PATHS = {"/", "/leaderboard", "/calibration", "/sign-in", "/join"}
"""The paths of pages that need no name."""


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document of the application. It is made without any of the application's dependencies."""
    nothing = cast("Any", None)
    app = create_app(gateway=nothing, pool=nothing, reads=nothing, log=nothing, progress=nothing, settings=Settings())
    return deepcopy(app.openapi())  # its examples are the application's own


@cache
def templates() -> list[tuple[re.Pattern[str], str]]:
    """Return the paths of the document with their patterns, those with the fewest parameters first."""
    paths = sorted(document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile("[^/]+".join(map(re.escape, re.split(r"\{[^}]+\}", path)))), path) for path in paths]


@cache
def validator(path: str, method: str, status: str) -> jsonschema_rs.Draft202012Validator | None:
    """Return the validator of the answers to an operation with a status, None where it declares no such JSON answer."""
    content = document()["paths"][path][method]["responses"].get(status, {}).get("content", {})
    if "application/json" not in content:
        return None
    schema = {**content["application/json"]["schema"], "components": document()["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def violation(response: httpx.Response) -> str | None:
    """Return how an answer breaks the document, None if it does not."""
    path = response.request.url.raw_path.decode().partition("?")[0]
    if path in NOT_DECLARED or response.headers.get("content-type", "").startswith(PAGES):
        return None
    if not path.startswith("/v1") and (response.request.url.path in PAGE_PATHS or response.has_redirect_location):
        return None  # the error of a page, for a client that takes no HTML, or what follows a form
    template = next((template for pattern, template in templates() if pattern.fullmatch(path)), None)
    method = response.request.method.lower()
    operations = document()["paths"].get(template, {})
    if method == "head":
        return None if str(response.status_code) in operations.get("get", {"responses": {}})["responses"] else "no GET"
    if method not in operations:
        expected = {"NOT_FOUND", "METHOD_NOT_ALLOWED"} if template is None else {"METHOD_NOT_ALLOWED"}
        return None if response.json().get("code") in expected else f"an undeclared operation has {response.text}"
    return _broken_promise(response, cast("str", template), method)


def _broken_promise(response: httpx.Response, template: str, method: str) -> str | None:
    status = str(response.status_code)
    declared = document()["paths"][template][method]["responses"].get(status)
    if declared is None:
        return f"the status {status} is not declared: {response.text}"
    for name, header in declared.get("headers", {}).items():
        if header.get("required") and name not in response.headers:
            return f"the answer has no header {name}"
    if "content" not in declared:
        return None if response.content == b"" else "there is a body"
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind not in declared["content"]:
        return f"the content type {kind} is not declared"
    schema = validator(template, method, status)
    if schema is None:
        return None
    answer = response.json()
    error = next(schema.iter_errors(answer), None)
    if error is not None:
        return f"{error.message} at {error.instance_path}"
    if "x-codes" in declared and answer["code"] not in declared["x-codes"]:
        return f"the code {answer['code']} is not declared: {answer}"
    return None


def check(response: httpx.Response) -> None:
    """Fail if an answer breaks the document."""
    found = violation(response)
    assert found is None, f"{response.request.method} {response.request.url}, {response.status_code}: {found}"
