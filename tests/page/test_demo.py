"""The exchange of `make demo` in a browser: its story, its link that signs in, a trade that others see, and its past."""

from __future__ import annotations

import re
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from psycopg.conninfo import make_conninfo

from api.demo import play
from api.demo.run import sign_in_link
from local.postgres import create_database, drop_database
from tests.api.conftest import OPERATOR_KEY, connected, start
from tests.page.conftest import Visitor, shown, wait_until_shown
from tests.page.looks import LOOKS, Look, look_at, photograph
from tidings_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

    from tests.api.conftest import Exchange

STORY = "/stories/us-confirms-3000-north-korean-troops-in-russia"
OUTCOMES = 14
LINES = "path[data-line]"


WHOLE = pytest.param(play.TURNS, marks=pytest.mark.chaos, id="whole")
SHORT = pytest.param(200, id="short")


@pytest.fixture(scope="module")
def exchange(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[Exchange]:
    """The exchange of the demo, after ten weeks of so many turns; the visitors of this module open its pages."""
    name, home = f"demo_{uuid.uuid4().hex[:12]}", Path(tempfile.mkdtemp(prefix="tidings-test-"))
    create_database(postgres_dsn, name)
    with start(make_conninfo(postgres_dsn, dbname=name), home, clock="command") as running:
        with Client(running.url, OPERATOR_KEY) as client, pytest.MonkeyPatch.context() as patch:
            patch.setattr(play, "TURNS", request.param)
            play.Play(client, seed=1).run()
        found = connected(running)
        wait_until_shown(found.api.client, "/", STORY, "/leaderboard", "/calibration", position=found.head())
        yield found
        found.api.client.close()
    drop_database(postgres_dsn, name)
    shutil.rmtree(home)


def odds_of(page: Page) -> dict[str, str]:
    """Return what a page shows for each outcome, by market and outcome: always the same for one outcome."""
    found: dict[str, set[str]] = {}
    for name, text in page.locator("[data-odds]").evaluate_all("all => all.map(e => [e.dataset.odds, e.textContent])"):
        found.setdefault(name, set()).add(text)
    assert all(len(texts) == 1 for texts in found.values()), found
    return {name: texts.pop() for name, texts in found.items()}


def odds_in(markets: list[dict[str, Any]]) -> dict[str, str]:
    """Return the same of the API's markets."""
    return {
        f"{market['market_id']}/{name}": shown(price) for market in markets for name, price in market["odds"].items()
    }


@pytest.mark.parametrize("exchange", [SHORT, WHOLE], indirect=True)
def test_the_story_says_what_the_api_says(exchange: Exchange, visitors: Callable[..., Visitor]) -> None:
    """Five questions, five charts with a line for each outcome (a binary market has one), odds as in `/v1/markets`."""
    markets = exchange.api.data("/markets")
    odds = odds_in(markets)
    assert len(odds) == OUTCOMES
    texts = []
    for options in ({}, {"java_script_enabled": False}):
        visitor = visitors(**options)
        page = visitor.open(STORY)
        assert sorted(page.locator("h3").all_inner_texts()) == sorted(market["question"] for market in markets)
        assert page.locator("figure.chart").count() == 5
        assert page.locator(LINES).count() == OUTCOMES - 3  # No is the complement of Yes in three of them
        assert odds_of(page).items() <= odds.items()
        for market in markets:
            told = odds_of(visitor.open(f"/markets/{market['slug']}"))
            assert told.items() <= odds_in([market]).items()
            assert told
        texts.append(
            [page.locator(part).all_inner_texts() for part in ("h1", ".prose", "article.card .odds", "figcaption")]
        )
    assert texts[0] == texts[1]


@pytest.mark.parametrize("exchange", [SHORT, WHOLE], indirect=True)
def test_a_visitor_follows_the_link_trades_and_looks_back(
    exchange: Exchange, visitors: Callable[..., Visitor], shots: Path
) -> None:
    """Who looks at the story sees odds and chart move when somebody trades; a purchase stands in the portfolio."""
    market = exchange.api.data("/markets/impact")
    reader = visitors().open(STORY)
    odds = reader.locator(f"[data-odds='{market['market_id']}/Yes']").first
    chart = reader.locator(f"[data-market={market['market_id']}] {LINES}").first
    before = odds.inner_text(), chart.get_attribute("d")
    expect(reader.locator("#live")).to_have_text("Live")

    with Client(exchange.running.url, OPERATOR_KEY) as client:
        link = sign_in_link(client, exchange.running.settings)
    visitor = visitors(viewport={"width": 1180, "height": 820})
    page = visitor.open(link)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    page.goto(f"{visitor.url}/markets/impact")
    page.get_by_label("Credits to spend").fill("10")
    confirm = page.get_by_role("button", name=re.compile("^Buy Yes for "))
    expect(confirm).to_be_enabled()
    page.screenshot(path=shots / "readme.png")  # docs/page.png
    confirm.click()
    expect(page.locator("#placed")).to_contain_text("You bought")

    now = shown(exchange.api.data("/markets/impact", min_position=exchange.head())["odds"]["Yes"])
    assert now != before[0]
    expect(odds).to_have_text(now)
    expect(chart).not_to_have_attribute("d", before[1] or "")
    page.goto(f"{visitor.url}/portfolio")
    expect(page.locator("#positions")).to_contain_text(market["question"])
    expect(page.locator("#positions")).to_contain_text("Yes")

    page.goto(f"{visitor.url}{STORY}?as_of_position=500")
    expect(page.get_by_text("As it was at position 500")).to_be_visible()
    then = exchange.api.data("/markets", as_of_position=500)
    assert odds_of(page).items() <= odds_in(then).items()
    assert odds_in(then) != odds_in(exchange.api.data("/markets"))


@pytest.mark.parametrize("exchange", [WHOLE], indirect=True)
@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_demo_is_sound_in_every_look(
    exchange: Exchange, visitors: Callable[..., Visitor], shots: Path, look: Look
) -> None:
    """Its pages as a stranger sees them; pictures of each."""
    pages = {
        "front": "/", "story": STORY, "market": "/markets/response", "binary": "/markets/impact",
        "resolved": "/markets/combat", "past": "/markets/response?as_of_position=500", "leaderboard": "/leaderboard",
        "track-record": "/calibration", "embed": "/embed/markets/impact",
    }  # fmt: skip
    page = visitors(**look.options).open()
    problems = []
    for name, path in pages.items():
        page.goto(f"{exchange.running.url}{path}")
        problems += [f"{name}: {problem}" for problem in look_at(page)]
        photograph(page, shots, f"demo-{name}", look)
    assert problems == []
