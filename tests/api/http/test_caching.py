"""Caching: tags of query and position, answers that never change, one computation a position, nothing shared by mistake."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from api.http.access import PUBLIC, RULES
from api.http.caching import SHARED, AnswerMark, Answers, KeptAnswer, known_tag
from projections.positions import leaderboard as leaderboards
from tests.api.contract import document

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Api, Exchange

PRIVATE_PARTS = {"list_market_trades", "list_trades", "list_market_events", "list_accounts", "get_account"}
"""Public reads whose answers depend on who asks."""


def ask(api: Api, path: str, *, method: str = "GET", tag: str | None = None, **parameters: Any) -> httpx.Response:
    """Ask, with the tag of an answer that the client has."""
    headers = {"accept-encoding": "identity"} | ({} if tag is None else {"if-none-match": tag})
    return api.client.request(method, f"/v1{path}", params=parameters, headers={**api.headers, **headers})


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets an item with each computation of a leaderboard."""
    computed: list[int] = []
    usual = leaderboards.leaderboard._function

    def count(*arguments: object, **terms: object) -> list[leaderboards.Standing]:
        computed.append(1)
        return usual(*arguments, **terms)  # type: ignore[arg-type]

    monkeypatch.setattr(leaderboards.leaderboard, "_function", count)
    return computed


def test_an_answer_of_now_has_a_tag_until_something_happens(exchange: Exchange) -> None:
    """The same tag is a 304 without a body; after a trade there is another answer with another tag."""
    market, trader = exchange.market(), exchange.trader("100")
    at = exchange.head()
    for path in (f"/markets/{market['slug']}", f"/accounts/{trader.account_id}/orders", "/stories", "/orders"):
        first = ask(trader.api, path, min_position=at)
        again = ask(trader.api, path, min_position=at, tag=first.headers["etag"])
        assert (first.status_code, again.status_code, again.content) == (200, 304, b""), path
        assert again.headers["etag"] == first.headers["etag"]
        assert "no-cache" in first.headers["cache-control"]
        assert {"Authorization", "Accept-Encoding"} <= {each.strip() for each in first.headers["vary"].split(",")}
    later = trader.place(market["market_id"])["position"]
    changed = ask(trader.api, f"/markets/{market['slug']}", min_position=later, tag=first.headers["etag"])
    assert changed.status_code == 200
    assert str(changed.json()["as_of"]["position"]) in changed.headers["etag"]


def test_an_answer_of_then_never_changes(exchange: Exchange) -> None:
    """By position, by a time that is over, and on later pages it is immutable; as of the end of time it is not."""
    market, trader = exchange.market(), exchange.trader("100")
    at = trader.place(market["market_id"])["position"]
    time = exchange.api.get("/markets", min_position=at, limit=1).json()["as_of"]["time"]
    exchange.trader("5")
    last = exchange.head()
    path = f"/markets/{market['slug']}/prices-history"

    for then in ({"as_of_position": at}, {"as_of": time}):
        found = ask(exchange.api, path, min_position=last, **then)
        assert "immutable" in found.headers["cache-control"], then
        assert found.headers["etag"][0] == '"', "strong"
        trader.place(market["market_id"])
        assert ask(exchange.api, path, min_position=last, tag=found.headers["etag"], **then).status_code == 304
    page = ask(exchange.api, path, limit=2)
    assert "immutable" not in page.headers["cache-control"]
    assert "immutable" in ask(exchange.api, path, limit=2, cursor=page.json()["next_cursor"]).headers["cache-control"]
    assert "immutable" not in ask(exchange.api, path, as_of="2200-01-01").headers["cache-control"]


def test_equal_reads_of_a_position_are_computed_once(exchange: Exchange, counted: list[int]) -> None:
    """Whoever asks, also at the same time, and with the tag of an answer that is no longer kept."""
    keys = [exchange.trader("10").api for _ in range(4)]
    exchange.trader("10")
    at = exchange.head()
    exchange.api.data("/markets", min_position=at)

    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(ask, keys[number % 4], "/leaderboard", sort="volume", min_position=at)
            for number in range(40)
        ]
        found = [each.result() for each in asked]
    assert {each.status_code for each in found} == {200}
    assert len({each.content for each in found}) == 1
    assert len(counted) == 1
    assert ask(keys[0], "/leaderboard", sort="volume", min_position=at, tag=found[0].headers["etag"]).status_code == 304
    assert len(counted) == 1


def test_what_is_private_is_shared_with_nobody(exchange: Exchange) -> None:
    """Two accounts get different answers to the same question and have different tags; what is private says so."""
    market, one, two = exchange.market(), exchange.trader("100"), exchange.trader("100")
    one.place(market["market_id"])
    at = two.place(market["market_id"], quantity="2")["position"]
    for path in ("/orders", f"/markets/{market['slug']}/trades", "/accounts", "/trades", f"/accounts/{one.account_id}"):
        answers = [ask(api, path, min_position=at) for api in (one.api, two.api, exchange.api, one.api)]
        assert answers[0].content == answers[3].content
        assert answers[0].content != answers[1].content, path
        assert len({each.headers["etag"] for each in answers}) == 3, path
        assert all(each.headers["cache-control"].startswith("private") for each in answers), path
        stolen = ask(two.api, path, min_position=at, tag=answers[0].headers["etag"])
        assert (stolen.status_code, stolen.content) == (200, answers[1].content)
    path = f"/accounts/{one.account_id}/orders"
    mine = ask(one.api, path, min_position=at)
    assert mine.status_code == 200
    for api, status in ((two.api, 403), (exchange.api.as_key(None), 401), (exchange.api.as_key("no key"), 401)):
        assert ask(api, path, min_position=at, tag=mine.headers["etag"]).status_code == status
    public = ask(exchange.api.as_key(None), "/leaderboard")
    assert public.headers["cache-control"].startswith("public")
    assert ask(exchange.api.as_key("no key"), "/leaderboard").status_code == 401


def test_which_answers_are_shared() -> None:
    """Those of public reads that say the same to everybody, and no others."""
    for path, methods in document()["paths"].items():
        name = methods.get("get", {}).get("operationId")
        if name is None:
            continue
        shared = RULES[name] is PUBLIC and name not in PRIVATE_PARTS and name != "get_stream"  # it never ends
        filled = path
        for parameter in ("story", "market", "account", "order_id", "key_id"):
            filled = filled.replace(f"{{{parameter}}}", "x")
        assert bool(SHARED.fullmatch(filled)) == shared, name


def test_answers_are_compressed_if_asked_for(exchange: Exchange) -> None:
    """From 1 KiB on; the compressed form has a tag of its own, and a HEAD has the headers of the GET."""
    exchange.market()
    path = "/markets"
    plain = exchange.api.client.get(f"/v1{path}", headers={"accept-encoding": "identity"})
    packed = exchange.api.client.get(f"/v1{path}", headers={"accept-encoding": "br, gzip;q=0.5"})
    refused = exchange.api.client.get(f"/v1{path}", headers={"accept-encoding": "gzip;q=0"})
    assert (packed.headers["content-encoding"], packed.json()) == ("gzip", plain.json())
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in refused.headers
    head = exchange.api.client.head(f"/v1{path}", headers={"accept-encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in ("etag", "content-length", "vary")} == {
        name: plain.headers[name] for name in ("etag", "content-length", "vary")
    }
    assert exchange.api.client.head("/healthz").status_code == 200
    assert exchange.api.client.head("/v1/markets/nowhere").status_code == 404


def test_a_304_has_the_tag_of_what_the_client_keeps(exchange: Exchange) -> None:
    """A cache refreshes what it keeps only under the very tag, and that of the compressed answer is another one."""
    exchange.market()
    for path in ("/v1/markets", "/v1/markets?limit=1&min_position=1", "/v1/orders"):
        for encoding in ("gzip", "identity"):
            client, headers = exchange.api.client, {**exchange.api.headers, "accept-encoding": encoding}
            tag = client.get(path, headers=headers).headers["etag"]
            for _ in range(2):
                known = client.get(path, headers={**headers, "if-none-match": tag})
                assert (known.status_code, known.headers["etag"]) == (304, tag)


def test_what_does_not_say_how_it_is_kept_is_kept_by_nobody(exchange: Exchange) -> None:
    """Keys, the log, refusals and writes: neither a browser nor a shared cache keeps them."""
    trader, nobody = exchange.trader("100"), exchange.api.as_key(None)
    market = exchange.market()
    read = [
        exchange.api.get(path)
        for path in ("/me", "/keys", "/events", "/status", "/webhooks", "/markets/nowhere", "/no")
    ]
    refused = [nobody.get("/me"), nobody.get(f"/accounts/{trader.account_id}/orders"), nobody.post("/leaderboard")]
    order = trader.order(market["market_id"])
    written = [trader.api.post("/orders", order), exchange.api.post("/accounts", {"name": "kept by nobody"})]
    for answer in (*read, *refused, *written):
        assert answer.headers.get("cache-control") == "no-store", (answer.request.url, answer.status_code)


def test_tags_in_headers() -> None:
    """A list, weak ones, those of the compressed form, and the star."""
    assert known_tag('"a", W/"5-x"', "5-x") == "5-x"
    assert known_tag('"5-x-gz"', "5-x") == "5-x-gz"
    assert known_tag("*", "5-x") == "5-x"
    assert known_tag('"5-y", "55-x"', "5-x") is None


def test_the_answers_that_are_kept_have_a_bound() -> None:
    """Beyond it the oldest ones go; an old answer is not given."""

    def kept(size: int, until: float = 1e18) -> KeptAnswer:
        return KeptAnswer(AnswerMark(frozenset(), 1, "", is_final=True), "t", [], b"x" * size, None, until)

    answers = Answers(bytes_max=10_000)
    keys = [(f"/{number}", b"", "") for number in range(6)]
    for key in keys:
        answers.put(key, kept(1_500))
    assert [answers.get(key) is not None for key in keys] == [False, False, True, True, True, True]
    answers.put(keys[0], kept(3_000_000))
    assert answers.get(keys[0]) is None
    answers.put(keys[1], kept(10, until=0.0))
    assert answers.get(keys[1]) is None
