"""What other sites take: feeds, and a market in the frame of an article."""

from __future__ import annotations

import gzip
import re
from html import escape
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

import httpx
import pytest
from playwright.sync_api import expect

from api.page.assets import Assets
from tests.page.conftest import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.page.conftest import Newsroom, Visitor

ARTICLE = '<!doctype html><title>News</title><iframe src="{url}" title="A market" width="400" height="320"></iframe>'


def items_of(newsroom: Newsroom, path: str, position: int) -> dict[str, str]:
    """Return the links of a feed's items by their titles, once it has this position."""
    url = f"{newsroom.exchange.running.url}{path}"
    answer = httpx.get(url, params={"min_position": position, "wait_ms": 10_000}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/rss+xml")
    root = ET.fromstring(answer.content)  # noqa: S314  our own server's
    return {item.findtext("title") or "": item.findtext("link") or "" for item in root.iter("item")}


def test_feeds_tell_stories_and_results(newsroom: Newsroom) -> None:
    """A story is an item, whatever its title has in it; so is a market that was resolved."""
    api, url = newsroom.exchange.api, newsroom.exchange.running.url
    market = newsroom.exchange.market(question="Is this <in> the feed & whole?")
    path = f"/markets/{market['market_id']}"
    api.done(f"{path}/close")
    api.done(f"{path}/determine", {"payouts": {"Yes": "1"}, "evidence": "It is."})
    position = api.done(f"{path}/finalize")["position"]

    stories, results = (items_of(newsroom, path, position) for path in ("/rss/stories", "/rss/resolutions"))

    assert stories["Ships <b>leave</b> the harbour & return"].startswith(f"{url}/stories/")
    assert results["Is this <in> the feed & whole? Resolved: Yes"] == f"{url}/markets/{market['slug']}"


class Metas(HTMLParser):
    """Reads what a page says of itself to those who show a link to it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a meta tag that has a name or a property."""
        given = dict(attrs)
        name = given.get("property") or given.get("name")
        if tag == "meta" and name:
            assert name not in self.found
            self.found[name] = given.get("content") or ""


def test_a_shared_link_has_a_title_a_description_and_odds(newsroom: Newsroom) -> None:
    """Of a story and of a market: what is shown where somebody shares it is text, and its odds are those of the API."""
    url = newsroom.exchange.running.url
    position = newsroom.trader.place(newsroom.many["market_id"], outcome="South", quantity="30")["position"]
    known = {"min_position": position, "wait_ms": 10_000}
    odds = newsroom.exchange.api.data(f"/markets/{newsroom.many['slug']}", min_position=position)["odds"]
    story, market = (
        Metas(httpx.get(f"{url}{path}", params=known, headers={"accept": "text/html"}, timeout=60).text).found
        for path in (f"/stories/{newsroom.story['slug']}", f"/markets/{newsroom.many['slug']}")
    )

    assert (story["og:type"], story["og:title"]) == ("article", "Ships <b>leave</b> the harbour & return")
    assert (market["og:type"], market["og:title"]) == ("website", "Where will they go?")
    for tag in ("description", "og:description"):
        assert f"Will they return? Yes {shown('0.5')}." in story[tag]
        assert f"Where will they go? South {shown(odds['South'])}." in story[tag]
        assert all(f"{name} {shown(price)}." in market[tag] for name, price in odds.items())
    assert market["description"].startswith("Where will they go? South")


@pytest.fixture
def article() -> Iterator[Callable[[str], str]]:
    """A function that returns the address of an article on another server, with a frame for a page."""

    class Article(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(ARTICLE.format(url=escape(unquote(self.path[1:]))).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Article) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield lambda framed: f"http://127.0.0.1:{server.server_port}/{quote(framed, safe='')}"
        server.shutdown()


def test_a_market_lives_in_the_frame_of_an_article(
    newsroom: Newsroom, visitors: Callable[..., Visitor], article: Callable[[str], str]
) -> None:
    """Another site may frame it, and only it; it follows the odds, and loads at most 10 kB."""
    visitor = visitors()
    visitor.expected = ("frame-ancestors", "Framing")
    embedded = f"{visitor.url}/embed/markets/{newsroom.binary['slug']}"
    answer = httpx.get(embedded, timeout=60)
    policy = dict(each.split(" ", 1) for each in answer.headers["content-security-policy"].split("; "))
    assert (policy["frame-ancestors"], policy["script-src"], policy["default-src"]) == ("*", "'self'", "'none'")
    assert not re.search(r"<form|<button|<input|tidings_session", answer.text)
    size = 0
    for name in ("live.js", "dom.js", "embed.css"):
        size += len(Assets()._assets[name].compressed)
    size += len(gzip.compress(answer.content))
    assert size <= 10_000

    page = visitor.open("/")
    page.route(article("") + "**", lambda route: route.continue_())
    page.goto(article(embedded))
    frame = page.frame_locator("iframe")
    expect(frame.locator(".odds")).to_have_text("50.0%")
    expect(frame.locator("#live")).to_have_text("Live")
    newsroom.trader.place(newsroom.binary["market_id"], quantity="50")
    expect(frame.locator(".odds")).not_to_have_text("50.0%")
    page.goto(article(embedded.replace("/embed", "")))
    expect(page.frame_locator("iframe").locator("main .question")).to_have_count(0)
