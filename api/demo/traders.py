"""The demo's traders: what each believes, and what it does when its turn comes.

A trader sees prices and its own shares, and answers with one action or none. All chance comes from the generator that
is passed in, so the same seed plays the same ten weeks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

TICK: Final = 0.001
LOWEST: Final = 0.02
HIGHEST: Final = 0.98


@dataclass(frozen=True, slots=True)
class View:
    """What a trader knows when it acts: how much of the ten weeks has gone (0 to 1), one market's prices, its shares.

    `drift` is how far each price has moved since the trader looked last.
    """

    progress: float
    slug: str
    prices: Mapping[str, float]
    shares: Mapping[str, float]
    drift: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Order:
    """Place an order: the body, without market and client's id."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Split:
    """Turn credits into complete sets."""

    amount: str


@dataclass(frozen=True, slots=True)
class Quotes:
    """Cancel what rests in the market, then place these limit orders."""

    orders: tuple[dict[str, Any], ...]


Action = Order | Split | Quotes


class Trader(Protocol):
    """Somebody with an account."""

    name: str
    deposit: str
    weight: int

    def act(self, view: View, random: Random) -> Action | None:
        """Return what it does now, or None."""


def amount(value: float) -> str:
    """Return an amount as a decimal string with two decimals."""
    return f"{value:.2f}"


def tick(price: float) -> str:
    """Return the nearest price on the tick, away from the ends."""
    return f"{round(min(max(price, LOWEST), HIGHEST) / TICK) * TICK:.3f}"


def buy(outcome: str, spend: float) -> Order:
    """Return a market buy for so many credits."""
    return Order({"outcome": outcome, "side": "buy", "type": "market", "spend": amount(spend)})


def sell(outcome: str, quantity: float) -> Order:
    """Return a market sale of so many shares."""
    return Order({"outcome": outcome, "side": "sell", "type": "market", "quantity": amount(quantity)})


@dataclass(slots=True)
class Informed:
    """Knows how each market will end, dimly at first and ever better; buys what is too cheap and sells what is too dear.

    `truth` has the outcome it will believe in for each market, `skill` (0 to 1) how sure it gets.
    """

    name: str
    truth: Mapping[str, str]
    skill: float
    deposit: str = "2000"
    weight: int = 7
    size: float = 45.0

    def act(self, view: View, random: Random) -> Action | None:
        """Trade where belief and price differ most; with patience (a limit order) one time in three."""
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
            quantity = amount(self.size / max(price, 0.1))
            return Order(
                {"outcome": best, "side": "buy", "type": "limit", "quantity": quantity, "limit_price": tick(limit)}
            )
        return buy(best, self.size * (0.5 + min(edge, 0.5) * 2))

    def _beliefs(self, view: View, random: Random) -> dict[str, float]:
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


@dataclass(slots=True)
class Noise:
    """Trades for fun: a small amount on whatever comes to mind, and now and then it takes some money out."""

    name: str
    deposit: str = "500"
    weight: int = 6
    size: float = 8.0

    def act(self, view: View, random: Random) -> Action | None:
        """Buy any outcome, or sell half of one it has."""
        outcome = random.choice(sorted(view.prices))
        held = view.shares.get(outcome, 0.0)
        if held > 2 and random.random() < 0.35:
            return sell(outcome, held / 2)
        return buy(outcome, self.size * random.uniform(0.3, 1.5))


@dataclass(slots=True)
class Momentum:
    """Buys what went up since it looked last, and sells what went down."""

    name: str
    deposit: str = "1000"
    weight: int = 5
    size: float = 20.0

    def act(self, view: View, random: Random) -> Action | None:
        """Follow the largest move, if there was one."""
        outcome = max(view.drift, key=lambda name: abs(view.drift[name]))
        move, held = view.drift[outcome], view.shares.get(outcome, 0.0)
        if move > 0.01 and view.prices[outcome] < 0.9:
            return buy(outcome, self.size * random.uniform(0.5, 1.5))
        if move < -0.01 and held > 1:
            return sell(outcome, held)
        return None


@dataclass(slots=True)
class Stubborn:
    """Made up its mind on the first day, wrongly, and buys more the cheaper it gets: the one who loses."""

    name: str
    convictions: Mapping[str, str]
    deposit: str = "1500"
    weight: int = 4
    size: float = 25.0

    def act(self, view: View, random: Random) -> Action | None:
        """Buy what it believes in."""
        outcome = self.convictions.get(view.slug)
        if outcome is None or view.prices[outcome] > 0.8:
            return None
        return buy(outcome, self.size * random.uniform(0.6, 1.4))


@dataclass(slots=True)
class MarketMaker:
    """Splits credits into sets and offers them a little above the price, and bids a little below, in every market."""

    name: str
    deposit: str = "5000"
    weight: int = 4
    spread: float = 0.015
    size: float = 20.0
    stocked: set[str] = field(default_factory=set)

    def act(self, view: View, random: Random) -> Action | None:
        """Stock up on the first visit; afterwards replace its quotes by new ones around the price."""
        if view.slug not in self.stocked:
            self.stocked.add(view.slug)
            return Split("300")
        orders = []
        for outcome, price in view.prices.items():
            margin = self.spread * random.uniform(0.8, 1.5)
            if LOWEST + margin < price < HIGHEST - margin:
                orders.append(self._quote(outcome, "buy", price - margin))
                if view.shares.get(outcome, 0.0) > self.size:
                    orders.append(self._quote(outcome, "sell", price + margin))
        return Quotes(tuple(orders))

    def _quote(self, outcome: str, side: str, price: float) -> dict[str, Any]:
        return {
            "outcome": outcome,
            "side": side,
            "type": "limit",
            "quantity": amount(self.size),
            "limit_price": tick(price),
            "post_only": True,
        }


def cast(truth: Mapping[str, str]) -> list[Trader]:
    """Return the dozen who play: `truth` is how the story goes on, by market."""
    wrong = {"combat": "No", "where": "Eastern Russia", "impact": "No", "response": "UN sanctions", "more-troops": "No"}
    return [
        Informed("Marta", truth, 0.9, deposit="3000"),
        Informed("Jun-ho", truth, 0.75),
        Informed("Odile", truth, 0.6, size=20.0),
        Noise("Benno"),
        Noise("Chidi"),
        Noise("Wren", size=12.0),
        Noise("Pilar", deposit="300", weight=4),
        Momentum("Sanjay"),
        Momentum("Tove", deposit="800", size=14.0),
        Stubborn("Gus", wrong),
        Stubborn("Ilse", {"combat": "No", "more-troops": "No"}, deposit="700", weight=2, size=15.0),
        MarketMaker("Quotes Ltd"),
    ]
