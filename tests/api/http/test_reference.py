"""The page `/docs`: it shows the whole OpenAPI document and loads nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from api.http.reference import reference_page
from tests.api.contract import document

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_it_shows_every_operation_and_schema() -> None:
    """Each has its place, and every link leads to one."""
    page = reference_page(document())

    places = set(re.findall(r'id="([^"]+)"', page))
    operations = {
        operation["operationId"] for methods in document()["paths"].values() for operation in methods.values()
    }
    assert places == operations | {f"schema-{name}" for name in document()["components"]["schemas"]}
    assert set(re.findall(r'href="#([^"]+)"', page)) <= places


def test_it_explains_every_parameter() -> None:
    """Each has a description, and its default as it is written in a query."""
    parameters = [
        parameter
        for methods in document()["paths"].values()
        for operation in methods.values()
        for parameter in operation["parameters"]
    ]

    assert [each["name"] for each in parameters if not each.get("description")] == []
    assert "query, boolean, false if missing. only resting orders" in reference_page(document())


def test_it_works_without_the_internet(exchange: Exchange) -> None:
    """The page has no script and no address of another server."""
    answer = exchange.api.client.get("/docs")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert re.findall(r"<(?:script|link|img|iframe)|(?:src|href)=\"(?:https?:)?//", answer.text) == []
