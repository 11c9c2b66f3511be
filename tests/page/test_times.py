"""Times name their zone: UTC as the server writes them, the reader's own where the modules run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.page.conftest import Newsroom, Visitor


def test_times_name_their_zone(newsroom: Newsroom, visitors: Callable[..., Visitor]) -> None:
    """In tables, in the life of a market, on the axis of its chart and where the chart is read; UTC stays in the title."""
    position = newsroom.trader.place(newsroom.binary["market_id"], quantity="30")["position"]
    path = f"/markets/{newsroom.binary['slug']}?min_position={position}"
    alive = visitors(timezone_id="Asia/Tokyo").open(path)
    plain = visitors(java_script_enabled=False, timezone_id="Asia/Tokyo").open(path)
    expect(alive.locator("#live")).to_have_text("Live")
    for page, zone in ((alive, "GMT+9"), (plain, "UTC")):
        times = page.locator("time[data-moment]")
        assert times.count() >= 3
        assert all(each.endswith(zone) for each in times.all_text_contents())
        assert all((each.get_attribute("title") or "").endswith(" UTC") for each in times.all())
        first = page.locator("[data-clock]").first.text_content() or ""
        assert first.endswith(zone), first
    alive.locator("tidings-chart svg").focus()
    alive.keyboard.press("End")
    expect(alive.locator(".readout")).to_contain_text(re.compile(r"GMT\+9: Yes"))
