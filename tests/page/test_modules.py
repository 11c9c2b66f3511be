"""Our modules by themselves: numbers as the server writes them, and charts that are read by keys and by touch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from api.page.assets import Assets
from api.page.filters import percent
from domain.money import MICRO
from tests.page.conftest import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.page.conftest import Newsroom, Visitor

PERCENTS = "async ([url, prices]) => { const { percent } = await import(url); return prices.map((each) => percent(each / 1e6)); }"


def test_odds_are_written_as_the_server_writes_them(visitors: Callable[..., Visitor]) -> None:
    """For every kind of price: near the ends, halfway between two texts, and any other."""
    near_the_ends = [0, 1, 999, 1_000, 1_001, 998_999, 999_000, 999_001, 999_999, MICRO]
    prices = [*near_the_ends, *range(500, MICRO, 1_000), *range(7, MICRO, 499)]

    written = visitors().open("/").evaluate(PERCENTS, [Assets().url("dom.js"), prices])

    assert written == [percent(price) for price in prices]


def test_a_chart_is_read_by_keys_and_by_touch(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """Arrow keys go from tick to tick, with Shift ten at once; Home and End to the ends; a finger shows all odds at it."""
    market_id = newsroom.binary["market_id"]
    last = [newsroom.trader.place(market_id, quantity="4")["prices"][1] for _ in range(15)][-1]
    page = visitors(has_touch=True).open(f"/markets/{newsroom.binary['slug']}?min_position={newsroom.exchange.head()}")
    chart, said = page.locator("tidings-chart svg"), page.locator("tidings-chart .readout")
    expect(page.locator("figcaption")).to_contain_text(f"now {shown(last)}")
    steps = page.locator("tidings-chart").evaluate("chart => chart.steps(chart.lines()[0]).length")
    assert steps > 2
    expect(said).to_be_hidden()
    chart.focus()
    page.keyboard.press("Home")
    expect(said).to_contain_text("Yes 50.0%")
    page.keyboard.press("End")
    expect(said).to_contain_text(f"Yes {shown(last)}")
    heard = []
    for _ in range(steps - 1):
        page.keyboard.press("ArrowLeft")
        heard.append(odds_in(said.inner_text()))
    assert heard == sorted(heard, reverse=True)
    assert heard[-1] == 50.0
    page.keyboard.press("End")
    page.keyboard.press("Shift+ArrowLeft")
    assert odds_in(said.inner_text()) == heard[min(9, steps - 2)]
    page.keyboard.press("Tab")
    expect(said).to_be_hidden()

    box = chart.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    expect(chart.locator(".cross")).to_have_count(1)
    expect(said).to_contain_text("Yes")
    page.touchscreen.tap(5, 5)
    expect(said).to_be_hidden()


def odds_in(text: str) -> float:
    """Return the odds of Yes in what the chart says of a moment."""
    found = re.search(r"Yes ([\d.]+)%", text)
    assert found is not None, text
    return float(found[1])
