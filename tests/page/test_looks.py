"""Every page at two widths, light and dark: nothing sideways, no violation that axe knows, and pictures to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect

from tests.api.conftest import OPERATOR_KEY, start
from tests.page.conftest import PATIENCE_MS, Visitor, wait_until_shown
from tests.page.looks import DESKTOP, LOOKS, PHONE, Look, look_at, photograph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.page.conftest import Newsroom

WIDE_TOO = ("front", "story", "market", "many", "ticket", "portfolio", "desk", "act")
"""The pages that are looked at on a wide screen, too; the others have the same parts, and each takes a second."""

LONG = "An outcome with a very long name that says exactly what has to happen before the year ends, no."


def special_markets(newsroom: Newsroom) -> dict[str, str]:
    """Return the paths of markets in states that are rare: many outcomes, voided, disputed, halted, proposed, resolved."""
    api, trader = newsroom.exchange.api, newsroom.trader
    names = [f"{LONG} {number}" for number in range(64)]
    many = newsroom.exchange.market(outcomes=names, question="Which of sixty-four things happens first?")
    trader.place(many["market_id"], outcome=names[7], quantity="40")
    made = {"many": f"/markets/{many['slug']}"}
    for state in ("voided", "disputed", "halted", "proposed", "resolved"):
        market = newsroom.exchange.market(
            question=f"Is this market {state}?", dispute_seconds=0 if state == "resolved" else 3600
        )
        made[state] = f"/markets/{market['slug']}"
        path = f"/markets/{market['market_id']}"
        trader.place(market["market_id"], quantity="20")
        if state == "halted":
            api.done(f"{path}/halt")
            continue
        api.done(f"{path}/close")
        if state == "voided":
            api.done(f"{path}/void", {"reason": "The question was wrong."})
            continue
        api.done(f"{path}/determine", {"payouts": {"Yes": "1"}, "evidence": "It was seen."})
        if state == "disputed":
            trader.api.done(f"{path}/dispute", {"reason": "It was not seen."})
        if state == "resolved":
            api.done(f"{path}/finalize")
    return made


IN_EVERY_LOOK = [PHONE, *(pytest.param(look, marks=pytest.mark.chaos) for look in LOOKS if look != PHONE)]


@pytest.mark.parametrize("look", IN_EVERY_LOOK, ids=str)
def test_every_page_is_sound_and_photographed(
    newsroom: Newsroom, visitors: Callable[..., Visitor], shots: Path, look: Look
) -> None:
    """Of strangers, of a trader and of the desk."""
    look_at_pages(newsroom, visitors(**look.options), shots, look)


def test_the_largest_pages_are_sound_on_a_wide_screen(
    newsroom: Newsroom, visitors: Callable[..., Visitor], shots: Path
) -> None:
    """Those that have parts beside each other."""
    look_at_pages(newsroom, visitors(**DESKTOP.options), shots, DESKTOP, WIDE_TOO)


def look_at_pages(
    newsroom: Newsroom, visitor: Visitor, shots: Path, look: Look, chosen: tuple[str, ...] | None = None
) -> None:
    """Of strangers, of a trader and of the desk."""
    trader = newsroom.trader
    trader.place(newsroom.binary["market_id"], quantity="25")
    trader.place(newsroom.binary["market_id"], type="limit", quantity="10", limit_price="0.2")
    public = {
        "front": "/",
        "story": f"/stories/{newsroom.story['slug']}",
        "market": f"/markets/{newsroom.many['slug']}",
        "embed": f"/embed/markets/{newsroom.binary['slug']}",
        "past": f"/markets/{newsroom.many['slug']}?as_of_position={newsroom.exchange.head()}",
        "leaderboard": "/leaderboard",
        "track-record": "/calibration",
        "sign-in": "/sign-in",
        "join": "/join",
        "nothing": "/?category=none",
        "missing": "/stories/none",
        "account": f"/accounts/{trader.name}",
    }
    special = special_markets(newsroom)
    own = {"ticket": f"/markets/{newsroom.binary['slug']}", "portfolio": "/portfolio", "log": "/log"}
    own |= {f"{name}-ticket": special[name] for name in ("many", "disputed")}
    desk = {"desk": "/desk", "people": "/desk/people", "write": "/desk/stories/new", "aside": "/desk/set-aside"}
    desk["wrong"] = f"/desk{special['proposed']}"
    desk |= {"act": f"/desk/markets/{newsroom.binary['slug']}", "add": f"/desk/stories/{newsroom.story['slug']}"}
    visitor.expected = ("404",)
    wait_until_shown(newsroom.exchange.api.client, *special.values(), position=newsroom.exchange.head())
    problems = []
    for key, pages in ((None, public | special), (trader.api.key, own), (OPERATOR_KEY, desk)):
        page = visitor.open("/") if key is None else visitor.sign_in(key)
        for name, path in pages.items():
            if chosen is None or name in chosen:
                page.goto(f"{visitor.url}{path}")
                problems += [f"{name}: {problem}" for problem in look_at(page)]
                photograph(page, shots, name, look)
        visitor.context.clear_cookies()

    assert problems == []


@pytest.mark.parametrize("look", IN_EVERY_LOOK, ids=str)
def test_an_empty_exchange_says_how_to_begin(
    browser: Browser, database: str, run_folder: Path, shots: Path, look: Look
) -> None:
    """To a stranger, and to whoever may publish the first story."""
    with start(database, run_folder / f"empty-{look}") as running:
        visitor = Visitor(browser.new_context(**look.options, locale="en-US"), running.url)
        visitor.context.set_default_timeout(PATIENCE_MS)
        told = {
            "/": "Stories appear here as soon as an operator publishes one.",
            "/leaderboard": "Nobody has traded",
            "/calibration": "No resolved market yet.",
        }
        with httpx.Client(base_url=running.url, timeout=60) as client:
            wait_until_shown(client, *told)
        page, problems = visitor.open("/"), []
        for path, words in told.items():
            page.goto(f"{running.url}{path}")
            expect(page.get_by_text(words).first).to_be_visible()
            problems += look_at(page)
            photograph(page, shots, f"empty-{path.strip('/') or 'front'}", look)
        page = visitor.sign_in(OPERATOR_KEY)
        for path in ("/desk", "/"):
            page.goto(f"{running.url}{path}")
            problems += look_at(page)
            photograph(page, shots, f"empty-{path.strip('/') or 'front'}-of-the-operator", look)
        page.get_by_role("link", name="Write a story").click()
        expect(page.get_by_label("Question")).to_be_visible()
        visitor.context.close()

    assert problems + visitor.problems == []
