"""Slugs and names over HTTP: each belongs to one, is found again by every spelling of it, and is never free twice."""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.names import name_key
from tests.api.conftest import FAR

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

_numbers = count(1)


def story(**fields: Any) -> dict[str, Any]:
    """The body of a story without a slug."""
    return {
        "title": "A title", "body": "Something\nhappened.", "category": "names", "published_at": "2024-10-24T10:02:00Z",
    } | fields  # fmt: skip


def market(**fields: Any) -> dict[str, Any]:
    """The body of a market without a slug."""
    return {
        "question": "Will it be?", "outcomes": ["Yes", "No"], "subsidy": "10", "close_time": FAR, "resolution_source": "us",
    } | fields  # fmt: skip


def test_a_slug_given_twice_is_refused_and_the_first_stays_reachable(exchange: Exchange) -> None:
    """201, 409, 200: it was 201, 201, 404."""
    api = exchange.api
    first = api.done("/stories", story(slug="given-twice", markets=[market(slug="market-given-twice")]))
    position = exchange.head()

    second = api.post("/stories", story(slug="given-twice", title="Another"))
    third = api.post(f"/stories/{first['story_id']}/markets", market(slug="market-given-twice"))
    whole = api.post("/stories", story(slug="whole-or-not", markets=[market(), market(slug="market-given-twice")]))

    assert (second.status_code, second.json()["code"]) == (409, "STORY_EXISTS")
    details = second.json()["details"]
    assert (details["slug"], details["story"]) == ("given-twice", first["story_id"])
    for refused in (third, whole):
        assert (refused.status_code, refused.json()["code"]) == (409, "MARKET_EXISTS")
        assert refused.json()["details"]["market"] == first["markets"][0]["market_id"]
    assert [event["type"] for event in exchange.events_after(position)] == ["CommandRejected"] * 3
    assert api.data("/stories/given-twice")["story_id"] == first["story_id"]
    assert api.data("/markets/market-given-twice")["market_id"] == first["markets"][0]["market_id"]
    assert api.get("/stories/whole-or-not").status_code == 404


def test_the_first_of_a_name_is_found_at_past_positions_too(exchange: Exchange) -> None:
    """Before the slug was given there is no such story; after a second try to take it there still is the first one."""
    api = exchange.api
    before = exchange.head()
    first = api.done("/stories", story(slug="in-the-past", markets=[market(slug="market-in-the-past")]))
    api.post("/stories", story(slug="in-the-past", title="Another"))
    after = exchange.head()

    for path in ("/stories/in-the-past", "/markets/market-in-the-past"):
        assert api.get(path, as_of_position=before).status_code == 404
        assert api.data(path, as_of_position=after)["story_id"] == first["story_id"]


def test_racing_stories_of_one_title_all_succeed(exchange: Exchange) -> None:
    """Each gets a slug of its own; so do their markets, which ask the same question."""
    body = story(title="Гонка за слаг", markets=[market(question="東京?"), market(question="東京?")])
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: exchange.api.done("/stories", body), range(8)))

    slugs = [answer["slug"] for answer in answers]
    market_slugs = [opened["slug"] for answer in answers for opened in answer["markets"]]

    assert sorted(slugs) == sorted(["gonka-za-slag", *(f"gonka-za-slag-{number}" for number in range(2, 9))])
    assert sorted(market_slugs) == sorted(["dong-jing", *(f"dong-jing-{number}" for number in range(2, 17))])
    for answer in answers:
        assert exchange.api.data(f"/stories/{answer['slug']}")["story_id"] == answer["story_id"]


def test_a_retry_gets_the_slug_of_the_first_time(exchange: Exchange) -> None:
    """A derived slug is decided once."""
    once = {"headers": {"Idempotency-Key": "the-slug-of-the-first-time"}}
    body = story(title="Decided once")

    first, again = (exchange.api.done("/stories", body, **once) for _ in range(2))

    assert first["slug"] == again["slug"] == "decided-once"
    assert first["position"] == again["position"]


@pytest.mark.parametrize("title", ["🔥🔥🔥", "？！"])
def test_a_title_that_cannot_be_read_gives_a_slug_from_the_id(exchange: Exchange, title: str) -> None:
    """Not `story` for all."""
    answers = [exchange.api.done("/stories", story(title=title)) for _ in range(2)]

    assert [answer["slug"] for answer in answers] == [f"story-{answer['story_id'][-8:]}" for answer in answers]


@pytest.mark.parametrize("other", ["Zoë LOOKALIKE", "Zoe\u0308 Lookalike", "Ｚoë  Lookalike"])
def test_a_name_that_looks_like_another_is_refused(exchange: Exchange, other: str) -> None:
    """The details name the account that has the name."""
    api = exchange.api
    found = api.get("/accounts/" + quote("Zoë Lookalike"))
    first = found.json()["data"] if found.status_code == 200 else api.done("/accounts", {"name": "Zoë Lookalike"})

    refused = api.post("/accounts", {"name": other})

    assert (refused.status_code, refused.json()["code"]) == (409, "ACCOUNT_EXISTS")
    assert refused.json()["details"]["account"] == first["account_id"]
    assert refused.json()["details"]["name"] == unicodedata.normalize("NFC", other)


@pytest.mark.parametrize("name", ["pаypal", "a\u200bb", "a\u202eb", "\u2003", "ac_" + "0" * 26, ".."])
def test_a_name_that_passes_for_something_else_is_a_field_error(exchange: Exchange, name: str) -> None:
    """Mixed scripts, hidden characters, blanks, ids, folders."""
    refused = exchange.api.post("/accounts", {"name": name})

    assert (refused.status_code, refused.json()["code"]) == (422, "INVALID_FIELD")
    assert refused.json()["details"]["field"] == "name"


def test_nobody_is_called_as_the_house(exchange: Exchange) -> None:
    """The built-in accounts have their names."""
    assert exchange.api.post("/accounts", {"name": "House"}).json()["code"] == "ACCOUNT_EXISTS"


SIGNS = st.sampled_from([*"/%?#&=+ ;:@'\"\\.~", "%2F", "//", "👍", "א", "م", "é", "e\u0301", "ß", "東", "カ", "Ж"])


@given(
    name=st.lists(st.one_of(SIGNS, st.characters(exclude_categories=("C", "Z"))), min_size=1, max_size=12).map("".join)
)
@settings(max_examples=60)
def test_every_account_is_found_by_its_name_and_its_id(exchange: Exchange, name: str) -> None:
    """Whatever signs its name has. A name that equals another under NFKC and case folding is never an account too."""
    api = exchange.api
    created = api.post("/accounts", {"name": f"{name}{next(_numbers)}"})
    if created.status_code != 201:
        assert created.json()["code"] in {"INVALID_FIELD", "ACCOUNT_EXISTS"}
        return
    account = created.json()

    for reference in (account["account_id"], account["name"], unicodedata.normalize("NFD", account["name"])):
        path = f"/accounts/{quote(reference, safe='')}"
        assert api.data(path)["account_id"] == account["account_id"]
        assert api.data(f"{path}/positions") == []
    assert api.done(f"/accounts/{quote(account['name'], safe='')}/deposits", {"amount": "1"})["available"] == "1.000000"
    for alike in {account["name"].upper(), account["name"].casefold(), unicodedata.normalize("NFKC", account["name"])}:
        if name_key(alike) == name_key(account["name"]):
            again = api.post("/accounts", {"name": alike})
            assert again.status_code in {409, 422}, (alike, again.text)


def test_an_outcome_with_any_sign_is_found(exchange: Exchange) -> None:
    """In a query, in any form; orders name it in any form too."""
    opened = exchange.market(outcomes=["Café/50% & more?", "No #1"])
    trader = exchange.trader()
    path = f"/markets/{opened['slug']}"
    other_form = "Cafe\u0301/50% & more?"

    placed = trader.place(opened["market_id"], outcome=other_form)

    assert placed["outcome"] == "Café/50% & more?"
    for outcome in ("Café/50% & more?", other_form):
        assert len(
            exchange.api.data(f"{path}/prices-history", outcome=outcome, min_position=placed["position"])["history"]
        )
        assert len(exchange.api.data(f"{path}/holders", outcome=outcome, min_position=placed["position"])) == 1
