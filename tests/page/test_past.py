"""Pages of the past: how one gets there, who is named there, and what is said of what was not there yet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.conftest import Exchange
    from tests.page.conftest import Clients, Newsroom, Visitor


def header_of(page: str) -> str:
    """Return the words at the top right of a page."""
    (who,) = re.findall(r'<div class="who">.*?</header>', page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", who).split())


def test_the_header_names_who_looks_now(newsroom: Newsroom, clients: Clients) -> None:
    """Also at a time at which the account was not open; its credits of now do not stand beside what was then."""
    trader = newsroom.trader
    before = newsroom.exchange.market()
    position = newsroom.exchange.head()
    late = newsroom.exchange.trader("77")
    path = f"/markets/{before['market_id']}"
    for each in (late, trader):
        client = clients.signed_in(each.api.key)
        then = client.get(path, params={"as_of_position": position})
        assert then.status_code == 200
        assert header_of(then.text) == f"{each.name} Sign out"
        now = client.get(path, params={"min_position": newsroom.exchange.head()})
        assert header_of(now.text).startswith("As of position")
        assert re.search(rf"{each.name} · [\d ]+\.00 Sign out", header_of(now.text))
    answer = client.get(path, params={"as_of_position": 1})
    assert answer.status_code == 404
    assert "At that time it did not exist yet" in answer.text
    assert f'href="{path}">Go to now' in answer.text
    assert "Go to now" not in client.get(f"{client.base_url}//evil.example/?as_of_position=1").text


def test_a_field_leads_to_the_past(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """A time typed in the field of any page: the page says which time it shows, and its field leads on to another one."""
    visitor = visitors(java_script_enabled=False)
    visitor.expected = ("404",)
    page = visitor.open(f"/stories/{newsroom.story['slug']}?min_position={newsroom.exchange.head()}")
    page.get_by_text("See this page as it was").click()
    page.get_by_label("Time (UTC)").fill("2000-01-01T10:30")
    page.get_by_role("button", name="Go there").click()
    expect(page).to_have_url(re.compile(r"/stories/.*\?as_of=2000-01-01T10%3A30%3A00Z$"))
    expect(page.get_by_text("At that time it did not exist yet")).to_be_visible()

    page.goto(f"{visitor.url}/leaderboard?sort=volume&as_of=2000-01-01")
    expect(page.locator(".pastbar")).to_contain_text("1 January 2000, 00:00 UTC")
    page.get_by_text("See this page as it was").click()
    page.get_by_label("Time (UTC)").fill("2001-02-03T04:05")
    page.get_by_role("button", name="Go there").click()
    expect(page.locator(".pastbar")).to_contain_text("3 February 2001, 04:05 UTC")


@pytest.mark.parametrize(
    ("time", "leads_to"),
    [
        ("2001-02-03T04:05", "/leaderboard?as_of=2001-02-03T04%3A05%3A00Z"),
        ("2001-02-03T04:05:06", "/leaderboard?as_of=2001-02-03T04%3A05%3A06Z"),
        ("2001-02-03", "/leaderboard?as_of=2001-02-03"),
        ("", "/leaderboard"),
        ("2999-01-01T00:00", "/leaderboard"),
    ],
)
def test_a_time_leads_to_a_page(exchange: Exchange, clients: Clients, time: str, leads_to: str) -> None:
    """Browsers with a field for times and those without; what is to come is now, and no other site is led to."""
    client = clients.new()
    answer = client.get("/then", params={"time": time, "path": "/leaderboard"})
    assert (answer.status_code, answer.headers["location"]) == (303, leads_to)
    assert client.get("/then", params={"time": time, "path": "//evil.example"}).headers["location"].startswith("/")
    assert not client.get("/then", params={"time": time, "path": "//evil.example"}).headers["location"].startswith("//")


def bar_of(page: str) -> str:
    """Return the words of the bar of the past; "" where there is none."""
    found = re.search(r'<aside class="pastbar".*?</p>', page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split()) if found else ""


def test_a_page_of_the_past_says_nothing_of_now(newsroom: Newsroom, clients: Clients) -> None:
    """Neither of the odds of positions; and of a time to come it says which state it shows."""
    trader = newsroom.trader
    position = trader.place(newsroom.binary["market_id"], quantity="5")["position"]
    client = clients.signed_in(trader.api.key)
    for path in ("/portfolio", f"/accounts/{trader.account_id}"):
        now, then = (client.get(path, params={name: position}).text for name in ("min_position", "as_of_position"))
        assert ("at the odds of now" in now, "at the odds of that time" in now) == (True, False)
        assert ("at the odds of now" in then, "at the odds of that time" in then) == (False, True)
        assert ">Now</th>" not in then
    to_come = client.get("/leaderboard", params={"as_of": "2999-01-01"}).text
    assert bar_of(to_come).startswith("As it was at position")
    assert "2999" not in to_come


@pytest.mark.parametrize("path", ["/desk", "/desk/people", "/desk/set-aside"])
def test_pages_without_a_past_are_of_now(exchange: Exchange, clients: Clients, path: str) -> None:
    """Whatever their addresses name: no bar of the past stands above what is of now."""
    client = clients.signed_in(exchange.api.key)
    for query in ({"as_of_position": "1"}, {"as_of": "2001-02-03"}):
        answer = client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        assert bar_of(answer.text) == ""
