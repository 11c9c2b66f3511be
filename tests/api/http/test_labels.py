"""Slugs and names stand beside ids, in every row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.http.labels import Kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.api.conftest import Exchange


def test_rows_of_accounts_and_markets_name_both(exchange: Exchange) -> None:
    """Orders, fills, settlements, ledger, positions, trades, holders; now and then."""
    market, maker, taker = exchange.market(), exchange.trader("100"), exchange.trader("100")
    slug, path = market["slug"], f"/markets/{market['market_id']}"
    maker.place(market["market_id"], type="limit", limit_price="0.4", quantity="5")
    taker.place(market["market_id"], quantity="3")
    held = taker.place(market["market_id"], outcome="No", type="limit", limit_price="0.7", quantity="80")["position"]
    exchange.api.done(f"{path}/close")
    exchange.api.done(f"{path}/determine", {"payouts": {"Yes": "1"}, "evidence": "so"})
    paid = exchange.api.done(f"{path}/finalize")["position"]

    for at in ({"min_position": paid}, {"as_of_position": paid}):
        for part in ("orders", "fills", "settlements", "positions?closed=true", "ledger"):
            rows = exchange.api.data(
                f"/accounts/{taker.account_id}/{part.partition('?')[0]}",
                **at,
                **({"closed": True} if "?" in part else {}),
            )
            assert rows, part
            assert {row["market"] for row in rows} == {slug} | ({None} if part == "ledger" else set()), part
            if "account_id" in rows[0]:
                assert {row["account"] for row in rows} == {taker.name}, part
    holders = exchange.api.data(f"{path}/holders", as_of_position=held)
    assert {row["account_id"]: row["account"] for row in holders} == {
        maker.account_id: maker.name,
        taker.account_id: taker.name,
    }


def test_who_may_not_see_an_id_sees_no_name(exchange: Exchange) -> None:
    """Of a trade, strangers see neither party; a party sees itself; an analyst sees both."""
    market, maker, taker = exchange.market(), exchange.trader("100"), exchange.trader("100")
    maker.place(market["market_id"], type="limit", limit_price="0.4", quantity="5")
    at = taker.place(market["market_id"], outcome="No", type="limit", limit_price="0.7", quantity="80")["position"]
    path = f"/markets/{market['market_id']}/trades"

    both = {(row["account"], row["resting_account"]) for row in exchange.api.data(path, min_position=at)}
    mine = {row["account"] for row in taker.api.data(path)}
    nobody = {row[name] for row in exchange.api.as_key(None).data(path) for name in ("account", "resting_account")}
    assert (taker.name, maker.name) in both
    assert mine == {taker.name}
    assert nobody == {None}
    assert {row["market"] for row in taker.api.data(path)} == {market["slug"]}


def test_a_label_is_looked_up_once() -> None:
    """Those that were not found are asked for again; beyond the bound the oldest ones are forgotten."""
    asked: list[list[str]] = []

    def find(ids: list[str]) -> Mapping[str, str]:
        asked.append(sorted(ids))
        return {each: each.upper() for each in ids if each != "x"}

    kept = Kept(kept_max=2)
    assert kept.of({"a", "b"}, find) == {"a": "A", "b": "B"}
    assert kept.of({"a", "b"}, find) == {"a": "A", "b": "B"}
    assert kept.of({"b", "x"}, find) == kept.of({"b", "x"}, find) == {"b": "B"}
    assert kept.of({"c"}, find) == {"c": "C"}
    assert kept.of({"d"}, find) == {"d": "D"}
    assert kept.of({"a", "d"}, find) == {"a": "A", "d": "D"}
    assert asked == [["a", "b"], ["x"], ["x"], ["c"], ["d"], ["a"]]
