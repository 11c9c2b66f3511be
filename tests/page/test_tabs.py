"""Tabs: one stream for all of them; one that falls silent is opened again, and a tab that is hidden lets go of it."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from local.processes import polls
from tests.page.conftest import PATIENCE_MS, Visitor, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.page.conftest import Newsroom

STREAM = "/v1/stream"


def test_six_tabs_share_one_stream(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """All show the newest odds; when the tab that holds the stream closes, another one goes on."""
    visitor = visitors()
    streams = opened(visitor)
    tabs = [visitor.open(f"/markets/{newsroom.binary['slug']}") for _ in range(6)]
    for tab in tabs:
        expect(tab.locator("#live")).to_have_text("Live")
    assert len(streams) == 1

    other = newsroom.exchange.trader("1000")
    all_show(newsroom, tabs, other.place(newsroom.binary["market_id"], quantity="50"))
    tabs[0].close()
    all_show(newsroom, tabs[1:], other.place(newsroom.binary["market_id"], quantity="50"))
    assert len(streams) == 2


HIDE = """isHidden => {
  Object.defineProperty(document, "hidden", {value: isHidden, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""What the browser does with a tab that is put behind another one, or in front again."""

NO_LOCKS = "delete Navigator.prototype.locks;"
"""As behind plain http on another machine than this."""


@pytest.mark.parametrize("locks", [True, False])
def test_a_silent_stream_is_opened_again(newsroom: Newsroom, visitors: Callable[..., Visitor], *, locks: bool) -> None:
    """Nothing for 30 s, although the stream beats more often: the page says so, greys the odds, and connects again."""
    visitor = visitors()
    streams = opened(visitor)
    visitor.context.clock.install()
    if not locks:
        visitor.context.add_init_script(NO_LOCKS)
    page = visitor.open(f"/markets/{newsroom.binary['slug']}")
    live = page.locator("#live")
    expect(live).to_have_text("Live")
    assert len(streams) == 1

    page.clock.pause_at(time() + 3600)
    expect(live).to_contain_text("Connection lost since")
    expect(page.locator("body.stale")).to_have_count(1)
    page.clock.resume()
    expect(live).to_have_text("Live")
    assert len(streams) == 2
    order = newsroom.exchange.trader("1000").place(newsroom.binary["market_id"], quantity="50")
    all_show(newsroom, [page], order)


def test_a_hidden_tab_lets_go(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """After 60 s, however often it was hidden before; in front again, it shows what has happened meanwhile."""
    visitor = visitors()
    streams = opened(visitor)
    visitor.context.clock.install()
    path = f"/markets/{newsroom.binary['slug']}"
    holder, page = visitor.open(path), visitor.open(path)
    ended: list[str] = []
    for event in ("requestfinished", "requestfailed"):
        page.on(event, lambda request: ended.append(request.url) if STREAM in request.url else None)
    for tab in (holder, page):
        expect(tab.locator("#live")).to_have_text("Live")
    for _ in range(3):  # this tab waits for the stream that the other one holds, and asks for it once
        page.evaluate(HIDE, arg=True)
        page.evaluate(HIDE, arg=False)
    holder.close()
    order = newsroom.exchange.trader("1000").place(newsroom.binary["market_id"], quantity="50")
    all_show(newsroom, [page], order)
    assert len(streams) == 2

    page.evaluate(HIDE, arg=True)
    page.clock.fast_forward(61_000)
    for _ in polls(PATIENCE_MS / 1000):
        if ended:
            break
        page.wait_for_timeout(50)  # takes in what has happened
    assert (len(streams), len(ended)) == (2, 1)
    order = newsroom.exchange.trader("1000").place(newsroom.binary["market_id"], quantity="50")
    page.evaluate(HIDE, arg=False)
    all_show(newsroom, [page], order)
    expect(page.locator("#live")).to_have_text("Live")
    assert len(streams) == 3


def opened(visitor: Visitor) -> list[str]:
    """Return the list to which each stream that a visitor opens is added."""
    streams: list[str] = []
    visitor.context.on("request", lambda request: streams.append(request.url) if STREAM in request.url else None)
    return streams


def all_show(newsroom: Newsroom, tabs: list[Page], order: dict[str, Any]) -> None:
    """Wait until all tabs show the odds that the API has as of the position of an order."""
    path = f"/markets/{newsroom.binary['slug']}"
    market = newsroom.exchange.api.data(path, min_position=order["position"])
    for tab in tabs:
        expect(tab.locator(".odds.huge")).to_have_text(shown(market["odds"]["Yes"]))
