"""A slash inside of a name is no end of a part of the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

PATHS = ["", "/positions", "/orders", "/fills", "/settlements", "/ledger", "/equity-history"]


@pytest.fixture(scope="module")
def account(exchange: Exchange) -> dict[str, Any]:
    """An account whose name has slashes and percent signs."""
    return exchange.api.done("/accounts", {"name": "a/b%2Fc/"})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["a%2Fb%252Fc%2F", "a%2fb%252fc%2f".replace("252f", "252F")])
def test_every_route_of_an_account_takes_a_name_with_slashes(
    exchange: Exchange, account: dict[str, Any], path: str, name: str
) -> None:
    """Encoded in capitals or not."""
    response = exchange.api.get(f"/accounts/{name}{path}", min_position=account["position"])

    assert response.status_code == 200, response.text
    if not path:
        assert response.json()["data"]["account_id"] == account["account_id"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/accounts/a%2Fpositions", "ACCOUNT_NOT_FOUND"),  # a name, not the positions of an account
        ("GET", "/markets/a%2Fb", "MARKET_NOT_FOUND"),
        ("GET", "/markets/a%2Fb/book", "MARKET_NOT_FOUND"),
        ("GET", "/stories/a%2Fb", "STORY_NOT_FOUND"),
        ("POST", "/markets/a%2Fb/halt", "MARKET_NOT_FOUND"),
        ("POST", "/stories%2Fa/markets", "NOT_FOUND"),
        ("GET", "/accounts/a%00b%2F", "NOT_FOUND"),  # nobody can send the sign that stands in for a slash
    ],
)
def test_an_encoded_slash_never_divides_a_path(exchange: Exchange, method: str, path: str, code: str) -> None:
    """What stands between two slashes is one name."""
    response = exchange.api.send(method, path, {} if method == "POST" else None)

    assert (response.status_code, response.json()["code"]) == (404, code)


def test_the_refusal_names_the_reference_as_it_was_meant(exchange: Exchange) -> None:
    """With its slash."""
    response = exchange.api.get("/accounts/no%2Fbody")

    assert response.json()["details"] == {"account": "no/body"}
