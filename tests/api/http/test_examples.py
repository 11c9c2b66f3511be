"""The examples of the OpenAPI document, sent as they stand to a whole exchange: one story, in which each of them succeeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.api.contract import document

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.api.conftest import Exchange

STORY = (
    "open_account", "deposit", "withdraw", "create_key", "publish_story", "open_market", "activate_market rate-hold",
    "halt_market", "resume_market", "clarify_market", "add_liquidity", "quote_order", "place_order", "amend_order",
    "place_batch", "cancel_orders", "split_sets", "merge_sets", "close_market", "determine_market", "dispute_market",
    "uphold_market", "void_market", "close_market rate-hold", "determine_market rate-hold", "finalize_market rate-hold",
    "correct_market rate-hold", "create_invitation", "accept_invitation", "create_webhook", "rotate_webhook_secret",
    "ping_webhook", "enable_webhook",
)  # fmt: skip
"""The operations in the order in which the examples build on each other; beside some the market, where it is another one."""

MADE = ("order_id", "code", "webhook_id")
"""What the exchange makes, and later steps name."""


def operations(method: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the path and the declaration of each operation with a method, by its id."""
    return {
        methods[method]["operationId"]: (path, methods[method])
        for path, methods in document()["paths"].items()
        if method in methods
    }


def filled(path: str, operation: dict[str, Any], **known: str) -> str | None:
    """Return a path with the examples of its parameters, or with what is known; None if one has neither."""
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            value = known.get(parameter["name"]) or parameter.get("example")
            if value is None:
                return None
            path = path.replace(f"{{{parameter['name']}}}", value)
    return path


def test_the_examples_are_a_story(begin: Callable[[str, Path], Exchange], database: str, server_folder: Path) -> None:
    """Each write of the document has one, and succeeds; then each read with what stands in its path finds something."""
    exchange = begin(database, server_folder)
    api = exchange.api
    writes = operations("post") | operations("patch")
    known: dict[str, str] = {}
    for step in STORY:
        name, _, market = step.partition(" ")
        path, operation = writes[name]
        body = operation["requestBody"]["content"]["application/json"].get("example", {})
        if name == "accept_invitation":
            assert body["code"] == "..."
            body = body | {"code": known["code"]}
        method = "PATCH" if name == "amend_order" else "POST"
        answer = api.send(method, filled(path, operation, **known, **{"market": market} if market else {}) or "", body)
        assert answer.status_code in {200, 201}, (step, answer.text, api.get("/stories/rates").text)
        known |= {each: answer.json()[each] for each in MADE if each in answer.json()}
        assert all(result.get("code") is None for result in answer.json().get("results", ()))
        api.data("/stories", min_position=answer.json().get("position", 0))  # the next step may name what this one made
    assert {step.split()[0] for step in STORY} == set(writes)

    for name, (path, operation) in operations("get").items():
        asked = {each["name"]: each for each in operation["parameters"] if each["in"] == "query"}
        if not path.startswith("/v1") or "{" not in path or any(each.get("required") for each in asked.values()):
            continue
        url = filled(path, operation, **{each: known[each] for each in MADE})
        assert url is not None, name
        waiting = {"min_position": exchange.head()} if "min_position" in asked else {}
        answer = exchange.api.get(url, **waiting)
        assert answer.status_code == 200, (name, answer.text)


def test_every_body_with_fields_has_an_example() -> None:
    """A reader of the document sees what to send."""
    for name, (_, operation) in (operations("post") | operations("patch")).items():
        content = operation["requestBody"]["content"]["application/json"]
        schema = str(content["schema"])
        assert ("example" in content) == ("EmptyBody" not in schema), name
