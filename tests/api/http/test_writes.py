"""Writes: safe to repeat, and a code for every body, path and method that cannot be served."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_a_write_with_an_idempotency_key_happens_once(exchange: Exchange) -> None:
    """The same key with the same body is the same deposit, with another body a 409; without a key each is a new deposit."""
    trader = exchange.trader(None)
    path, headers = f"/accounts/{trader.account_id}/deposits", {"idempotency-key": f"deposit-{trader.account_id}"}
    first = exchange.api.done(path, {"amount": "10"}, headers=headers)

    again = exchange.api.done(path, {"amount": "10"}, headers=headers)
    other = exchange.api.post(path, {"amount": "11"}, headers=headers)

    assert (again["position"], again["available"]) == (first["position"], "10.000000")
    assert (other.status_code, other.json()["code"]) == (409, "COMMAND_ID_REUSED")
    assert exchange.api.done(path, {"amount": "10"})["available"] == "20.000000"
    long = exchange.api.post(path, {"amount": "1"}, headers={"idempotency-key": "x" * 129})
    assert (long.status_code, long.json()["details"]["field"]) == (422, "Idempotency-Key")


def test_a_story_that_is_sent_again_is_one_story(exchange: Exchange) -> None:
    """The story and its markets keep their ids, and nothing exists twice."""
    market = {
        "slug": "once", "question": "Does it?", "outcomes": ["Yes", "No"], "subsidy": "100",
        "close_time": "2090-01-01T00:00:00Z", "resolution_source": "us",
    }  # fmt: skip
    story = {
        "title": "Once",
        "body": "b",
        "category": "sent-again",
        "published_at": "2024-10-24T10:02:00Z",
        "markets": [market],
    }
    headers = {"idempotency-key": "once"}

    first = exchange.api.done("/stories", story, headers=headers)
    again = exchange.api.done("/stories", story, headers=headers)

    assert again == first
    assert len(exchange.api.data("/stories", category="sent-again")) == 1
    assert first["slug"] == "once"


def test_invalid_bodies(exchange: Exchange) -> None:
    """Malformed JSON, a list, the wrong type: 400; too large: 413; all in the one form."""
    client, headers = exchange.api.client, {"authorization": f"Bearer {exchange.api.key}"}
    json_headers = headers | {"content-type": "application/json"}
    for path in ("/v1/orders", "/v1/accounts", "/v1/orders/batch"):
        for content in (b"{", b"[]", b'"x"', b""):
            response = client.post(path, content=content, headers=json_headers)
            assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_JSON"), (path, content)
        response = client.post(path, content=b"{" + b" " * 1_100_000 + b"}", headers=json_headers)
        assert (response.status_code, response.json()["code"]) == (413, "BODY_TOO_LARGE")
        chunks = client.post(path, content=(b" " * 65_536 for _ in range(20)), headers=json_headers)
        assert (chunks.status_code, chunks.json()["code"]) == (413, "BODY_TOO_LARGE")


def test_unknown_paths_and_methods(exchange: Exchange) -> None:
    """404 and 405 in the one form."""
    assert exchange.api.get("/nowhere").json() == {"code": "NOT_FOUND", "message": "not found", "details": {}}
    response = exchange.api.send("PUT", "/markets")
    assert (response.status_code, response.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
