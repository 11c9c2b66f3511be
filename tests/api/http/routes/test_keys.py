"""API keys over HTTP: names, expiry, last use; what a trader may do with the keys of its account; who one is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from api.key_store import KEYS_MAX

if TYPE_CHECKING:
    from tests.api.conftest import Api, Exchange


def after(seconds: float) -> str:
    """Return the time so many seconds from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def named(api: Api, name: str) -> dict[str, Any]:
    """Return the key with this name in the list of keys."""
    (found,) = [key for key in api.data("/keys") if key["name"] == name]
    return found


def test_an_expired_key_stops_working(exchange: Exchange) -> None:
    """Also where it was in use just before; the times it may have are those to come."""
    exchange.trader(None)  # the read models exist then
    made = exchange.api.done("/keys", {"roles": ["analyst"], "name": "soon over", "expires_at": after(3)})
    api = exchange.api.as_key(made["key"])
    assert api.get("/me").json()["data"]["expires_at"] == made["expires_at"]
    assert named(exchange.api, "soon over")["last_used_at"] is not None
    end = datetime.fromisoformat(made["expires_at"])
    while datetime.now(UTC) < end:
        api.get("/markets")
    assert api.get("/markets").status_code == 401

    over = exchange.api.post("/keys", {"roles": ["analyst"], "expires_at": after(-1)})
    assert (over.status_code, over.json()["details"]["field"]) == (422, "expires_at")


def test_who_one_is(exchange: Exchange) -> None:
    """The key, its roles, its account and the account's name; 401 without a key."""
    trader = exchange.trader(None)
    me = trader.api.data("/me", min_position=exchange.head())
    assert (me["roles"], me["account_id"], me["account"]) == (["trader"], trader.account_id, trader.name)
    admin = exchange.api.data("/me")
    assert (admin["roles"], admin["account_id"], admin["account"]) == (["operator", "admin"], None, None)
    assert admin["name"] == "from TIDINGS_OPERATOR_KEY"
    assert exchange.api.as_key(None).get("/me").status_code == 401


def test_a_trader_makes_and_revokes_keys_of_its_own_account(exchange: Exchange) -> None:
    """With the roles trader and reader; a reader's key reads and makes nothing; those of others it does not even see."""
    trader, other = exchange.trader(), exchange.trader()
    market = exchange.market()["market_id"]
    bot = trader.api.done("/keys", {"roles": ["trader"], "name": "bot"})
    watch = trader.api.done("/keys", {"roles": ["reader"], "name": "watch", "account": trader.name})
    assert {key["name"] for key in trader.api.data("/keys")} >= {"bot", "watch"}
    assert {key["account_id"] for key in trader.api.data("/keys")} == {trader.account_id}
    assert exchange.api.as_key(bot["key"]).post("/orders", trader.order(market)).status_code == 201
    reader = exchange.api.as_key(watch["key"])
    assert reader.get(f"/accounts/{trader.account_id}/orders").status_code == 200
    for path, body in (("/orders", trader.order(market)), ("/keys", {"roles": ["reader"]})):
        assert reader.post(path, body).status_code == 403
    assert reader.get("/keys").status_code == 403

    for role in ("operator", "analyst", "admin"):
        assert trader.api.post("/keys", {"roles": [role]}).status_code == 403
        assert trader.api.post("/keys", {"roles": ["trader", role]}).status_code == 403
    assert other.api.post("/keys", {"roles": ["trader"], "account": trader.account_id}).status_code == 403
    assert other.api.send("DELETE", f"/keys/{bot['key_id']}").status_code == 404
    assert trader.api.send("DELETE", f"/keys/{bot['key_id']}").json()["revoked_at"] is not None
    assert exchange.api.as_key(bot["key"]).get("/me").status_code == 401


def test_an_idempotency_key_of_a_trader_is_its_own(exchange: Exchange) -> None:
    """Two traders who choose the same make two keys."""
    headers = {"idempotency-key": "my first bot"}
    traders = [exchange.trader(None), exchange.trader(None)]
    made = [trader.api.done("/keys", {"roles": ["reader"]}, headers=headers) for trader in traders]
    again = traders[0].api.done("/keys", {"roles": ["reader"]}, headers=headers)
    reused = traders[0].api.post("/keys", {"roles": ["reader"], "expires_at": after(60)}, headers=headers)

    assert [key["account_id"] for key in made] == [trader.account_id for trader in traders]
    assert (again["key_id"], again["key"]) == (made[0]["key_id"], None)
    assert reused.json()["code"] == "COMMAND_ID_REUSED"


def test_a_key_does_not_outlive_the_key_that_made_it(exchange: Exchange) -> None:
    """If it names no time, it has that of its maker."""
    trader = exchange.trader(None)
    body = {"roles": ["trader"], "account": trader.account_id, "expires_at": after(60)}
    maker = exchange.api.done("/keys", body)
    api = exchange.api.as_key(maker["key"])

    assert api.done("/keys", {"roles": ["trader"]})["expires_at"] == maker["expires_at"]
    refused = api.post("/keys", {"roles": ["trader"], "expires_at": after(120)})
    assert (refused.status_code, refused.json()["details"]["field"]) == (422, "expires_at")


def test_an_account_has_so_many_keys_and_no_more(exchange: Exchange) -> None:
    """One that is revoked makes room; an admin may make more."""
    trader = exchange.trader(None)
    made = [trader.api.done("/keys", {"roles": ["reader"]}) for _ in range(KEYS_MAX - 1)]
    refused = trader.api.post("/keys", {"roles": ["reader"]})
    assert (refused.status_code, refused.json()["code"]) == (422, "TOO_MANY_KEYS")
    exchange.api.done("/keys", {"roles": ["reader"], "account": trader.account_id})
    for key in made[:2]:
        trader.api.send("DELETE", f"/keys/{key['key_id']}")
    assert trader.api.post("/keys", {"roles": ["reader"]}).status_code == 201


def test_a_listing_has_nothing_of_a_chosen_key(exchange: Exchange) -> None:
    """The key from the settings has an empty prefix; others have the few characters by which people know them."""
    secret = exchange.api.key or ""
    for key in exchange.api.data("/keys"):
        assert not (key["prefix"] and secret.startswith(key["prefix"]))
        assert secret[:10] not in str(key)
