"""Invitations over HTTP: a link lets people in, each once, and nothing is ever half done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import psycopg

from api.http.server import HttpServer
from consumers.engine.command_source import LocalCommandSource
from consumers.gateway import LocalGateway
from tests.api.conftest import FAR, Api, connected, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Exchange

_numbers = iter(range(1_000_000))


def invite(exchange: Exchange, uses: int = 1, **fields: Any) -> dict[str, Any]:
    """Make an invitation."""
    return exchange.api.done("/invitations", {"uses": uses, "credits": "25", "expires_at": FAR, **fields})


def accept(api: Api, code: str, name: str, key: str | None = None) -> httpx.Response:
    """Accept an invitation, as somebody without a key."""
    headers = {} if key is None else {"idempotency-key": key}
    return api.as_key(None).post("/invitations/accept", {"code": code, "name": name}, headers=headers)


def new_name() -> str:
    """Return a name that nobody has."""
    return f"guest {next(_numbers)} of the invitations"


def test_a_link_lets_people_in(exchange: Exchange) -> None:
    """Each with an account of its own, its credits, and a key that works at once and only for it."""
    made = invite(exchange, 2)
    assert made["link"] == f"/join#{made['code']}"
    market = exchange.market()["market_id"]
    for name in (new_name(), new_name()):
        accepted = accept(exchange.api, made["code"], name).json()
        guest = exchange.api.as_key(accepted["key"])
        me = guest.data("/me")
        assert (me["account"], me["account_id"], me["roles"]) == (name, accepted["account_id"], ["trader"])
        assert guest.data(f"/accounts/{accepted['account_id']}")["available"] == "25.000000"
        order = {"client_order_id": "1", "market_id": market, "outcome": "Yes", "side": "buy", "type": "market"}
        assert guest.post("/orders", order | {"spend": "5"}).status_code == 201
        assert [key["key_id"] for key in guest.data("/keys")] == [accepted["key_id"]]

    late = accept(exchange.api, made["code"], new_name())
    assert (late.status_code, late.json()["code"]) == (409, "INVITATION_USED_UP")
    (listed,) = [row for row in exchange.api.data("/invitations") if row["invitation_id"] == made["invitation_id"]]
    assert (listed["uses"], listed["used"], listed["credits"]) == (2, 2, "25.000000")
    assert made["code"] not in exchange.api.get("/invitations").text
    events = exchange.api.get("/events", after=made["position"] - 1, limit=1000).text
    assert made["code"] not in events
    assert "tdg_" not in events


def test_an_admin_revokes_a_link(exchange: Exchange) -> None:
    """Nobody else gets in; who is in keeps the account and the key, and the list says when."""
    made = invite(exchange, 3)
    key = accept(exchange.api, made["code"], new_name()).json()["key"]
    path = f"/invitations/{made['invitation_id']}"

    done = exchange.api.send("DELETE", path)
    again = exchange.api.send("DELETE", path)

    assert (done.status_code, again.status_code) == (200, 200)
    assert done.json()["invitation_id"] == made["invitation_id"]
    late = accept(exchange.api, made["code"], new_name())
    assert (late.status_code, late.json()["code"]) == (409, "INVITATION_REVOKED")
    assert exchange.api.as_key(key).get("/me").status_code == 200
    rows = {row["invitation_id"]: row for row in exchange.api.data("/invitations")}
    assert rows[made["invitation_id"]]["revoked_at"] is not None
    (before,) = exchange.api.data("/invitations", limit=1, as_of_position=made["position"])
    assert before["revoked_at"] is None
    for unknown in ("iv_none", "no%20id", "x" * 300):
        assert exchange.api.send("DELETE", f"/invitations/{unknown}").status_code in {404, 422}


def test_who_may_invite(exchange: Exchange) -> None:
    """Admins; a trader and an operator may not, nor see the invitations."""
    operator = exchange.api.as_key(exchange.api.done("/keys", {"roles": ["operator"]})["key"])
    for api in (exchange.trader(None).api, operator):
        assert api.post("/invitations", {"uses": 1, "expires_at": FAR}).status_code == 403
        assert api.get("/invitations").status_code == 403


def test_what_is_refused(exchange: Exchange) -> None:
    """An unknown code leaves nothing in the log; a name that is taken uses nothing up, nor does an expiry that is over."""
    before = exchange.head()
    unknown = accept(exchange.api, "tdi_nobody-has-this", new_name())
    assert (unknown.status_code, unknown.json()["code"]) == (404, "INVITATION_NOT_FOUND")
    assert exchange.head() == before
    made, name = invite(exchange), exchange.trader(None).name
    taken = accept(exchange.api, made["code"], name)
    assert (taken.status_code, taken.json()["code"]) == (409, "ACCOUNT_EXISTS")
    assert accept(exchange.api, made["code"], new_name()).status_code == 201
    over = exchange.api.post("/invitations", {"uses": 1, "expires_at": "2001-01-01T00:00:00Z"})
    assert (over.status_code, over.json()["code"]) == (409, "INVITATION_EXPIRED")
    assert exchange.api.post("/invitations", {"uses": 0, "expires_at": FAR}).status_code == 422


def test_the_same_request_is_the_same_invitation_and_the_same_account(exchange: Exchange) -> None:
    """With the same code and key, until the key is used; then only its owner has it. Another body is a 409."""
    body, headers = {"uses": 5, "expires_at": FAR}, {"idempotency-key": f"class {next(_numbers)}"}
    made = exchange.api.done("/invitations", body, headers=headers)
    assert exchange.api.done("/invitations", body, headers=headers) == made
    assert exchange.api.post("/invitations", body | {"uses": 6}, headers=headers).status_code == 409

    name = new_name()
    first, again = (accept(exchange.api, made["code"], name, "mine").json() for _ in range(2))
    assert first == again
    assert first["key"].startswith("tdg_")
    assert accept(exchange.api, made["code"], new_name(), "mine").json()["code"] == "COMMAND_ID_REUSED"
    assert exchange.api.as_key(first["key"]).get("/me").status_code == 200
    assert accept(exchange.api, made["code"], name, "mine").json() == first | {"key": None}
    (listed,) = [row for row in exchange.api.data("/invitations") if row["invitation_id"] == made["invitation_id"]]
    assert listed["used"] == 1


def test_a_race_for_the_last_use_has_one_winner(exchange: Exchange) -> None:
    """Of sixteen who open a link for three, three get in, each with a key that works."""
    made = invite(exchange, 3)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda name: accept(exchange.api, made["code"], name), [new_name() for _ in range(16)]))

    keys = [answer.json()["key"] for answer in answers if answer.status_code == 201]
    assert sorted({answer.status_code for answer in answers}) == [201, 409]
    assert len(set(keys)) == 3
    assert {exchange.api.as_key(key).get("/me").status_code for key in keys} == {200}


def test_a_request_without_an_id_is_told_one(exchange: Exchange) -> None:
    """When its reply is lost: sent again with it, it gets the account and the key that it has made."""
    made, running, name = invite(exchange), exchange.running, new_name()
    silent = running.dependencies.app(LocalGateway(LocalCommandSource(), timeout_seconds=0.05))
    with HttpServer(silent, running.settings) as server, httpx.Client(base_url=server.url) as client:
        lost = accept(Api(client), made["code"], name).json()
    assert lost["code"] == "REPLY_TIMEOUT"
    found = accept(exchange.api, made["code"], name, lost["details"]["idempotency_key"])
    assert found.status_code == 201
    again = accept(exchange.api, made["code"], name, lost["details"]["idempotency_key"])
    assert again.json()["key"] == found.json()["key"]


def test_a_key_is_there_as_soon_as_its_account_is(database: str, tmp_path: Path) -> None:
    """The log makes the key: a process that ended right after the command, before anything else, leaves nothing half done.

    So does a database of keys that knows nothing of it yet. A revoked key stays revoked when all is looked up again.
    """
    with start(database, tmp_path) as running:
        exchange = connected(running)
        made, name = invite(exchange), new_name()
        accepted = accept(exchange.api, made["code"], name, "mine").json()
        exchange.api.client.close()
    with psycopg.connect(database, autocommit=True) as connection:  # as if nothing had been done after the command
        connection.execute("DELETE FROM public.api_keys WHERE key_id = %s", [accepted["key_id"]])

    with start(database, tmp_path) as running:
        exchange = connected(running)
        assert accept(exchange.api, made["code"], name, "mine").json() == accepted
        guest = exchange.api.as_key(accepted["key"])
        assert guest.data("/me")["account_id"] == accepted["account_id"]
        assert guest.data(f"/accounts/{accepted['account_id']}")["available"] == "25.000000"
        assert exchange.api.send("DELETE", f"/keys/{accepted['key_id']}").status_code == 200
        assert guest.get("/me").status_code == 401
        assert accept(exchange.api, made["code"], name, "mine").json()["key"] is None
        exchange.api.client.close()
