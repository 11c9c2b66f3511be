"""An open page while others trade: it shows the newest odds soon, takes nothing out of anybody's hands, and does not grow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from local.processes import polls
from tests.page.conftest import PATIENCE_MS, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import CDPSession

    from tests.page.conftest import Newsroom, Visitor

ORDERS = 50
TICKS = 500

WATCH = """() => {
  window.shownAt = {};
  const odds = document.querySelector(".odds.huge");
  const note = () => { window.shownAt[odds.textContent] ??= Date.now(); };
  new MutationObserver(note).observe(odds, {childList: true, characterData: true, subtree: true});
}"""
"""Notes when the large odds first showed each value."""

TICK = """async ([market, position, count, perSecond]) => {
  const channel = new BroadcastChannel(`tidings-${document.body.dataset.key || "nobody"}`);
  const began = performance.now();
  for (let sent = 0; sent < count;) {
    for (const due = (performance.now() - began) / 1000 * perSecond; sent < Math.min(due, count); sent++) {
      const yes = 0.3 + (sent % 40) / 100;
      channel.postMessage({kind: "prices", position, data: {market_id: market, prices: {Yes: yes, No: 1 - yes}}});
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  channel.close();
}"""
"""Sends changes of odds as the tab that holds the stream passes them on."""


REMEMBER = """() => {
  window.button = document.querySelector("#review button");
  window.disabled = 0;
  const note = () => { window.disabled += window.button.disabled ? 1 : 0; };
  new MutationObserver(note).observe(window.button, {attributes: true});
}"""
"""Notes whether the button that confirms was ever disabled."""


def test_odds_tick_while_one_looks(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """Each order through the API changes the open page at once; what is typed and the focus stay through 500 ticks."""
    visitor, market = visitors(), newsroom.binary
    visitor.sign_in(newsroom.trader.api.key or "")
    page = visitor.open(f"/markets/{market['slug']}")
    expect(page.locator("#live")).to_have_text("Live")
    amount = page.get_by_label("Credits to spend")
    amount.fill("12.34")
    page.evaluate(WATCH)
    other, odds = newsroom.exchange.trader("1000"), page.locator(".odds.huge")
    lags: list[float] = []
    replies: list[float] = []
    for number in range(ORDERS):
        side = {} if number % 2 == 0 else {"side": "sell"}
        began = time()
        placed = other.place(market["market_id"], quantity="6" if number % 2 == 0 else "4", **side)
        placed_at, text = time(), shown(placed["prices"][1])
        expect(odds).to_have_text(text)
        replies.append(placed_at - began)
        lags.append(page.evaluate("text => window.shownAt[text]", text) / 1000 - placed_at)
        page.evaluate("window.shownAt = {}")
    page.evaluate(TICK, [market["market_id"], placed["position"], TICKS, 1_000])
    expect(amount).to_have_value("12.34")
    expect(amount).to_be_focused()

    position = other.place(market["market_id"], quantity="3")["position"]
    found = newsroom.exchange.api.data(f"/markets/{market['slug']}", min_position=position)
    text = shown(found["odds"]["Yes"])
    expect(odds).to_have_text(text)
    expect(page.locator("#trades tr").first).to_contain_text(other.name)
    expect(page).to_have_title(re.compile(f"^{text}"))
    expect(page.locator("figcaption")).to_contain_text(f"now {text}")
    expect(amount).to_have_value("12.34")
    expect(amount).to_be_focused()
    # `make bench ARGS=page` measures them: 150 ms for 95 in 100 on a machine that does nothing else. A browser may starve here.
    for part in (ORDERS // 2, ORDERS * 95 // 100):
        assert sorted(lags)[part] < max(10.0, 20 * sorted(replies)[part]), (lags, replies)


def test_the_button_stays_under_the_finger(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """While odds move all the time the quote is made anew, and the button that confirms it is the same and can be used."""
    visitor, market = visitors(), newsroom.binary
    visitor.sign_in(newsroom.trader.api.key or "")
    page = visitor.open(f"/markets/{market['slug']}")
    expect(page.locator("#live")).to_have_text("Live")
    page.get_by_label("Credits to spend").fill("10")
    confirm = page.get_by_role("button", name=re.compile("^Buy Yes for "))
    expect(confirm).to_be_enabled()
    confirm.focus()
    page.evaluate(REMEMBER)
    other = newsroom.exchange.trader("1000")
    before = page.locator("#review").inner_text()
    for _ in range(6):
        other.place(market["market_id"], quantity="5")
        page.wait_for_timeout(250)
    expect(page.locator("#review")).not_to_have_text(before)

    assert page.evaluate(
        "window.button.isConnected && window.disabled === 0 && document.activeElement === window.button"
    )
    confirm.click()
    expect(page.locator("#placed")).to_contain_text("You bought")


TEN_MINUTES = pytest.param(10, 6_000, 100, marks=[pytest.mark.chaos, pytest.mark.timeout(1200)])


@pytest.mark.parametrize(("rounds", "ticks", "per_second"), [(3, 2_500, 2_000), TEN_MINUTES])
def test_a_page_does_not_grow(
    newsroom: Newsroom, visitors: Callable[..., Visitor], rounds: int, ticks: int, per_second: int
) -> None:
    """Ticks, with tables that are fetched again: at the end there is no more than after the first round."""
    market_id = newsroom.binary["market_id"]
    for _ in range(20):  # the table of trades is full
        newsroom.trader.place(market_id, quantity="1")
    page = visitors().open(f"/markets/{newsroom.binary['slug']}")
    expect(page.locator("#live")).to_have_text("Live")
    devtools = page.context.new_cdp_session(page)
    sizes = []
    for number in range(rounds):
        side = {"side": "sell"} if number % 2 else {}
        placed = newsroom.trader.place(market_id, quantity="1", **side)
        page.evaluate(TICK, [market_id, placed["position"], ticks, per_second])
        expect(page.locator("figcaption")).to_contain_text(f"now {shown(placed['prices'][1])}")
        sizes.append(size_of(devtools))

    for _ in polls(PATIENCE_MS / 1000):  # a page that is fetched just now counts until it has been taken over
        if sizes[-1].is_within(sizes[0]):
            break
        sizes.append(size_of(devtools))
    assert sizes[-1].is_within(sizes[0]), sizes


@dataclass(frozen=True)
class Size:
    """The bytes of a page's heap, its nodes and its listeners, after everything that can be freed was."""

    heap: int
    nodes: int
    listeners: int

    def is_within(self, first: Size) -> bool:
        """Return whether it is hardly more than it was first: one page kept for ever, or 2,500 messages, are more than that."""
        return (
            self.heap < first.heap * 1.1 + 200_000
            and self.nodes < first.nodes * 1.1 + 50
            and self.listeners <= first.listeners + 5
        )


def size_of(devtools: CDPSession) -> Size:
    """Return the size of a page."""
    devtools.send("HeapProfiler.collectGarbage")
    counted = devtools.send("Memory.getDOMCounters")
    return Size(devtools.send("Runtime.getHeapUsage")["usedSize"], counted["nodes"], counted["jsEventListeners"])
