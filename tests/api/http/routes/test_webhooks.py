"""Registering webhooks: what is refused, secrets that are shown once, and who may do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from consumers.webhooks import store
from consumers.webhooks.store import SECRETS_MAX, WEBHOOKS_MAX

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

URL = "https://hooks.example.org/tidings"
NOTHING: dict[str, Any] = {"url": URL, "min_cost": "999999999"}
"""A webhook that is never told anything."""


@pytest.fixture(autouse=True)
def _no_webhooks(exchange: Exchange) -> None:
    """Remove all webhooks of earlier tests."""
    for each in exchange.api.data("/webhooks"):
        assert exchange.api.send("DELETE", f"/webhooks/{each['webhook_id']}").status_code == 200


def problem(exchange: Exchange, **fields: Any) -> tuple[int, str, str | None]:
    """Return the status, code and field of a registration that is refused."""
    response = exchange.api.post("/webhooks", NOTHING | fields)
    answer = response.json()
    return response.status_code, answer.get("code"), answer.get("details", {}).get("field")


def test_a_webhook_is_registered_listed_and_removed(exchange: Exchange) -> None:
    """Only the first answer has the secret; the account goes by its name and is listed by its id."""
    trader = exchange.trader(None)
    head = exchange.head()
    made = exchange.api.done("/webhooks", {"url": URL, "lifecycle": True, "min_cost": "12.5", "fills_of": trader.name})
    assert made["secret"].startswith("whsec_")
    assert (made["min_cost"], made["fills_of"], made["status"]) == ("12.500000", trader.account_id, "active")
    assert made["delivered_position"] == made["position"] >= head
    assert made["secret"] not in exchange.api.get("/webhooks").text
    (listed,) = exchange.api.data("/webhooks")
    alone = exchange.api.data(f"/webhooks/{made['webhook_id']}")
    assert alone | {"delivered_position": 0} == listed | {"delivered_position": 0}
    assert {**listed, "delivered_position": 0} == {
        name: value for name, value in (made | {"delivered_position": 0}).items() if name not in {"secret", "position"}
    }
    removed = exchange.api.send("DELETE", f"/webhooks/{made['webhook_id']}")
    assert removed.json()["webhook_id"] == made["webhook_id"]
    assert exchange.api.data("/webhooks") == []
    for method, path in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/enable"),
        ("POST", "/rotate-secret"),
        ("POST", "/ping"),
    ]:
        answer = exchange.api.send(method, f"/webhooks/{made['webhook_id']}{path}", None if not path else {})
        assert (answer.status_code, answer.json()["code"]) == (404, "WEBHOOK_NOT_FOUND")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/", "example.org", "https://", "https://example.org:0/", "https://u:p@example.org/",
        "https://example.org/#part", "http://127.0.0.1/", "http://localhost:8000/", "http://[::1]/", "http://10.1.2.3/",
        "http://169.254.169.254/latest", "http://[::ffff:127.0.0.1]/", "https://example.org:99999/", "https://a b/",
    ],
)  # fmt: skip
def test_urls_that_are_refused(exchange: Exchange, url: str) -> None:
    """Those that no request can go to, with secrets in them, and to hosts that are not public."""
    assert problem(exchange, url=url) == (422, "INVALID_FIELD", "url")


def test_a_test_message_reaches_no_private_address(exchange: Exchange) -> None:
    """Not even if the setting allowed its URL when it was registered."""
    made = exchange.api.done("/webhooks", NOTHING)["webhook_id"]
    with psycopg.connect(str(exchange.running.settings.dsn), autocommit=True) as connection:
        connection.execute("UPDATE public.webhooks SET url = 'http://127.0.0.1:9/'")
    answer = exchange.api.done(f"/webhooks/{made}/ping")
    assert answer == {"webhook_id": made, "delivered": False, "error": "127.0.0.1 has an address that is not public"}


def test_filters_that_are_refused(exchange: Exchange) -> None:
    """None at all, an amount below 0, an account that does not exist, fields that are none."""
    assert exchange.api.post("/webhooks", {"url": URL}).json()["details"]["field"] == "lifecycle"
    assert problem(exchange, min_cost="-1")[1:] == ("INVALID_FIELD", "min_cost")
    assert problem(exchange, fills_of="nobody of this name")[:2] == (404, "ACCOUNT_NOT_FOUND")
    assert problem(exchange, position=1)[1:] == ("INVALID_FIELD", "position")


def test_fills_need_a_role_that_may_see_them(exchange: Exchange) -> None:
    """An operator alone may not see the orders of an account."""
    trader = exchange.trader(None)
    body = {"url": URL, "fills_of": trader.account_id}
    for roles, status in [(["operator"], 403), (["operator", "analyst"], 201), (["operator", "admin"], 201)]:
        key = exchange.api.done("/keys", {"roles": roles})["key"]
        assert exchange.api.as_key(key).post("/webhooks", body).status_code == status


def test_a_registration_that_is_sent_again_is_done_once(exchange: Exchange) -> None:
    """The second answer has no secret; with another body it is refused. So is a rotation, within one webhook."""
    headers = {"idempotency-key": "register once"}
    made = exchange.api.done("/webhooks", NOTHING, headers=headers)
    again = exchange.api.done("/webhooks", NOTHING, headers=headers)
    assert (again["webhook_id"], again["secret"]) == (made["webhook_id"], None)
    refused = exchange.api.post("/webhooks", NOTHING | {"lifecycle": True}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "COMMAND_ID_REUSED")
    path = f"/webhooks/{made['webhook_id']}/rotate-secret"
    rotated = exchange.api.done(path, headers=headers)
    assert rotated["secret"] not in {None, made["secret"]}
    assert exchange.api.done(path, headers=headers)["secret"] is None
    with psycopg.connect(str(exchange.running.settings.dsn)) as connection:
        assert store.signing_secrets(connection, made["webhook_id"]) == [rotated["secret"], made["secret"]]


def test_old_secrets_end(exchange: Exchange) -> None:
    """A day after their replacement, or when there are too many."""
    made = exchange.api.done("/webhooks", NOTHING)
    webhook = made["webhook_id"]
    path = f"/webhooks/{webhook}/rotate-secret"
    made_secrets = [made["secret"], *(exchange.api.done(path)["secret"] for _ in range(SECRETS_MAX + 1))]
    with psycopg.connect(str(exchange.running.settings.dsn), autocommit=True) as connection:
        assert store.signing_secrets(connection, webhook) == made_secrets[: -SECRETS_MAX - 1 : -1]
        connection.execute("UPDATE public.webhook_secrets SET ends_at = ends_at - interval '24 hours'")
        assert store.signing_secrets(connection, webhook) == made_secrets[-1:]


def test_there_are_so_many_webhooks_at_most(exchange: Exchange) -> None:
    """Another one is refused until one is removed."""
    made = [exchange.api.done("/webhooks", NOTHING) for _ in range(WEBHOOKS_MAX)]
    assert problem(exchange)[:2] == (422, "TOO_MANY_WEBHOOKS")
    exchange.api.send("DELETE", f"/webhooks/{made[0]['webhook_id']}")
    exchange.api.done("/webhooks", NOTHING)
