"""Fields of request bodies: strict decimal strings, and every problem is named."""

from __future__ import annotations

import json
import math

import jsonschema
import pytest
from pydantic import ValidationError

from api.http.errors import ApiError, from_pydantic
from api.http.routes.orders import PlaceOrderBody, parse_body
from api.http.routes.stories import PublishStoryBody

GOOD = {
    "client_order_id": "a",
    "market_id": "m",
    "outcome": "Yes",
    "side": "buy",
    "type": "market",
    "quantity": "12.5",
}

BAD_NUMBERS = [
    1, 1.5, True, None, [], {}, "", " 1", "1 ", "+1", "-1", "1e3", "NaN", "Infinity", "1.", ".5", "01", "1.0000001",
    "0", "-0", "1,5", "\uff11", "0x10", "1000000001",
]  # fmt: skip


def problems_of(body: dict[str, object]) -> list[str]:
    """The fields that an order's body has problems with."""
    with pytest.raises(ApiError) as raised:
        parse_body(PlaceOrderBody, json.dumps(body).encode())
    assert raised.value.code == "INVALID_FIELD"
    return [problem["field"] for problem in raised.value.details["fields"]]


def test_an_amount_becomes_micro_units() -> None:
    """A decimal string is read to the last of its six decimals."""
    assert parse_body(PlaceOrderBody, json.dumps(GOOD).encode()).quantity == 12_500_000
    assert parse_body(PlaceOrderBody, json.dumps(GOOD | {"quantity": "0.000001"}).encode()).quantity == 1


@pytest.mark.parametrize("bad", [value for value in BAD_NUMBERS if value is not None], ids=repr)
def test_an_invalid_amount_is_refused_by_name(bad: object) -> None:
    """The error of a JSON number, an exponent, NaN, a sign, too many decimals or too large an amount names the field."""
    assert problems_of(GOOD | {"quantity": bad}) == ["quantity"]


def test_a_json_nan_is_refused() -> None:
    """Python's own JSON writes NaN as a word; it is refused like any number."""
    text = json.dumps(GOOD | {"quantity": math.nan}).encode()

    with pytest.raises(ApiError) as raised:
        parse_body(PlaceOrderBody, text)

    assert raised.value.code in {"INVALID_FIELD", "MALFORMED_JSON"}


def test_all_problems_are_reported_at_once() -> None:
    """The details have each wrong, missing and unknown field."""
    body = {**GOOD, "quantity": 1, "side": "hold", "colour": "red"}
    del body["outcome"]

    assert set(problems_of(body)) == {"quantity", "side", "colour", "outcome"}


def test_a_message_names_the_limit() -> None:
    """The error of too large an amount says how much is allowed."""
    with pytest.raises(ApiError) as raised:
        parse_body(PlaceOrderBody, json.dumps(GOOD | {"quantity": "1000000001"}).encode())

    assert "1000000000.000000" in raised.value.message


def test_problems_inside_lists_have_their_place() -> None:
    """The second outcome of the first market is `markets.0.outcomes[1]`."""
    market = {
        "slug": "m",
        "question": "?",
        "outcomes": ["Yes", ""],
        "subsidy": "1",
        "close_time": "2090-01-01T00:00:00Z",
        "resolution_source": "us",
    }
    story = {"title": "t", "body": "b", "category": "c", "published_at": "2024-10-24T10:02:00Z", "markets": [market]}

    with pytest.raises(ValidationError) as raised:
        PublishStoryBody.model_validate(story)

    assert from_pydantic(raised.value.errors()).details["field"] == "markets.0.outcomes[1]"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'"x"', b"1", b"null", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_malformed(text: bytes) -> None:
    """A body that is not a JSON object is a 400, whatever it is."""
    with pytest.raises(ApiError) as raised:
        parse_body(PlaceOrderBody, text)

    assert raised.value.code == "MALFORMED_JSON"


CHANGES: list[dict[str, object]] = [
    {},
    {"spend": "1"},
    {"limit_price": "0.5", "type": "limit", "time_in_force": "GTD", "expires_at": "2030-01-01T00:00:00Z"},
    {"min_proceeds": "0"},
    {"post_only": True, "dry_run": False},
    {"account": "x"},
    {"quantity": None},
    {"quantity": 1},
    {"quantity": "1.0000001"},
    {"quantity": "-1"},
    {"side": "hold"},
    {"type": None},
    {"client_order_id": ""},
    {"client_order_id": "x" * 65},
    {"outcome": 7},
    {"colour": "red"},
    {"post_only": "yes"},
    {"time_in_force": "NOW"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_documented_schema_and_the_route_agree(change: dict[str, object]) -> None:
    """The schema of an order in OpenAPI accepts a body if and only if the route does."""
    body = GOOD | change
    try:
        jsonschema.validate(body, PlaceOrderBody.model_json_schema(), cls=jsonschema.Draft202012Validator)
        documented = True
    except jsonschema.ValidationError:
        documented = False
    try:
        parse_body(PlaceOrderBody, json.dumps(body).encode())
        taken = True
    except ApiError:
        taken = False

    assert documented == taken
