"""What went wrong is said in words of the catalogue, whatever the API said: in forms, and on the pages of errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from api.http.errors import CODES, ApiError, invalid_field
from api.page.desk_words import fault_of
from api.page.languages import current
from api.page.problem_words import problem_words
from api.page.tickets import problem_of
from api.page.viewing import UNDECIDED
from tests.page.conftest import SAME

if TYPE_CHECKING:
    from tests.page.conftest import Clients, Newsroom

NUMBER_WORDS = (
    "Type a number, such as 25 or 12.50.",
    "Type a number above zero.",
    "This number is too large, or has more than six decimals.",
)
RAW = "Expected `int`, got `str`"


@pytest.mark.parametrize("code", sorted(CODES))
def test_no_message_of_the_api_reaches_people(code: str) -> None:
    """Every code has words, in each language its own: those that a form or a page can meet, and all others."""
    for details in ({}, {"field": "leverage"}):
        told = []
        for language in ("en", "de"):
            token = current.set(language)
            error = ApiError(code, RAW, details)
            told.append((fault_of(error).text, problem_of(error).text, problem_words(code, details)))
            current.reset(token)
        for english, german in zip(*told, strict=True):
            assert RAW not in english
            assert english != german


@pytest.mark.parametrize("code", sorted(UNDECIDED))
def test_no_words_say_that_nothing_was_done_where_nobody_knows(code: str) -> None:
    """A write may have been decided when the read after it fails; only what is refused before it is sent was surely not done."""
    told = problem_words(code, {})
    assert ("nothing was done" in told) == (code == "BUSY")
    assert ("whether it was done" in told) == (code in {"READ_TIMEOUT", "UNAVAILABLE"})


def test_words_stand_beside_the_field() -> None:
    """The field of a form, by the name that the form has for it."""
    for named, field in (
        ("evidence.url", "evidence_url"),
        ("payouts.Yes", "winner"),
        ("markets.1.initial_prices.0", "1.prices"),
        ("resolution_source", "resolution_source"),
    ):
        assert fault_of(invalid_field(named, RAW)).field == field
    assert fault_of(ApiError("UNKNOWN_OUTCOME", RAW), "determine").field == "determine.winner"
    assert fault_of(ApiError("BUSY", RAW), "determine").field == ""
    for hidden in ("form_key", "role", "invitation_id"):  # no message can stand beside these
        assert fault_of(invalid_field(hidden, RAW), "key").field == ""


def alerts_of(page: str) -> list[str]:
    """Return what a page says went wrong."""
    return re.findall(r'role="alert"[^>]*>([^<]*)', page)


def test_what_cannot_be_used_is_said_in_words(newsroom: Newsroom, clients: Clients) -> None:
    """In the ticket, when one joins, in the address of a page: never in the words of a library."""
    client = clients.signed_in(newsroom.trader.api.key)
    ticket = {"side": "buy", "outcome": "Yes", "kind": "market", "step": "review"}
    path = f"/markets/{newsroom.binary['slug']}"
    for amount in ("99999999999999999999", "1e5", "-3", "nan"):
        answer = client.post(f"{path}/orders", data=ticket | {"amount": amount}, headers=SAME)
        assert answer.status_code == 422
        (words,) = alerts_of(answer.text)
        assert words in NUMBER_WORDS
    joining = {"code": "tdi_nobody", "name": "x" * 200, "form_key": "form-1"}
    (words,) = alerts_of(client.post("/join", data=joining, headers=SAME).text)
    assert words.startswith("Type a name, of at most 100 characters")
    assert client.head("/nothing-here").status_code == 404
    for query, words in (
        ("range=9y", "This cannot be used: range."),
        ("as_of=yesterday", "This is no time: write it as 2024-11-12T10:02."),
        ("leverage=5", "This cannot be used: leverage."),
        ("as_of_position=-1", "This is no position: it is a whole number."),
    ):
        answer = client.get(f"{path}?{query}")
        assert answer.status_code in {400, 422}
        assert f"<p>{words}</p>" in answer.text
