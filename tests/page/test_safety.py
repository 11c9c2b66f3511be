"""Strangers and other sites: what they send is refused or shown as text, and sessions end with their keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from fastapi.routing import APIRoute

from api.http.errors import ApiError
from api.page.app import ROUTERS
from api.page.assets import FOLDER, Assets
from api.page.filters import credits_, percent, points, safe_url, segment
from api.page.rendering import FOLDER as TEMPLATES
from api.page.viewing import UNDECIDED, form_key_after
from domain.money import MICRO
from tests.api.conftest import FAR
from tests.page.conftest import SAME

if TYPE_CHECKING:
    from tests.api.conftest import Exchange
    from tests.page.conftest import Clients, Newsroom


@pytest.mark.parametrize(
    "path", ["/", "/sign-in", "/join", "/leaderboard", "/calibration", "/nothing-here", "/accounts/nobody"]
)
def test_every_page_has_the_policy(clients: Clients, path: str) -> None:
    """No script but our own files, no frame, no sniffing: errors included."""
    answer = clients.new().get(path)

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=|\sstyle=|javascript:", answer.text)


def test_a_page_that_has_not_changed_keeps_its_policy(clients: Clients) -> None:
    """A browser takes the headers of a 304 over into what it has kept: the API's policy would forbid all that a page loads."""
    client = clients.new()
    first = client.get("/leaderboard")
    again = client.get("/leaderboard", headers={"if-none-match": first.headers["etag"]})

    assert again.status_code == 304
    assert "content-security-policy" not in again.headers


def test_what_people_write_is_shown_as_text(newsroom: Newsroom, clients: Clients) -> None:
    """A story's title with tags, and a link that is a script."""
    page = clients.new().get(f"/stories/{newsroom.story['slug']}").text

    assert "Ships &lt;b&gt;leave&lt;/b&gt; the harbour &amp; return" in page
    assert "<b>leave" not in page
    assert safe_url("javascript:alert(1)") is None
    assert safe_url("JavaScript:alert(1)") is None
    assert safe_url("https://example.org") == "https://example.org"


def test_other_sites_cannot_act_for_somebody(newsroom: Newsroom, clients: Clients) -> None:
    """A form from elsewhere is refused, and the cookie does not count for the API when another site asks."""
    client = clients.signed_in(newsroom.trader.api.key)
    form = {"side": "buy", "outcome": "Yes", "amount": "5", "step": "review"}
    path = f"/markets/{newsroom.binary['slug']}/orders"

    for headers in (
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
    ):
        assert client.post(path, data=form, headers=headers).status_code == 403
        assert client.get("/v1/me", headers=headers).status_code == 401
        assert client.post("/sign-in", data={"key": "x"}, headers=headers).status_code == 403
    assert client.post(path, data=form, headers=SAME).status_code == 200
    assert client.get("/v1/me", headers=SAME).json()["data"]["account_id"] == newsroom.trader.account_id


def test_a_session_ends_with_its_key_and_by_signing_out(newsroom: Newsroom, clients: Clients) -> None:
    """The cookie is no key, scripts cannot read it, and it is worth nothing afterwards."""
    exchange, trader = newsroom.exchange, newsroom.trader
    client = clients.signed_in(trader.api.key)
    cookie = client.cookies["tidings_session"]
    assert cookie not in (trader.api.key or "")
    assert client.get("/portfolio").status_code == 200

    left = clients.new()
    left.cookies.set("tidings_session", cookie)
    assert left.post("/sign-out", headers=SAME).status_code == 303
    assert client.get("/portfolio").status_code == 303

    client = clients.signed_in(trader.api.key)
    key_id = client.get("/v1/me", headers=SAME).json()["data"]["key_id"]
    assert exchange.api.send("DELETE", f"/keys/{key_id}").status_code == 200
    assert client.get("/portfolio").status_code == 303


def test_a_host_that_is_not_ours_gets_nothing(clients: Clients) -> None:
    """DNS rebinding: the name of another site that means this machine."""
    assert clients.new().get("/", headers={"host": "evil.example"}).status_code == 421


def test_nobody_sees_the_desk_or_another_portfolio(newsroom: Newsroom, clients: Clients) -> None:
    """The desk is for operators; private parts of an account are for itself."""
    client = clients.signed_in(newsroom.trader.api.key)
    other = newsroom.exchange.trader("50")

    assert client.get("/desk").status_code == 403
    assert client.get("/desk/people").status_code == 403
    assert client.post("/desk/stories/new", data={"title": "x"}, headers=SAME).status_code == 403
    shown = client.get(f"/accounts/{other.name}")
    assert shown.status_code == 200
    assert "Worth in all" not in shown.text


@pytest.mark.parametrize("where", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb"])
def test_signing_in_leads_nowhere_else(newsroom: Newsroom, clients: Clients, where: str) -> None:
    """`next` is a path on this server, or the front page."""
    form = {"key": newsroom.trader.api.key or "", "next": where}
    answer = clients.new().post("/sign-in", data=form, headers=SAME)

    assert answer.headers["location"] == "/"


def test_files_are_small_and_kept_for_ever(clients: Clients) -> None:
    """At most 12 kB of JavaScript and 4 kB of CSS, compressed; no sink for HTML; each module at most 300 lines."""
    assets = Assets()
    scripts = {path.name: path.read_text() for path in FOLDER.glob("*.js")}

    assert sum(len(assets._assets[name].compressed) for name in scripts) <= 12_000
    assert len(assets._assets["page.css"].compressed) <= 4_096
    for name, text in scripts.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            name
        )
        assert len(text.splitlines()) <= 300, name
    answer = clients.new().get(assets.url("live.js"))
    assert "immutable" in answer.headers["cache-control"]
    assert f"dom.js?v={assets.version}" in answer.text
    assert not any(re.search(r"\|\s*safe\b", path.read_text()) for path in TEMPLATES.glob("*.html"))


def test_numbers_read_as_people_write_them() -> None:
    """One decimal, the ends named, thousands apart, real minus signs."""
    assert [percent(price) for price in (0, 1, 554_000, 999_500, MICRO)] == [
        "0.0%",
        "<0.1%",
        "55.4%",
        ">99.9%",
        "100.0%",
    ]
    assert [points(change) for change in (32_000, -5_000, 0)] == ["+3.2", "\u22120.5", "\u00b10.0"]
    assert credits_(1_234_500_000) == "1\u202f234.50"
    assert credits_(-5_000) == "\u22120.01"


def test_forms_with_a_secret_of_their_own_are_made_for_each(clients: Clients) -> None:
    """Two strangers with one invitation: with the same form key, the second one would get the key of the first one's account."""
    pages = [clients.new().get("/join") for _ in range(2)]
    keys = [re.findall(r'name="form_key" value="([^"]+)"', page.text) for page in pages]

    assert keys[0] != keys[1]
    assert all(page.headers["cache-control"] == "no-store" for page in pages)
    assert not any("etag" in page.headers for page in pages)


def test_a_form_that_was_refused_can_be_sent_again(exchange: Exchange, clients: Clients) -> None:
    """Join with a name that somebody has, and pay in to nobody: mended, the same page does it."""
    exchange.api.done("/accounts", {"name": "taken"})
    given = {"credits": "5", "uses": 1, "expires_at": FAR}
    joining = {"code": exchange.api.done("/invitations", given)["code"]}
    for client, path, wrong, right in (
        (clients.new(), "/join", joining | {"name": "taken"}, joining | {"name": "free"}),
        (
            clients.signed_in(exchange.api.key), "/desk/people",
            {"action": "open", "name": "Taken"}, {"action": "open", "name": "another"},
        ),
    ):  # fmt: skip
        page = client.get(path)
        for fields, status in ((wrong, 422), (right, 200)):
            key = re.search(r'name="form_key" value="([^"]+)"', page.text)
            assert key is not None
            page = client.post(path, data=fields | {"form_key": key[1]}, headers=SAME)
            assert page.status_code == status, page.text


def test_a_form_of_an_invitation_sent_again_says_that_one_has_joined(exchange: Exchange, clients: Clients) -> None:
    """Whoever sends it again after the key was used reads where to go; no key is shown, and nobody is signed in."""
    code = exchange.api.done("/invitations", {"credits": "5", "uses": 1, "expires_at": FAR})["code"]
    page = clients.new().get("/join")
    key = re.search(r'name="form_key" value="([^"]+)"', page.text)
    assert key is not None
    form = {"code": code, "name": "twice", "form_key": key[1]}
    first = clients.new().post("/join", data=form, headers=SAME)
    made = re.search(r'value="(tdg_[^"]+)"', first.text)
    assert made is not None
    assert exchange.api.as_key(made[1]).get("/me").status_code == 200

    again = clients.new().post("/join", data=form, headers=SAME)

    assert again.status_code == 409
    assert "This form has opened the account twice already: sign in with its key." in again.text
    assert "tdg_" not in again.text
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize("code", sorted(UNDECIDED))
def test_a_form_stays_one_command_while_nobody_knows(code: str) -> None:
    """Its key stays after an answer that says nothing about the command, and no other time."""
    assert form_key_after(ApiError(code, ""), {"form_key": "form-1"}) == "form-1"
    assert form_key_after(ApiError("ACCOUNT_EXISTS", ""), {"form_key": "form-1"}) != "form-1"


@pytest.mark.parametrize("form", ["orders", "dispute"])
def test_the_address_of_a_refused_form_can_be_loaded_again(exchange: Exchange, clients: Clients, form: str) -> None:
    """It stands in the browser then, and the page loads it when the market has changed."""
    market, known = exchange.market(), {"min_position": exchange.head()}
    answer = clients.new().get(f"/markets/{market['slug']}/{form}", params=known, follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, f"/markets/{market['slug']}"), answer.text
    assert answer.url.params["min_position"] == str(known["min_position"])


PAGES = sorted(
    {
        route.path
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and "GET" in route.methods
    }
    - {"/join", "/rss/resolutions", "/rss/stories", "/sign-in", "/then"}  # these are not live
)


@pytest.mark.parametrize("path", PAGES)
def test_an_open_page_can_be_fetched_again(newsroom: Newsroom, clients: Clients, path: str) -> None:
    """Every page that follows the stream asks for itself as of the newest position; so does one that shows a refused form."""
    trader = newsroom.trader
    names = {"market": newsroom.binary["slug"], "story": newsroom.story["slug"], "account": trader.name}
    client = clients.signed_in(newsroom.exchange.api.key if path.startswith("/desk") else trader.api.key)
    answer = client.get(path.format(**names), params={"min_position": newsroom.exchange.head()}, follow_redirects=True)

    assert answer.status_code == 200, answer.text
    assert int(re.findall(r'data-position="(\d+)"', answer.text)[0]) >= newsroom.story["position"]


def test_a_payout_is_offered_when_the_window_has_ended(exchange: Exchange, clients: Clients) -> None:
    """The desk offers nothing that the rules refuse then."""
    desk = clients.signed_in(exchange.api.key)
    for seconds, offered in ((3600, False), (0, True)):
        market = exchange.market(dispute_seconds=seconds)
        path = f"/markets/{market['market_id']}"
        exchange.api.done(f"{path}/close")
        done = exchange.api.done(f"{path}/determine", {"payouts": {"No": "1"}, "evidence": "It is so."})
        page = desk.get(f"/desk{path}", params={"min_position": done["position"]})
        assert ("<h2>Pay out</h2>" in page.text) == offered


def test_a_name_with_anything_in_it_has_its_page(exchange: Exchange, clients: Clients) -> None:
    """Slashes, question marks and percent signs are parts of names."""
    name = "a/b?c=1&d#e%2F"
    exchange.api.done("/accounts", {"name": name})
    page = clients.new().get(f"/accounts/{segment(name)}")

    assert page.status_code == 200
    assert "<h1>a/b?c=1&amp;d#e%2F</h1>" in page.text
