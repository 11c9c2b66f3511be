"""Open pages: what they show after a server has gone and come back, of the past, and without JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.api.conftest import Api, Exchange, connected, start
from tests.page.conftest import Visitor, shown, wait_until_shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.page.conftest import Newsroom


def test_a_page_outlives_its_server(browser: Browser, database: str, run_folder: Path) -> None:
    """The server stops and starts again on its port: the page says so, reconnects, and misses nothing."""
    with start(database, run_folder / "first") as running, connected(running).api.client as client:
        exchange = Exchange(running, Api(client))
        market, trader = exchange.market(), exchange.trader("1000")
        port = int(running.url.rpartition(":")[2])
        path = f"/markets/{market['slug']}"
        wait_until_shown(client, path, position=exchange.head())
        context = browser.new_context(locale="en-US", viewport={"width": 390, "height": 800})
        page = Visitor(context, running.url, expected=("Failed to load",)).open(path)
        expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#live")).to_contain_text("Connection lost")
    with start(database, run_folder / "first", port=port) as running, connected(running).api.client as client:
        trader.api.client = client
        for _ in range(20):
            position = trader.place(market["market_id"], quantity="2")["position"]
        odds = trader.api.data(f"/markets/{market['slug']}", min_position=position)["odds"]["Yes"]
        expect(page.locator(".odds.huge")).to_have_text(shown(odds))
        expect(page.locator("#live")).to_have_text("Live")
        expect(page.locator("#trades tr")).to_have_count(20)
        context.close()


def test_the_past_is_as_it_was_then(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """The page of a position says what the page said then, is not live, and has no ticket."""
    visitor = visitors()
    path = f"/markets/{newsroom.binary['slug']}"
    position = newsroom.trader.place(newsroom.binary["market_id"], quantity="30")["position"]
    then = visitor.open(f"{path}?min_position={position}")
    before = then.locator(".odds.huge").inner_text(), then.locator("#trades").inner_text()
    newsroom.trader.place(newsroom.binary["market_id"], quantity="30")

    page = visitor.open(f"{path}?as_of_position={position}")

    assert (page.locator(".odds.huge").inner_text(), page.locator("#trades").inner_text()) == before
    expect(page.get_by_text(f"As it was at position {position}")).to_be_visible()
    expect(page.locator("#live")).to_have_count(0)
    page.get_by_role("link", name="back to now").click()
    expect(page.locator(".odds.huge")).not_to_have_text(before[0])


def test_without_javascript_all_is_there(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """The story says the same with and without modules: questions, odds as in the API, charts."""
    path = f"/stories/{newsroom.story['slug']}"
    position = newsroom.trader.place(newsroom.many["market_id"], outcome="North", quantity="30")["position"]
    path += f"?min_position={position}"
    plain, alive = visitors(java_script_enabled=False).open(path), visitors().open(path)

    assert plain.locator("main").inner_text().replace(", 10:02 UTC", "") != ""
    assert [each.inner_text() for each in plain.locator("h3").all()] == ["Will they return?", "Where will they go?"]
    odds = newsroom.exchange.api.data(f"/markets/{newsroom.many['slug']}", min_position=position)["odds"]
    told = set(plain.locator(".odds").all_inner_texts())
    assert {shown(price) for price in odds.values()} <= told
    assert plain.locator(".odds").all_inner_texts() == alive.locator(".odds").all_inner_texts()
    assert plain.locator("path[data-line]").count() == 1 + 3


def test_an_open_form_ends_with_the_market(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """Halted, resumed, closed, resolved under an open page: form, bar and heading say at each moment what a reload says."""
    api, trader = newsroom.exchange.api, newsroom.trader
    market = newsroom.exchange.market(dispute_seconds=0)
    path = f"/markets/{market['market_id']}"
    trader.place(market["market_id"], quantity="20")
    visitor = visitors(viewport={"width": 390, "height": 844})
    visitor.sign_in(trader.api.key or "")
    page = visitor.open(f"/markets/{market['slug']}?min_position={newsroom.exchange.head()}")
    expect(page.locator("#live")).to_have_text("Live")
    box, bar = page.locator("#ticket-box"), page.locator(".bottombar")
    bar.get_by_text("Yes").click()
    page.get_by_label("Credits to spend").fill("5")
    expect(page.locator("#review")).to_contain_text("Buy Yes for")

    api.done(f"{path}/halt")
    expect(box).to_contain_text("Nobody can trade until it is resumed.")
    expect(page.locator("#order")).to_have_count(0)
    expect(bar).to_have_count(0)
    api.done(f"{path}/resume")
    expect(page.get_by_label("Credits to spend")).to_be_visible()
    expect(bar).to_have_count(1)
    api.done(f"{path}/close")
    expect(box).to_contain_text("Closed: the result is not known yet.")
    api.done(f"{path}/determine", {"payouts": {"No": "1"}, "evidence": "It was seen."})
    api.done(f"{path}/finalize")
    expect(box).to_contain_text("Resolved: No.")
    expect(page.locator("#lead")).to_contain_text("it did not come true")
    shown = [page.locator(each).inner_text() for each in ("#lead", "#ticket-box", "#state")]
    page.reload()
    assert [page.locator(each).inner_text() for each in ("#lead", "#ticket-box", "#state")] == shown


def test_cards_and_the_bar_follow_their_markets(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """A story's cards say that trading is halted; on a phone the bar of a market offers the two that lead now."""
    visitor, market = visitors(viewport={"width": 390, "height": 844}), newsroom.many
    story, page = visitor.open(f"/stories/{newsroom.story['slug']}"), visitor.open(f"/markets/{market['slug']}")
    for each in (story, page):
        expect(each.locator("#live")).to_have_text("Live")
    expect(page.locator(".bottombar")).not_to_contain_text("East")
    newsroom.trader.place(market["market_id"], outcome="East", quantity="60")
    expect(page.locator(".bottombar a").first).to_contain_text("East")
    expect(page.locator("#lead")).to_contain_text("East")
    newsroom.exchange.api.done(f"/markets/{market['market_id']}/halt")
    expect(story.locator(f"#card-{market['market_id']}")).to_contain_text("Trading is halted")


def test_an_order_after_the_close_is_refused_in_words(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """Without JavaScript the old form is still there: what it sends is answered with a reason, and nothing is bought."""
    visitor = visitors(java_script_enabled=False)
    visitor.expected = ("422",)
    visitor.sign_in(newsroom.trader.api.key or "")
    for step in ("review", "confirm"):
        market = newsroom.exchange.market()
        page = visitor.open(f"/markets/{market['slug']}")
        page.get_by_label("Credits to spend").fill("5")
        ask = page.get_by_role("button", name="Show what it costs")
        if step == "confirm":
            ask.click()
            ask = page.get_by_role("button", name="Buy Yes for")
        newsroom.exchange.api.done(f"/markets/{market['market_id']}/halt")
        ask.click()
        expect(page.get_by_role("alert")).to_have_text("This market takes no orders now.")
