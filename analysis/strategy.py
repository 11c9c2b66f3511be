"""What a strategy of `tidings backtest` sees, and what it may send.

    from analysis.strategy import Order

    def cheap_yes(seen):
        for market in seen.markets():
            if market.prices.get("Yes", 1) < Decimal("0.2") and not seen.shares(market.market_id, "Yes"):
                yield Order(market.slug, "Yes", "buy", spend="10")

A strategy is a function, or a class whose objects can be called: it is called after each command of the log, with a `Seen`, and
returns or yields orders. They are decided at once, before the next command of the log. Its process has been told the events up
to there and nothing else: what comes next is nowhere in it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from domain.market import Status
from domain.money import MICRO, format_decimal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from domain.account import Account
    from domain.events import Event
    from domain.exchange import Exchange
    from domain.market_state import Market

Number = Decimal | int | str | float
"""An amount or a price: a float is taken as it is printed, and cut off after six decimals."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STEP: Final = Decimal("0.000001")


@dataclass(frozen=True)
class Order:
    """An order, with the fields of `POST /v1/orders`. `market` is an id or a slug. A buy at the market may name `spend`."""

    market: str
    outcome: str
    side: Literal["buy", "sell"]
    quantity: Number | None = None
    spend: Number | None = None
    limit_price: Number | None = None
    time_in_force: Literal["GTC", "GTD", "IOC", "FOK"] | None = None
    post_only: bool = False
    reduce_only: bool = False
    max_cost: Number | None = None
    min_proceeds: Number | None = None

    def wire(self, market_id: str) -> dict[str, Any]:
        """Return its fields as they stand in a command, without the ids of order and account."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "market"}
        amounts = ("quantity", "spend", "limit_price", "max_cost", "min_proceeds")
        found |= {name: _text(found[name]) for name in amounts if found[name] is not None}
        kind = "market" if self.limit_price is None else "limit"
        return {"market_id": market_id, "type": kind} | {
            name: value for name, value in found.items() if value is not None
        }


@dataclass(frozen=True)
class CancelAll:
    """Takes all resting orders of the strategy out of the book, or those of one market."""

    market: str | None = None


@dataclass(frozen=True)
class MarketSeen:
    """A market as it stands: prices of the market maker by outcome, in credits a share; payouts once it is determined."""

    market_id: str
    slug: str
    question: str
    status: str
    prices: Mapping[str, Decimal]
    payouts: Mapping[str, Decimal]
    close_time: datetime


class Seen:
    """The exchange after a command of the log, and the strategy's own account in it.

    `position` is that of the command's last event in the log, `time` its time. `events` are all events since the last call,
    those of the strategy's own orders included. `exchange` is the state of the rules (`domain.exchange.Exchange`), whose amounts
    are integers of a millionth: a copy that belongs to the strategy's process. To change it changes nothing in the backtest.
    """

    def __init__(self, exchange: Exchange, account_id: str) -> None:
        self.exchange = exchange
        self.account_id = account_id
        self.position = 0
        self.events: Sequence[Event] = ()

    @property
    def time(self) -> datetime:
        """The time of the last event."""
        return _EPOCH + timedelta(microseconds=self.exchange.time)

    @property
    def account(self) -> Account:
        """The strategy's account, as the rules have it."""
        return self.exchange.accounts[self.account_id]

    @property
    def cash(self) -> Decimal:
        """The credits that the strategy can spend."""
        return _credits(self.account.cash)

    def shares(self, market_id: str, outcome: str) -> Decimal:
        """Return the shares of an outcome that the strategy can sell."""
        return _credits(self.account.available_shares(market_id, outcome))

    def market(self, name: str) -> MarketSeen:
        """Return the market with an id or a slug. Raises KeyError."""
        return _seen(self.exchange.markets[self.market_id(name)])

    def markets(self) -> Iterable[MarketSeen]:
        """Yield the markets that take orders now, the oldest first."""
        return (_seen(found) for found in self.exchange.markets.values() if found.status is Status.ACTIVE)

    def market_id(self, name: str) -> str:
        """Return the id of the market with an id or a slug. Raises KeyError."""
        return name if name in self.exchange.markets else self.exchange.names.markets[name]


def _seen(market: Market) -> MarketSeen:
    terms = market.terms
    prices = market.displayed_prices() if market.prices else terms.initial_prices
    return MarketSeen(
        market.market_id,
        terms.slug,
        terms.question,
        market.status.value,
        {name: _credits(price) for name, price in zip(terms.outcomes, prices, strict=True)},
        {payout.outcome: _credits(payout.fraction) for payout in market.payouts},
        _EPOCH + timedelta(microseconds=market.close_time),
    )


def _credits(micros: int) -> Decimal:
    return Decimal(micros) / MICRO


def _text(number: Number) -> str:
    """Return a number as commands have it. What is no number stays as it is, for the command's limits to refuse."""
    try:
        micros = int((Decimal(str(number)).quantize(_STEP, ROUND_DOWN)) * MICRO)
    except (ArithmeticError, ValueError):
        return str(number)
    return format_decimal(micros)
