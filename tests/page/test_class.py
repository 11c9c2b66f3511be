"""A class: each pupil joins with the same link, in a browser of its own, and trades on the page at once with all others."""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Error, async_playwright, expect

from tests.page.conftest import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.async_api import Browser, BrowserContext, Page

    from local.browser import Browser as Program
    from tests.page.conftest import Newsroom

PATIENCE_MS = 120_000
"""The longest wait for anything: thirty browsers share few processors."""

LARGE = pytest.param(30, 10, marks=[pytest.mark.chaos, pytest.mark.timeout(1800)])


@pytest.mark.parametrize(("pupils", "trades"), [(3, 3), LARGE])
def test_a_class_trades_at_once(newsroom: Newsroom, program: Program, pupils: int, trades: int) -> None:
    """No order is placed twice, the odds are the same for all at the end, and nobody sees another's orders."""
    exchange, slug = newsroom.exchange, newsroom.binary["slug"]
    given = {"uses": pupils, "expires_at": "2090-01-01T00:00:00Z", "credits": "1000"}
    code = exchange.api.done("/invitations", given)["code"]
    names = [f"Pupil {number} of {slug}" for number in range(pupils)]

    def at_the_end() -> str:
        return shown(exchange.api.data(f"/markets/{slug}", min_position=exchange.head())["odds"]["Yes"])

    plan = Lesson(program, exchange.running.url, code, slug, trades)
    with ThreadPoolExecutor(1) as pool:  # the loop of Playwright's other tests runs in this thread
        pool.submit(asyncio.run, plan.hold(names, at_the_end)).result()

    position = exchange.head()
    assert exchange.api.data(f"/markets/{slug}", min_position=position)["traders"] == pupils
    for name in names:
        orders = exchange.api.data(f"/accounts/{name}/orders", min_position=position)
        filled = [order for order in orders if order["status"] == "filled"]
        assert len(filled) == trades
        assert len({order["client_order_id"] for order in filled}) == trades


@dataclass(frozen=True)
class Lesson:
    """Where a class joins and trades, and how often each trades."""

    program: Program
    url: str
    code: str
    slug: str
    trades: int

    async def hold(self, names: list[str], odds_at_the_end: Callable[[], str]) -> None:
        """Let all join, then all trade at once; at the end, when nobody trades any more, each sees these odds."""
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(**self.program.options(os.environ))
            pages = [await self.join(browser, name) for name in names]
            await asyncio.gather(*(self.trade(page, number) for number, page in enumerate(pages)))
            for page, name in zip(pages, names, strict=True):
                await look_at_own_things(page.context, self.url, name)
            odds = await asyncio.to_thread(odds_at_the_end)
            for page in pages:
                await expect(page.locator(".odds.huge")).to_have_text(odds, timeout=PATIENCE_MS)
            await browser.close()

    async def join(self, browser: Browser, name: str) -> Page:
        """Join as a person does, and return the page."""
        context = await browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        await page.goto(f"{self.url}/join#{self.code}")
        await page.get_by_label("Your name here").fill(name)
        await page.get_by_role("button", name="Join").click()
        await page.get_by_role("link", name="I have kept it").click()
        return page

    async def trade(self, page: Page, number: int) -> None:
        """Buy some times, the first time with a double click; whoever is refused, because odds moved, tries again."""
        await page.goto(f"{self.url}/markets/{self.slug}")
        for order in range(self.trades):
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
    await expect(page.get_by_role("heading", level=1)).to_have_text(name, timeout=PATIENCE_MS)
    assert not re.findall(r"Pupil \d+", (await page.locator("main").inner_text()).replace(name, ""))
    await page.close()
