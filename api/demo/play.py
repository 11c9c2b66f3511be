"""The ten weeks of the demo: publishes the story, lets the traders trade, resolves two markets. All of it over HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING, Any, Final

from api.client import ClientError
from api.demo.traders import MarketView, PlaceOne, Requote, Split, cast
from domain.market import Status
from domain.money import MICRO
from messages.wire import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.client import HttpClient
    from api.demo.traders import Trader
    from domain.money import Time

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

    `position` is the position in the log of the last write. `opening` has the opening prices by market and outcome,
    `refused` the number of refused orders by code. `progress` is told the day and the part that is done, 0 to 1.
    """

    client: HttpClient
    seed: int
    progress: Callable[[str, float], None] = lambda _day, _part: None
    position: int = 0
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
        markets = [{**market, **terms, "fee_rate": "0.02"} for market in story["markets"]]
        published = self._post("/v1/stories", {**story, "markets": markets}, start)
        for market in published["markets"]:
            self._markets[market["slug"]] = market["market_id"]
            self.opening[market["slug"]] = {row["outcome"]: row["price"] for row in market["outcomes"]}

    def _open_accounts(self, traders: list[Trader], start: Time) -> None:
        for trader in traders:
            account = self._post("/v1/accounts", {"name": trader.name}, start + DAY // 24)
            self._accounts[trader.name] = account["account_id"]
            path = f"/v1/accounts/{account['account_id']}/deposits"
            self._post(path, {"amount": trader.deposit}, start + DAY // 24)

    def _turn(self, traders: list[Trader], part: float, now: Time, random: Random) -> None:
        """Let one trader act in one market."""
        (trader,) = random.choices(traders, [trader.weight for trader in traders])
        slug = random.choice(sorted(self._markets))
        market = self.client.get(f"/v1/markets/{self._markets[slug]}", min_position=self.position)["data"]
        prices = {row["outcome"]: float(row["price"]) for row in market["outcomes"]}
        seen = self._seen.get((trader.name, slug), prices)
        self._seen[trader.name, slug] = prices
        if market["status"] != Status.ACTIVE:
            return
        drift = {outcome: price - seen[outcome] for outcome, price in prices.items()}
        shares = self._shares(trader.name, slug)
        action = trader.strategy.act(MarketView(part, slug, prices, shares, drift), random)
        match action:
            case PlaceOne(body):
                self._order(trader.name, slug, body, now)
            case Split(quantity):
                account = self._accounts[trader.name]
                self._post(f"/v1/markets/{self._markets[slug]}/split", {"account": account, "amount": quantity}, now)
            case Requote(bodies):
                scope = {"account": self._accounts[trader.name], "market_id": self._markets[slug]}
                self._post("/v1/orders/cancel", scope, now)
                for body in bodies:
                    self._order(trader.name, slug, body, now)
            case None:
                pass

    def _shares(self, name: str, slug: str) -> dict[str, float]:
        path = f"/v1/accounts/{self._accounts[name]}/positions"
        rows = self.client.get(path, market=self._markets[slug], min_position=self.position)["data"]
        return {row["outcome"]: float(row["shares"]) for row in rows}

    def _order(self, name: str, slug: str, body: dict[str, Any], now: Time) -> None:
        """Place an order; count it, or its refusal, which is part of the game."""
        self._ids += 1
        order = {
            "account": self._accounts[name],
            "client_order_id": f"demo-{self._ids}",
            "market_id": self._markets[slug],
            **body,
        }
        try:
            self.position = self.client.post("/v1/orders", order, at=now)["position"]
            self.orders += 1
        except ClientError as error:
            self.refused[error.code] = self.refused.get(error.code, 0) + 1
            self.position = max(self.position, error.details.get("position", 0))

    def _resolve(self, ending: Ending, start: Time) -> None:
        """Close and determine a market; finalize it a day later, after the dispute window."""
        path = f"/v1/markets/{self._markets[ending.slug]}"
        at = start + ending.day * DAY
        self._post(f"{path}/close", {}, at)
        evidence = {"text": ending.evidence}
        self._post(f"{path}/determine", {"payouts": ending.payouts, "evidence": evidence}, at)
        self._post(f"{path}/finalize", {}, at + DAY)

    def _post(self, path: str, body: dict[str, Any], at: Time) -> dict[str, Any]:
        self._ids += 1
        answer = self.client.post(path, body, idempotency_key=f"demo-{self._ids}", at=at)
        self.position = max(self.position, answer["position"])
        return answer
