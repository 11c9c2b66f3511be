"""The list of markets: filters, search, orders, changes and sparklines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.conftest import connected, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Exchange


def slugs(exchange: Exchange, **parameters: Any) -> list[str]:
    """The slugs of the markets of a list."""
    return [row["slug"] for row in exchange.api.data("/markets", limit=1000, **parameters)]


def publish(exchange: Exchange, title: str, body: str, *questions: str) -> list[dict[str, Any]]:
    """Publish a story with a market for each question."""
    terms = {
        "outcomes": ["Yes", "No"],
        "subsidy": "50",
        "close_time": "2090-01-01T00:00:00Z",
        "resolution_source": "The press",
    }
    story = {"title": title, "body": body, "category": "words", "published_at": "2024-10-24T10:02:00Z"}
    made: list[dict[str, Any]] = exchange.api.done(
        "/stories", story | {"markets": [terms | {"question": question} for question in questions]}
    )["markets"]
    return made


def test_filters(exchange: Exchange) -> None:
    """By several statuses, ids or slugs, and the time of the close."""
    one, two = exchange.market(), exchange.market(close_time="2089-01-01T00:00:00Z")
    at = exchange.api.done(f"/markets/{one['slug']}/halt")["position"]
    both = {"ids": f"{one['market_id']},{two['slug']}", "min_position": at}

    assert slugs(exchange, **both) == [two["slug"], one["slug"]]
    assert slugs(exchange, status="halted", **both) == [one["slug"]]
    assert slugs(exchange, status="halted,active", **both) == [two["slug"], one["slug"]]
    assert slugs(exchange, closes_before="2089-06-01", **both) == [two["slug"]]
    assert slugs(exchange, ids="nowhere") == []
    for wrong in (
        {"status": "active,asleep"},
        {"ids": ",".join(map(str, range(101)))},
        {"ids": "a,"},
        {"q": "x" * 201},
    ):
        refused = exchange.api.get("/markets", **wrong)
        assert (refused.status_code, refused.json()["details"]["field"]) == (422, *wrong)
    assert exchange.api.get("/markets", sort="relevance").json()["details"]["field"] == "sort"


def test_search(exchange: Exchange) -> None:
    """Words of the question before those of the title, the resolution source and the story's text; all are wanted."""
    (a, b) = publish(
        exchange, "Zeppelins over Lakehurst", "Hydrogen burns.", "Does the quagga return?", "Is it a hoax?"
    )
    (c,) = publish(exchange, "A quagga was seen", "Near the river.", "Was it a horse?")
    at = exchange.api.done(f"/markets/{b['slug']}/clarify", {"resolution_source": "The quagga society"})["position"]

    assert slugs(exchange, q="quagga", min_position=at) == [a["slug"], c["slug"], b["slug"]]
    assert slugs(exchange, q="QUAGGA return") == [a["slug"]]
    assert slugs(exchange, q="hydrogen", sort="newest") == [b["slug"], a["slug"]]
    assert slugs(exchange, q="quagga -zeppelins", category="words") == [c["slug"]]
    assert slugs(exchange, q='"it a horse"') == [c["slug"]]
    assert slugs(exchange, q="quagga", as_of_position=b["position"]) == [a["slug"]], (
        "before the other story and the wording"
    )
    assert [row["title"] for row in exchange.api.data("/stories", q="quagga")] == ["A quagga was seen"]
    for strange in ("' OR 1=1", "((", '"', "a & | !", "ä" * 200, "-", "\u0301"):
        assert exchange.api.get("/markets", q=strange).status_code == 200, strange
    pages = exchange.api.get("/markets", q="quagga", limit=2).json()
    rest = exchange.api.get("/markets", q="quagga", limit=2, cursor=pages["next_cursor"]).json()
    assert [row["slug"] for row in pages["data"] + rest["data"]] == [a["slug"], c["slug"], b["slug"]]


def test_orders_changes_and_sparklines(exchange: Exchange) -> None:
    """Most volume, largest movement, soonest close; the last point of a sparkline is the price of now."""
    quiet, loud, late = exchange.market(subsidy="10000"), exchange.market(subsidy="10"), exchange.market()
    soon = exchange.market(close_time="2088-01-01T00:00:00Z")
    trader = exchange.trader("1000")
    trader.place(quiet["market_id"], quantity="40")
    at = trader.place(loud["market_id"], quantity="10")["position"]
    named = {"ids": ",".join(each["slug"] for each in (quiet, loud, late, soon)), "min_position": at}

    assert slugs(exchange, sort="volume", **named)[:2] == [quiet["slug"], loud["slug"]]
    assert slugs(exchange, sort="movement", **named)[:2] == [loud["slug"], quiet["slug"]]
    assert slugs(exchange, sort="closing", **named) == [soon["slug"], late["slug"], loud["slug"], quiet["slug"]]
    assert slugs(exchange, **named) == [soon["slug"], late["slug"], loud["slug"], quiet["slug"]]
    (found,) = exchange.api.data("/markets", ids=loud["slug"], **{"with": "sparkline"})
    for name, price in found["last_prices"].items():
        points = found["sparkline"][name]
        assert (len(points), points[-1], points[0]) == (48, price, None)
        assert re.fullmatch(r"-?\d\.\d{6}", found["change_24h"][name])
    assert float(found["change_24h"]["Yes"]) == pytest.approx(float(found["last_prices"]["Yes"]) - 0.5)
    assert exchange.api.data(f"/markets/{loud['slug']}")["change_24h"] == found["change_24h"]


def test_the_language_of_the_search(database: str, tmp_path: Path) -> None:
    """English finds other forms of a word; the index follows another setting at the next start."""
    for language, expected in (("english", True), ("simple", False)):
        with start(database, tmp_path / language, search_language=language) as running:
            exchange = connected(running)
            (made,) = publish(exchange, "The soldiers", "They marched.", f"Did they arrive ({language})?")
            at = {"min_position": made["position"]}
            assert (made["slug"] in slugs(exchange, q="soldier marching", **at)) is expected
            assert made["slug"] in slugs(exchange, q="soldiers marched", **at)
            exchange.api.client.close()
