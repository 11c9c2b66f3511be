"""The check that all answers of the tests pass: it lets true answers through, and no answer that breaks the document."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.contract import violation

AS_OF = {"position": 7, "time": "2024-10-24T10:02:00.000000Z"}
TRUE = {"data": {"books": {"cash": "1.000000"}, "sum": "0.000000"}, "as_of": AS_OF}


def answered(path: str, status: int, body: Any, method: str = "GET", **headers: str) -> str | None:
    """Return how this answer breaks the document."""
    request = httpx.Request(method, f"http://localhost{path}")
    return violation(httpx.Response(status, json=body, headers=headers, request=request))


def error(code: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"code": code, "message": "why", "details": {}}


@pytest.mark.parametrize(
    ("path", "status", "body", "headers"),
    [
        ("/v1/ledger", 200, TRUE, {}),
        ("/v1/ledger?min_position=8", 503, error("NOT_YET_PROJECTED"), {"retry-after": "1"}),
        ("/v1/markets/none", 404, error("MARKET_NOT_FOUND"), {}),
        ("/v1/markets/%00", 404, error("NOT_FOUND"), {}),
        ("/v1/nothing", 404, error("NOT_FOUND"), {}),
    ],
)
def test_true_answers_pass(path: str, status: int, body: Any, headers: dict[str, str]) -> None:
    """Successes, and errors whose codes are declared for the path."""
    assert answered(path, status, body, **headers) is None


@pytest.mark.parametrize(
    ("path", "status", "body", "expected"),
    [
        ("/v1/ledger", 200, {**TRUE, "more": 1}, "Additional properties"),
        ("/v1/ledger", 200, {"as_of": AS_OF}, "required"),
        ("/v1/ledger", 200, {**TRUE, "data": {"books": {"cash": 1}, "sum": "0.000000"}}, "is not of type"),
        ("/v1/ledger", 200, {**TRUE, "as_of": {"position": 7, "time": "yesterday"}}, "not valid under any"),
        ("/v1/ledger", 201, TRUE, "the status 201 is not declared"),
        ("/v1/ledger", 404, error("NOT_FOUND"), "the status 404 is not declared"),
        ("/v1/markets/none", 404, error("STORY_NOT_FOUND"), "the code STORY_NOT_FOUND is not declared"),
        ("/v1/markets/none", 404, {"code": "MARKET_NOT_FOUND"}, "required"),
        ("/v1/ledger", 503, error("NOT_YET_PROJECTED"), "no header Retry-After"),
        ("/v1/nothing", 200, TRUE, "an undeclared operation"),
    ],
)
def test_no_other_answer_passes(path: str, status: int, body: Any, expected: str) -> None:
    """Fields too many, missing or of another form; statuses, codes and headers that are not as declared."""
    assert expected in (answered(path, status, body) or "")


def test_a_method_that_a_path_does_not_have_is_405() -> None:
    """And nothing else."""
    assert answered("/v1/ledger", 405, error("METHOD_NOT_ALLOWED"), "DELETE") is None
    assert answered("/v1/ledger", 200, TRUE, "DELETE") is not None
