"""What the page costs: the server to make it, the network to carry it, a browser to show it and to follow the odds.

    python -m bench page [--seconds 5] [--events-per-second 5000] [--trades 300] [--heap-seconds 30]

A story with five markets, 14 outcomes together, and trades in all of them. The browser is the one of the tests. The slow
one has a processor four times as slow, 1.6 Mbit/s and a latency of 150 ms. The heap is that of an open market's page.
"""

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from random import Random
from time import perf_counter, time
from typing import Any, Final

import httpx
from playwright.sync_api import Browser, Page, Request, sync_playwright

from api.page.filters import percent
from bench.http import wait_until_it_listens
from bench.parts import show
from bench.programs import running
from domain.money import MICRO
from local.browser import find
from local.postgres import Postgres
from local.processes import free_port
from settings import Settings
from tidings_client import Client
from tidings_client.models import OpenMarket

KEY: Final = "operator-key-of-the-bench-0123456789"
OUTCOMES: Final = (("Yes", "No"), ("Yes", "No"), ("Yes", "No"), ("A", "B", "C", "D"), ("A", "B", "C", "D"))
SLOW: Final = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 200_000}

KEYS: Final = {
    "made_ms_p95": "milliseconds of the server for the story page, without what it keeps, 95th percentile",
    "gzip_bytes": "bytes of the story page and of all that it loads, compressed",
    "requests": "requests of the story page until it is shown, without the stream",
    "first_paint_ms": "first contentful paint on this machine, chart included, median of three",
    "slow_first_paint_ms": "the same with the slow processor and network",
    "layout_shift": "how much of the page moved by itself while it was loaded",
    "tick_ms_p95": "milliseconds from the answer to an order until the open page shows its odds, 95th percentile of 50 orders",
    "frames_per_second": "frames a second while the odds of all markets change `events_per_second` times a second",
    "lag_ms_p95": "milliseconds from an event in the browser to the frame that shows it, 95th percentile",
    "events_per_second": "number of changes of odds a second",
    "heap_kb": "kilobytes of the heap of an open page after a first fifth of `heap_seconds`, without what can be freed",
    "heap_growth_kb": "how many more there are at their end, at 100 changes of odds a second",
    "heap_seconds": "the time of that, in seconds; 600 to see that it does not grow",
}

TICKS: Final = 50
WATCH: Final = """name => {
  window.shownAt = {};
  const odds = document.querySelector(`[data-odds="${name}"]`);
  const note = () => { window.shownAt[odds.textContent] ??= Date.now(); };
  new MutationObserver(note).observe(odds, {childList: true, characterData: true, subtree: true});
}"""

FOLLOW: Final = """async ([rate, seconds, markets, position]) => {
  const key = document.body.dataset.key || "nobody";
  const channel = new BroadcastChannel(`tidings-${key}`);
  let frames = 0, sent = 0;
  const lags = [], began = performance.now();
  const count = () => { frames++; if (performance.now() - began < seconds * 1000) requestAnimationFrame(count); };
  requestAnimationFrame(count);
  document.addEventListener("tidings:odds", (event) => lags.push(performance.now() - event.detail.sent));
  while (performance.now() - began < seconds * 1000) {
    const due = (performance.now() - began) / 1000 * rate;
    for (; sent < due; sent++) {
      const [id, outcomes] = markets[sent % markets.length], first = 0.2 + (sent % 997) / 2000;
      const prices = Object.fromEntries(outcomes.map((name, i) => [name, i ? (1 - first) / (outcomes.length - 1) : first]));
      channel.postMessage({kind: "prices", position, data: {market_id: id, prices, sent: performance.now()}});
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  channel.close();
  lags.sort((a, b) => a - b);
  return [frames / seconds, lags[Math.floor(lags.length * 0.95)] ?? null];
}"""


def publish(client: Client, trades: int) -> tuple[str, list[tuple[str, tuple[str, ...]]]]:
    """Publish the story and trade in its markets; return its slug, and the ids and outcomes of its markets."""
    terms: dict[str, Any] = {
        "subsidy": "500",
        "close_time": "2090-01-01T00:00:00Z",
        "resolution_source": "The bench says so.",
    }
    opened = [
        OpenMarket(question=f"Will question {number} come true?", outcomes=list(names), **terms)
        for number, names in enumerate(OUTCOMES)
    ]
    story = client.publish_story(
        title="A story for the bench", body="A paragraph.\n\n" * 5, category="bench", published_at="2026-11-30T10:00:00Z",
        markets=opened,
    )  # fmt: skip
    account = client.open_account("trader")
    client.deposit(account.account_id, "100000")
    random = Random(1)  # noqa: S311  a game, not a secret
    for number in range(trades):
        market = story.markets[number % len(story.markets)]
        outcome = random.choice([row.outcome for row in market.outcomes])
        client.place_order(
            client_order_id=f"o{number}", account=account.account_id, market_id=market.market_id, outcome=outcome,
            side="buy", type="market", quantity=str(random.randint(1, 20)),
        )  # fmt: skip
    return story.slug, [(market.market_id, names) for market, names in zip(story.markets, OUTCOMES, strict=True)]


def made_ms(url: str, path: str, rounds: int = 100) -> float:
    """Return the 95th percentile of the time for a page that is not kept: each request names a position."""
    with httpx.Client(base_url=url, headers={"accept": "text/html", "accept-encoding": "identity"}) as client:
        times = []
        for number in range(rounds + 10):
            began = perf_counter()
            client.get(f"{path}?min_position={number + 1}").raise_for_status()
            if number >= 10:  # warm
                times.append(perf_counter() - began)
    return round(sorted(times)[int(rounds * 0.95)] * 1000, 1)


def first_paint(browser: Browser, url: str, *, slow: bool) -> tuple[float, float, list[int]]:
    """Return the milliseconds to the first contentful paint, the layout shift, and the size of each answer, as it was sent.

    The stream is none of these, because its answer does not end.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    page = context.new_page()
    loaded: list[Request] = []
    page.on("requestfinished", loaded.append)
    if slow:
        devtools = context.new_cdp_session(page)
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        devtools.send("Network.enable")
        devtools.send("Network.emulateNetworkConditions", SLOW)
    page.goto(url)
    page.wait_for_timeout(500)
    paint: float = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    shift: float = page.evaluate(
        "new Promise(done => { new PerformanceObserver(list => done(list.getEntries().reduce((sum, each) => sum + each.value, 0)"
        "))"
        ".observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(0), 300); })"
    )
    sizes = [request.sizes()["responseBodySize"] for request in loaded]
    context.close()
    return paint, shift, sizes


def ticks(page: Page, client: Client, market_id: str) -> tuple[float, int]:
    """Return the 95th percentile of the time in milliseconds from the answer to an order until the page shows its odds.

    And the position of the last order.
    """
    page.evaluate(WATCH, f"{market_id}/Yes")
    lags: list[float] = []
    account = client.get_account("trader").data.account_id
    for number in range(TICKS):
        placed = client.place_order(
            client_order_id=f"tick{number}", account=account, market_id=market_id, outcome="Yes",
            side="sell" if number % 2 else "buy", type="market", quantity="9" if number % 2 else "12",
        )  # fmt: skip
        answered, shown = time(), percent(round(placed.prices[0] * MICRO))
        page.wait_for_timeout(150)
        lags.append(page.evaluate("text => window.shownAt[text] ?? Date.now()", shown) - answered * 1000)
        page.evaluate("window.shownAt = {}")
    return round(sorted(lags)[TICKS * 95 // 100], 1), placed.position


def follow(
    page: Page, rate: int, seconds: float, markets: list[tuple[str, tuple[str, ...]]], position: int
) -> tuple[float, float]:
    """Return the frames a second and the lag in milliseconds while events come as another tab would pass them on.

    All have this position, which is newer than the page's, so its tables are fetched again meanwhile.
    """
    given = [rate, seconds, [[market_id, list(names)] for market_id, names in markets], position]
    frames, lag = page.evaluate(FOLLOW, given)
    return round(frames, 1), round(lag, 1)


def heap_kb(browser: Browser, url: str, client: Client, market_id: str, seconds: float) -> tuple[int, int]:
    """Return the kilobytes of a market page's heap after a fifth of this time, and how many more there are at its end."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
    page.goto(url)
    devtools = page.context.new_cdp_session(page)
    account, sizes = client.get_account("trader").data.account_id, []
    for number in range(5):
        placed = client.place_order(
            client_order_id=f"heap{number}", account=account, market_id=market_id, outcome="Yes", side="buy",
            type="market", quantity="1",
        )  # fmt: skip
        follow(page, 100, seconds / 5, [(market_id, OUTCOMES[0])], placed.position)
        devtools.send("HeapProfiler.collectGarbage")
        sizes.append(devtools.send("Runtime.getHeapUsage")["usedSize"] // 1000)
    page.close()
    return sizes[0], sizes[-1] - sizes[0]


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="page")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--events-per-second", type=int, default=5_000)
    parser.add_argument("--trades", type=int, default=300)
    parser.add_argument("--heap-seconds", type=float, default=30)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o711)  # as root, PostgreSQL runs as another user
        server = stack.enter_context(Postgres.start(folder / "postgres", own=folder))
        port = free_port()
        settings = Settings(dsn=server.database("tidings"), home=folder, port=port, operator_key=KEY, log_level="error")  # type: ignore[arg-type]
        stack.enter_context(running("serve", settings))
        wait_until_it_listens(port)
        url = f"http://127.0.0.1:{port}"
        client = stack.enter_context(Client(url, KEY))
        slug, markets = publish(client, options.trades)
        made = made_ms(url, f"/stories/{slug}")
        found = find(os.environ.get("TIDINGS_TEST_BROWSER"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(**found.options(os.environ))
        stack.callback(browser.close)
        paints = sorted(
            (first_paint(browser, f"{url}/stories/{slug}", slow=False) for _ in range(3)), key=lambda each: each[0]
        )
        slow, _, _ = first_paint(browser, f"{url}/stories/{slug}", slow=True)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
        page.goto(f"{url}/stories/{slug}")
        page.wait_for_timeout(1_000)
        tick, position = ticks(page, client, markets[0][0])
        frames, lag = follow(page, options.events_per_second, options.seconds, markets, position)
        page.close()
        heap, growth = heap_kb(browser, f"{url}/markets/{markets[0][0]}", client, markets[0][0], options.heap_seconds)
        show(
            {
                "made_ms_p95": made,
                "gzip_bytes": sum(paints[1][2]),
                "requests": len(paints[1][2]),
                "first_paint_ms": round(paints[1][0]),
                "slow_first_paint_ms": round(slow),
                "layout_shift": round(max(each[1] for each in paints), 4),
                "tick_ms_p95": tick,
                "frames_per_second": frames,
                "lag_ms_p95": lag,
                "events_per_second": options.events_per_second,
                "heap_kb": heap,
                "heap_growth_kb": growth,
                "heap_seconds": options.heap_seconds,
            },
            KEYS,
        )


if __name__ == "__main__":
    main()
