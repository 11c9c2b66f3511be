"""The demo's traders: what each of them believes, and what it does when its turn comes.

A strategy sees prices and its trader's shares, and returns one action or none. All chance comes from the generator that is
passed in, so the same seed plays the same ten weeks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

TICK: Final = 0.001
LOWEST: Final = 0.02
"""The lowest limit price of the demo."""

HIGHEST: Final = 0.98
"""The highest limit price of the demo."""


@dataclass(frozen=True, slots=True)
class MarketView:
    """The knowledge of a trader when it acts: how much of the ten weeks has passed (0 to 1), one market's prices, its shares.

    `drift` is how far each price has moved since the trader last looked.
    """

    progress: float
    slug: str
    prices: Mapping[str, float]
    shares: Mapping[str, float]
    drift: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PlaceOne:
    """Place an order. `body` lacks account, market and client order id."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Split:
    """Turn credits into complete sets."""

    amount: str


@dataclass(frozen=True, slots=True)
class Requote:
    """Cancel all resting orders in the market, then place these limit orders."""

    bodies: tuple[dict[str, Any], ...]


Action = PlaceOne | Split | Requote


class Strategy(Protocol):
    """A way to trade."""

    def act(self, view: MarketView, random: Random) -> Action | None:
        """Return what to do now, or None."""


@dataclass(frozen=True, slots=True)
class Trader:
    """An account, and how it trades. `weight` says how often its turn comes, compared with the others."""

    name: str
    strategy: Strategy
    deposit: str
    weight: int


def amount(value: float) -> str:
    """Return an amount as a decimal string with two decimals."""
    return f"{value:.2f}"


def tick(price: float) -> str:
    """Return the price rounded to the tick, between `LOWEST` and `HIGHEST`."""
    return f"{round(min(max(price, LOWEST), HIGHEST) / TICK) * TICK:.3f}"


def buy(outcome: str, spend: float) -> PlaceOne:
    """Return a market buy that spends this many credits."""
    return PlaceOne({"outcome": outcome, "side": "buy", "type": "market", "spend": amount(spend)})


def sell(outcome: str, quantity: float) -> PlaceOne:
    """Return a market sale of this many shares."""
    return PlaceOne({"outcome": outcome, "side": "sell", "type": "market", "quantity": amount(quantity)})


def limit_order(outcome: str, side: str, price: float, quantity: float, **more: Any) -> dict[str, Any]:
    """Return the body of a limit order, with the price on the tick."""
    return {
        "outcome": outcome, "side": side, "type": "limit", "quantity": amount(quantity), "limit_price": tick(price), **more
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Informed:
    """Learns over the weeks how each market will end; buys what is too cheap and sells what is too dear.

    `truth` has the outcome that it comes to believe in, by market; `skill` (0 to 1) is how sure it gets.
    """

    truth: Mapping[str, str]
    skill: float
    size: float = 45.0

    def act(self, view: MarketView, random: Random) -> Action | None:
        """Trade where belief and price differ most; one time in three with a patient limit order."""
        beliefs = self._beliefs(view, random)
        edges = {outcome: beliefs[outcome] - price for outcome, price in view.prices.items()}
        best = max(edges, key=lambda outcome: abs(edges[outcome]))
        edge, price = edges[best], view.prices[best]
        if abs(edge) < 0.03:
            return None
        if edge < 0:
            held = view.shares.get(best, 0.0)
            return sell(best, held * 0.5) if held > 1 else None
        if random.random() < 0.33:
            limit = price + (edge * 0.2 if random.random() < 0.5 else -0.01)
            return PlaceOne(limit_order(best, "buy", limit, self.size / max(price, 0.1)))
        return buy(best, self.size * (0.5 + min(edge, 0.5) * 2))

    def _beliefs(self, view: MarketView, random: Random) -> dict[str, float]:
        count = len(view.prices)
        sure = self.skill * min(1.0, 0.2 + 1.2 * view.progress)
        weights = {
            outcome: (1 - sure) / count
            + (sure if outcome == self.truth[view.slug] else 0.0)
            + random.uniform(-0.04, 0.04)
            for outcome in view.prices
        }
        total = sum(weights.values())
        return {outcome: weight / total for outcome, weight in weights.items()}


@dataclass(frozen=True, slots=True)
class Noise:
    """Trades for fun: puts a small amount on any outcome, and now and then takes some money out."""

    size: float = 8.0

    def act(self, view: MarketView, random: Random) -> Action | None:
        """Buy any outcome, or sell half of the shares of one."""
        outcome = random.choice(sorted(view.prices))
        held = view.shares.get(outcome, 0.0)
        if held > 2 and random.random() < 0.35:
            return sell(outcome, held / 2)
        return buy(outcome, self.size * random.uniform(0.3, 1.5))


@dataclass(frozen=True, slots=True)
class Momentum:
    """Buys what has risen since it last looked, and sells what has fallen."""

    size: float = 20.0

    def act(self, view: MarketView, random: Random) -> Action | None:
        """Follow the largest move, if there was one."""
        outcome = max(view.drift, key=lambda name: abs(view.drift[name]))
        move, held = view.drift[outcome], view.shares.get(outcome, 0.0)
        if move > 0.01 and view.prices[outcome] < 0.9:
            return buy(outcome, self.size * random.uniform(0.5, 1.5))
        if move < -0.01 and held > 1:
            return sell(outcome, held)
        return None


@dataclass(frozen=True, slots=True)
class Stubborn:
    """Decided on the first day, wrongly, and keeps buying as its outcome gets cheaper: the one who loses.

    `convictions` has the outcome that it believes in, by market.
    """

    convictions: Mapping[str, str]
    size: float = 25.0

    def act(self, view: MarketView, random: Random) -> Action | None:
        """Buy what it believes in."""
        outcome = self.convictions.get(view.slug)
        if outcome is None or view.prices[outcome] > 0.8:
            return None
        return buy(outcome, self.size * random.uniform(0.6, 1.4))


@dataclass(slots=True)
class Quoter:
    """Splits credits into sets, then quotes every outcome of every market: an offer above the price and a bid below it."""

    spread: float = 0.015
    size: float = 20.0
    stocked: set[str] = field(default_factory=set)

    def act(self, view: MarketView, random: Random) -> Action | None:
        """Stock up on the first visit to a market; afterwards replace the quotes by new ones around the price."""
        if view.slug not in self.stocked:
            self.stocked.add(view.slug)
            return Split("300")
        bodies = []
        for outcome, price in view.prices.items():
            margin = self.spread * random.uniform(0.8, 1.5)
            if LOWEST + margin < price < HIGHEST - margin:
                bodies.append(limit_order(outcome, "buy", price - margin, self.size, post_only=True))
                if view.shares.get(outcome, 0.0) > self.size:
                    bodies.append(limit_order(outcome, "sell", price + margin, self.size, post_only=True))
        return Requote(tuple(bodies))


def cast(truth: Mapping[str, str]) -> list[Trader]:
    """Return the twelve traders. `truth` has the outcome that each market will have."""
    wrong = {"combat": "No", "where": "Eastern Russia", "impact": "No", "response": "UN sanctions", "more-troops": "No"}
    calm = {"combat": "No", "more-troops": "No"}
    return [
        Trader("Marta", Informed(truth, skill=0.9), deposit="3000", weight=7),
        Trader("Jun-ho", Informed(truth, skill=0.75), deposit="2000", weight=7),
        Trader("Odile", Informed(truth, skill=0.6, size=20.0), deposit="2000", weight=7),
        Trader("Benno", Noise(), deposit="500", weight=6),
        Trader("Chidi", Noise(), deposit="500", weight=6),
        Trader("Wren", Noise(size=12.0), deposit="500", weight=6),
        Trader("Pilar", Noise(), deposit="300", weight=4),
        Trader("Sanjay", Momentum(), deposit="1000", weight=5),
        Trader("Tove", Momentum(size=14.0), deposit="800", weight=5),
        Trader("Gus", Stubborn(wrong), deposit="1500", weight=4),
        Trader("Ilse", Stubborn(calm, size=15.0), deposit="700", weight=2),
        Trader("Quotes Ltd", Quoter(), deposit="5000", weight=4),
    ]
