"""A class: each pupil joins with the same link, in a browser of its own, and trades on the page at once with all others."""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Error, async_playwright, expect

from local.browser import NoBrowserError, find

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

    from tests.page.conftest import Newsroom

PATIENCE_MS = 120_000
"""The longest wait for anything: thirty browsers share few processors."""


@pytest.mark.parametrize(("pupils", "trades"), [(3, 3), pytest.param(30, 10, marks=pytest.mark.chaos)])
def test_a_class_trades_at_once(newsroom: Newsroom, pupils: int, trades: int) -> None:
    """No order is placed twice, the odds are the same for all at the end, and nobody sees another's orders."""
    exchange, slug = newsroom.exchange, newsroom.binary["slug"]
    given = {"uses": pupils, "expires_at": "2090-01-01T00:00:00Z", "credits": "1000"}
    code = exchange.api.done("/invitations", given)["code"]
    names = [f"Pupil {number} of {slug}" for number in range(pupils)]
    with ThreadPoolExecutor(1) as pool:  # the loop of Playwright's other tests runs in this thread
        shown = pool.submit(asyncio.run, lesson(exchange.running.url, code, slug, names, trades)).result()

    position = exchange.head()
    market = exchange.api.data(f"/markets/{slug}", min_position=position)
    assert set(shown) == {f"{float(market['odds']['Yes']) * 100:.1f}%"}
    assert market["traders"] == pupils
    for name in names:
        orders = exchange.api.data(f"/accounts/{name}/orders", min_position=position)
        filled = [order for order in orders if order["status"] == "filled"]
        assert len(filled) == trades
        assert len({order["client_order_id"] for order in filled}) == trades


async def lesson(url: str, code: str, slug: str, names: list[str], trades: int) -> list[str]:
    """Let all join, then all trade at once; return the odds that each sees at the end, when nobody trades any more."""
    try:
        found = find(os.environ.get("TIDINGS_TEST_BROWSER"))
    except NoBrowserError as error:
        pytest.skip(str(error))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**found.options(os.environ))
        pages = [await join(browser, url, code, name) for name in names]
        await asyncio.gather(*(trade(page, url, slug, number, trades) for number, page in enumerate(pages)))
        for page, name in zip(pages, names, strict=True):
            await look_at_own_things(page.context, url, name)
        shown = await settled(pages)
        await browser.close()
        return shown


async def join(browser: Browser, url: str, code: str, name: str) -> Page:
    """Join as a person does, and return the page."""
    context = await browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    await page.goto(f"{url}/join#{code}")
    await page.get_by_label("Your name here").fill(name)
    await page.get_by_role("button", name="Join").click()
    await page.get_by_role("link", name="I have kept it").click()
    return page


async def trade(page: Page, url: str, slug: str, number: int, trades: int) -> None:
    """Buy some times, the first time with a double click; whoever is refused, because odds moved, tries again."""
    await page.goto(f"{url}/markets/{slug}")
    for order in range(trades):
        await page.evaluate("document.getElementById('placed')?.remove()")
        outcome = "Yes" if (number + order) % 2 else "No"
        await page.locator(".choices").get_by_text(outcome, exact=True).click()
        await page.get_by_label("Credits to spend").fill("5")
        confirm = page.get_by_role("button", name=re.compile(f"^Buy {outcome} for "))
        while not await page.locator("#placed").count():
            try:
                await (confirm.dblclick if order == 0 else confirm.click)(timeout=5_000)
                await page.locator("#placed, #order [role=alert]").first.wait_for(timeout=5_000)
            except Error:  # the button was replaced by that of a newer quote
                continue


async def look_at_own_things(context: BrowserContext, url: str, name: str) -> None:
    """Find one's own portfolio, and nothing of others in it."""
    page = await context.new_page()
    await page.goto(f"{url}/portfolio")
    await expect(page.get_by_role("heading", level=1)).to_have_text(name)
    assert not re.findall(r"Pupil \d+", (await page.locator("main").inner_text()).replace(name, ""))
    await page.close()


async def settled(pages: list[Page]) -> list[str]:
    """Return the odds on all pages, once they are the same everywhere; those of the last look if that never comes."""
    shown: list[str] = []
    for _ in range(100):
        shown = [await page.locator(".odds.huge").inner_text() for page in pages]
        if len(set(shown)) == 1:
            break
        await asyncio.sleep(0.2)
    return shown
