"""The ten weeks of the demo: publishes the story, lets the traders trade, resolves two markets. All of it over HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING, Any, Final

from api.demo.traders import MarketView, PlaceOne, Requote, Split, cast
from domain.market import Status
from domain.money import MICRO
from messages.wire import format_time, parse_time
from tidings_client import ApiError
from tidings_client.models import Evidence, OpenMarket

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.demo.traders import Trader
    from domain.money import Time
    from tidings_client import Client

DAY: Final = 24 * 3600 * MICRO
WEEKS: Final = 10
TURNS: Final = 680
"""The number of turns in the ten weeks; a turn places several orders, one or none."""

OPEN_FOR: Final = 3652 * DAY
"""The life of a market: ten years, so that the markets left open still take orders when somebody tries them."""

TRUTH: Final = {
    "combat": "Yes",
    "where": "Western Russia",
    "more-troops": "Yes",
    "impact": "No",
    "response": "NATO military aid increase",
}
"""The outcomes that informed traders come to believe in, by market."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The determination of a market and its time, in days after the story."""

    slug: str
    day: int
    payouts: dict[str, str]
    evidence: str


ENDINGS: Final = (
    Ending(
        "combat",
        41,
        {"Yes": "1"},
        "On 12 November 2024 the US State Department said that North Korean soldiers had begun engaging in combat "
        "operations with Russian forces in Kursk Oblast.",
    ),
    Ending(
        "where",
        62,
        {"Western Russia": "1"},
        "On 12 November 2024 the US State Department said that most of the North Korean soldiers had moved to the far "
        "western Kursk Oblast.",
    ),
)


def seed_stories() -> list[dict[str, Any]]:
    """Return the stories of `story.json`, as published."""
    text = files("api.demo").joinpath("story.json").read_text("utf-8")
    stories: list[dict[str, Any]] = json.loads(text)["stories"]
    return stories


@dataclass(slots=True)
class Play:
    """One run of the ten weeks.

    `opening` has the opening prices by market and outcome,
    `refused` the number of refused orders by code. `progress` is told the day and the part that is done, 0 to 1.
    """

    client: Client
    seed: int
    progress: Callable[[str, float], None] = lambda _day, _part: None
    orders: int = 0
    opening: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    _accounts: dict[str, str] = field(default_factory=dict)
    _markets: dict[str, str] = field(default_factory=dict)
    _ids: int = 0
    _seen: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)

    def run(self) -> None:
        """Play all ten weeks."""
        random = Random(self.seed)  # noqa: S311  a game, not a secret
        (story,) = seed_stories()
        start = parse_time(story["published_at"])
        traders = cast(TRUTH)
        self._publish(story, start)
        self._open_accounts(traders, start)
        endings = list(ENDINGS)
        for turn in range(TURNS):
            part = (turn + random.random()) / TURNS
            now = start + DAY + int(part * (WEEKS * 7 - 1) * DAY)
            while endings and start + endings[0].day * DAY <= now:
                self._resolve(endings.pop(0), start)
            self._turn(traders, part, now, random)
            self.progress(format_time(now)[:10], part)
        assert not endings, "every ending lies within the ten weeks"
        self.progress(format_time(start + WEEKS * 7 * DAY)[:10], 1.0)

    def _publish(self, story: dict[str, Any], start: Time) -> None:
        terms = {"subsidy": "500", "close_time": format_time(start + OPEN_FOR), "dispute_seconds": 24 * 3600}
        markets = [OpenMarket(**{**market, **terms, "fee_rate": "0.02"}) for market in story["markets"]]
        published = self.client.publish_story(**{**story, "markets": markets}, **self._write(start))
        for market in published.markets:
            self._markets[market.slug] = market.market_id
            self.opening[market.slug] = {row.outcome: f"{row.price:f}" for row in market.outcomes}

    def _open_accounts(self, traders: list[Trader], start: Time) -> None:
        at = start + DAY // 24
        for trader in traders:
            account = self.client.open_account(trader.name, **self._write(at))
            self._accounts[trader.name] = account.account_id
            self.client.deposit(account.account_id, trader.deposit, **self._write(at))

    def _turn(self, traders: list[Trader], part: float, now: Time, random: Random) -> None:
        """Let one trader act in one market."""
        (trader,) = random.choices(traders, [trader.weight for trader in traders])
        slug = random.choice(sorted(self._markets))
        market = self.client.get_market(self._markets[slug]).data
        prices = {row.outcome: float(row.price) for row in market.outcomes}
        seen = self._seen.get((trader.name, slug), prices)
        self._seen[trader.name, slug] = prices
        if market.status != Status.ACTIVE:
            return
        drift = {outcome: price - seen[outcome] for outcome, price in prices.items()}
        shares = self._shares(trader.name, slug)
        action = trader.strategy.act(MarketView(part, slug, prices, shares, drift), random)
        match action:
            case PlaceOne(body):
                self._order(trader.name, slug, body, now)
            case Split(quantity):
                account = self._accounts[trader.name]
                self.client.split_sets(self._markets[slug], quantity, account=account, **self._write(now))
            case Requote(bodies):
                account, market_id = self._accounts[trader.name], self._markets[slug]
                self.client.cancel_orders(account=account, market_id=market_id, **self._write(now))
                for body in bodies:
                    self._order(trader.name, slug, body, now)
            case None:
                pass

    def _shares(self, name: str, slug: str) -> dict[str, float]:
        rows = self.client.list_account_positions(self._accounts[name], market=self._markets[slug])
        return {row.outcome: float(row.shares) for row in rows}

    def _order(self, name: str, slug: str, body: dict[str, Any], now: Time) -> None:
        """Place an order; count it, or its refusal, which is part of the game."""
        self._ids += 1
        order = {"account": self._accounts[name], "client_order_id": f"demo-{self._ids}", **body}
        try:
            self.client.place_order(market_id=self._markets[slug], at=format_time(now), **order)
            self.orders += 1
        except ApiError as error:
            self.refused[error.code] = self.refused.get(error.code, 0) + 1
            self.client.position = max(self.client.position, error.position or 0)

    def _resolve(self, ending: Ending, start: Time) -> None:
        """Close and determine a market; finalize it a day later, after the dispute window."""
        market = self._markets[ending.slug]
        at = start + ending.day * DAY
        self.client.close_market(market, **self._write(at))
        evidence = Evidence(text=ending.evidence)
        self.client.determine_market(market, payouts=ending.payouts, evidence=evidence, **self._write(at))
        self.client.finalize_market(market, **self._write(at + DAY))

    def _write(self, at: Time) -> dict[str, Any]:
        """Return the id and the time of the next write: the same in every play with this seed."""
        self._ids += 1
        return {"idempotency_key": f"demo-{self._ids}", "at": format_time(at)}
