"""Every page at two widths, light and dark: nothing sideways, no violation that axe knows, and pictures to look at."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from local.processes import polls
from tests.api.conftest import OPERATOR_KEY, start
from tests.page.conftest import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.page.conftest import Newsroom

AXE = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
RUN = "axe.run({resultTypes: ['violations']}).then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html.slice(0, 120)))"
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNSIGNED = """() => [...document.querySelectorAll("*")].filter((each) => {
  const style = getComputedStyle(each), scrolls = /auto|scroll/.test(style.overflowX);
  return scrolls && each.scrollWidth > each.clientWidth && !style.backgroundAttachment.includes("local");
}).map((each) => each.outerHTML.slice(0, 120))"""
"""Returns what scrolls sideways without the shadow that says so."""

VISIBLE = "(document.querySelector('h1') || document.body).getBoundingClientRect().width"

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
LOOKS: list[dict[str, Any]] = [{**PHONE, "color_scheme": "dark"}, {**DESKTOP, "color_scheme": "light"}]
OTHER_LOOKS: list[dict[str, Any]] = [
    {**PHONE, "color_scheme": "light"},
    {**DESKTOP, "color_scheme": "dark"},
    {"viewport": {"width": 320, "height": 640}, "color_scheme": "light"},
    {"viewport": {"width": 1600, "height": 1000}, "color_scheme": "light"},
]
"""In `make chaos` every page is looked at in all of them."""

NARROW = 390
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


@pytest.fixture(scope="module")
def _sheet(shots: Path) -> Any:
    """At the end, one page with all pictures side by side."""
    yield
    pictures = "".join(
        f'<figure><img src="{escape(path.name)}" loading="lazy" width="320"><figcaption>{escape(path.stem)}</figcaption></figure>'
        for path in sorted(shots.glob("*.jpeg"))
    )
    style = "body{display:flex;flex-wrap:wrap;gap:12px;align-items:start;font:14px sans-serif}figure{margin:0}"
    (shots / "index.html").write_text(f"<!doctype html><title>Pages</title><style>{style}</style>{pictures}")


@pytest.mark.usefixtures("_sheet")
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.chaos)])
def test_every_page_is_sound_and_photographed(
    newsroom: Newsroom, visitors: Callable[..., Visitor], shots: Path, *, whole: bool
) -> None:
    """Of strangers, of a trader and of the desk."""
    trader = newsroom.trader
    trader.place(newsroom.binary["market_id"], quantity="25")
    trader.place(newsroom.binary["market_id"], type="limit", quantity="10", limit_price="0.2")
    public = {
        "front": "/",
        "story": f"/stories/{newsroom.story['slug']}",
        "market": f"/markets/{newsroom.many['slug']}",
        "past": f"/markets/{newsroom.many['slug']}?as_of_position={newsroom.exchange.head()}",
        "leaderboard": "/leaderboard",
        "track-record": "/calibration",
        "sign-in": "/sign-in",
        "join": "/join",
        "nothing": "/?category=none",
        "missing": "/stories/none",
        "account": f"/accounts/{trader.name}",
        **special_markets(newsroom),
    }
    own = {"ticket": f"/markets/{newsroom.binary['slug']}", "portfolio": "/portfolio", "log": "/log"}
    desk = {"desk": "/desk", "people": "/desk/people", "write": "/desk/stories/new", "aside": "/desk/set-aside"}
    desk["wrong"] = f"/desk{public['proposed']}"
    desk["act"] = f"/desk/markets/{newsroom.binary['slug']}"
    problems = []
    for options in (*LOOKS, *OTHER_LOOKS) if whole else LOOKS:
        width = options["viewport"]["width"]
        for key, pages in ((None, public), (trader.api.key, own), (OPERATOR_KEY, desk)):
            visitor = visitors(**options)
            visitor.expected = ("404",)
            page = visitor.open("/") if key is None else visitor.sign_in(key)
            for name, path in pages.items():
                if not whole and width != NARROW and name not in WIDE_TOO:
                    continue
                page.goto(f"{visitor.url}{path}")
                problems += [f"{name} {width}: {problem}" for problem in look_at(page)]
                picture = shots / f"{name}-{width}-{options['color_scheme']}.jpeg"
                page.screenshot(path=picture, full_page=True, type="jpeg", quality=70)
            visitor.context.close()

    assert problems == []


@pytest.mark.usefixtures("_sheet")
def test_an_empty_exchange_says_how_to_begin(browser: Browser, database: str, run_folder: Path, shots: Path) -> None:
    """To a stranger, and to whoever may publish the first story."""
    with start(database, run_folder / "empty") as running:
        visitor = Visitor(browser.new_context(**PHONE, locale="en-US", color_scheme="light"), running.url)
        wanted = [f"{running.url}{path}" for path in ("/", "/leaderboard", "/calibration")]
        for _ in polls(30):  # until each read model of the pages exists
            if all(visitor.context.request.get(url).ok for url in wanted):
                break
        page = visitor.open("/")
        expect(page.get_by_text("Stories appear here as soon as an operator publishes one.")).to_be_visible()
        problems = look_at(page)
        page.screenshot(path=shots / "empty-390-light.jpeg", full_page=True, type="jpeg", quality=70)
        for path, words in (("/leaderboard", "Nobody has traded"), ("/calibration", "No resolved market yet.")):
            page.goto(f"{running.url}{path}")
            expect(page.get_by_text(words).first).to_be_visible()
            problems += look_at(page)
        visitor.sign_in(OPERATOR_KEY)
        page.goto(f"{running.url}/")
        page.get_by_role("link", name="Write a story").click()
        expect(page.get_by_label("Question")).to_be_visible()
        visitor.context.close()

    assert problems + visitor.problems == []


def look_at(page: Page) -> list[str]:
    """Return what is wrong with the page as it stands: what axe finds, what hangs over, and whether texts have a width."""
    page.evaluate(AXE)
    found: list[str] = page.evaluate(RUN)
    over = page.evaluate(SIDEWAYS)
    if over > 0:
        found.append(f"{over} px hang over the side")
    found += [f"cut without a sign: {each}" for each in page.evaluate(UNSIGNED)]
    if not page.evaluate(VISIBLE):
        found.append("the heading has no width: is there a font?")
    return found
