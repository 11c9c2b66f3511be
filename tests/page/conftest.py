"""A browser, and an exchange whose pages it opens: a story with markets, and people who trade."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Route, expect, sync_playwright

from api.page.filters import percent
from domain.money import parse_decimal
from local.browser import Browser as Program
from local.browser import NoBrowserError, find
from local.npm import node
from local.processes import StartError, polls
from tests.api.conftest import exchange as plain_exchange  # noqa: F401  a fixture
from tests.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.api.conftest import Exchange, Trader

SHOTS = ROOT / "build" / "pages"
"""The folder of the pictures that the tests make, to be looked at."""

HTML = {"accept": "text/html"}
SAME = {"sec-fetch-site": "same-origin"}
"""The headers of a form that a page of the exchange sends."""

HARMLESS = ("Password forms should have",)
"""What a browser says that is no problem of the page."""

PATIENCE_MS = 60_000
"""The longest wait for what a page should show: a machine may do much else. Only a test that fails waits for so long."""

expect.set_options(timeout=PATIENCE_MS)
os.environ.setdefault("NODE_OPTIONS", "--no-warnings")  # Playwright's Node
with contextlib.suppress(StartError):  # Playwright's own needs a library that a bare machine lacks
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(node()))


@dataclass
class Visitor:
    """A person with a browser: `open` a page; what the console says and who else is asked is a failure at the end."""

    context: BrowserContext
    url: str
    problems: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Parts of messages of the console that the test provokes."""

    def open(self, path: str = "/") -> Page:
        """Open a page in a new tab."""
        page = self.context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.problems.append(f"{page.url}: {error}"))
        page.goto(f"{self.url}{path}")
        return page

    def sign_in(self, key: str) -> Page:
        """Sign in with a key, as a person does."""
        page = self.open("/sign-in")
        page.get_by_label("Your key").fill(key)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("button", name="Sign out").wait_for()
        return page

    def guard(self, route: Route, request: Request) -> None:
        """Refuse every request to another host."""
        if request.url.startswith((self.url, "data:")):
            route.continue_()
        else:
            self.problems.append(f"asked {request.url}")
            route.abort()

    def _hear(self, message: ConsoleMessage) -> None:
        text = message.text
        if message.type in {"warning", "error"} and not any(each in text for each in (*HARMLESS, *self.expected)):
            self.problems.append(f"{message.type}: {text} {message.location.get('url', '')}")


def shown(odds: str) -> str:
    """Return odds of the API as a page writes them."""
    return percent(parse_decimal(odds))


@pytest.fixture(scope="session")
def program() -> Program:
    """The browser to start; the tests are skipped where there is none."""
    try:
        return find(os.environ.get("TIDINGS_TEST_BROWSER"))
    except NoBrowserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")  # its event loop stays in this thread, where other modules want their own
def browser(program: Program) -> Iterator[Browser]:
    """A Chromium that runs."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(**program.options(os.environ))
        yield started
        started.close()


def wait_until_shown(client: httpx.Client, *paths: str, position: int = 0) -> None:
    """Return when all that these pages are made of exists and has this position: a server that starts has no read models yet."""
    for path in paths:
        for _ in polls(PATIENCE_MS / 1000):
            answer = client.get(path, params={"min_position": position}, headers={"accept": "text/html"})
            if answer.status_code == 200:
                break
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="session")
def exchange(plain_exchange: Exchange) -> Exchange:  # noqa: F811  a fixture
    """An exchange whose pages can be shown."""
    wait_until_shown(plain_exchange.api.client, "/", "/leaderboard", "/calibration")
    return plain_exchange


@pytest.fixture
def visitors(browser: Browser, exchange: Exchange) -> Iterator[Callable[..., Visitor]]:
    """A function that returns a new person with a browser of its own; its options are those of a context of Playwright."""
    made: list[Visitor] = []

    def visit(**options: Any) -> Visitor:
        given = {"locale": "en-US", "timezone_id": "UTC", "viewport": {"width": 1280, "height": 900}, **options}
        visitor = Visitor(browser.new_context(**given), exchange.running.url)
        visitor.context.set_default_timeout(PATIENCE_MS)
        if given.get("java_script_enabled", True):
            visitor.context.route("**/*", visitor.guard)
        made.append(visitor)
        return visitor

    yield visit
    for visitor in made:
        visitor.context.close()
    assert [problem for visitor in made for problem in visitor.problems] == []


@pytest.fixture(scope="session")
def shots() -> Path:
    """The folder of the pictures. Those of other runs stay: `make chaos` makes most of them."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    return SHOTS


@dataclass
class Newsroom:
    """A story with a market of two outcomes and one of three, and a trader."""

    exchange: Exchange
    story: dict[str, Any]
    trader: Trader

    @property
    def binary(self) -> dict[str, Any]:
        """The market with Yes and No."""
        market: dict[str, Any] = self.story["markets"][0]
        return market

    @property
    def many(self) -> dict[str, Any]:
        """The market with three outcomes."""
        market: dict[str, Any] = self.story["markets"][1]
        return market


@pytest.fixture
def newsroom(exchange: Exchange) -> Newsroom:
    """A new story with two markets, whose pages can be shown, and a trader with 1,000 credits."""
    trader = exchange.trader("1000")
    common = {"subsidy": "200", "close_time": "2090-01-01T00:00:00Z", "resolution_source": "The agencies report it."}
    name = trader.name.replace(" ", "-")
    story = exchange.api.done(
        "/stories",
        {
            "slug": f"{name}-story",
            "title": "Ships <b>leave</b> the harbour & return",
            "body": "The first paragraph.\n\nThe second one.",
            "category": "tests",
            "published_at": "2024-10-24T10:02:00Z",
            "source_url": "https://example.org/ships",
            "markets": [
                {"slug": f"{name}-binary", "question": "Will they return?", "outcomes": ["No", "Yes"], **common},
                {"slug": f"{name}-many", "question": "Where will they go?", "outcomes": ["North", "South", "East"], **common},
            ],
        },
    )  # fmt: skip
    pages = (f"/markets/{market['slug']}" for market in story["markets"])
    wait_until_shown(exchange.api.client, *pages, f"/stories/{story['slug']}", position=story["position"])
    return Newsroom(exchange, story, trader)


class Clients:
    """Makes clients that keep cookies, as browsers do."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self._url = url
        self._stack = stack

    def new(self) -> httpx.Client:
        """Return a stranger's client."""
        return self._stack.enter_context(httpx.Client(base_url=self._url, headers=HTML, timeout=30))

    def signed_in(self, key: str | None) -> httpx.Client:
        """Return a client with a session of this key."""
        client = self.new()
        answer = client.post("/sign-in", data={"key": key or ""}, headers=SAME)
        assert answer.status_code == 303, answer.text
        return client


@pytest.fixture
def clients(exchange: Exchange) -> Iterator[Clients]:
    """Clients that are closed after the test."""
    with contextlib.ExitStack() as stack:
        yield Clients(exchange.running.url, stack)
