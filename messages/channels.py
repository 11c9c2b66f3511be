"""The messages of the stream, by channel: what `GET /v1/stream` and `/v1/ws` say of one event of the log.

    trades      every fill, with the fields of `/v1/markets/{market}/trades` that belong to everybody
    prices      the AMM's prices of a market, after each event that changed one
    lifecycle   as `/v1/markets/{market}/events` shows it to everybody
    orders      what becomes of an account's orders; private to it
    events      the public form of each event; for those who may read the log

Nothing here reads a database or a clock. `FollowedMarkets` knows what one event does not say: names, the orders that rest,
and the prices at the end of a command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from domain.account import TradeSettled
from domain.market import (
    LifecycleEvent,
    LiquidityAdded,
    MarketActivated,
    MarketClosed,
    MarketDrafted,
    MarketResumed,
    SetsBurned,
    SetsMinted,
)
from domain.money import Credits, Price, Shares, Time, average_price, format_decimal
from domain.orders import Execution, Fill, OrderAmended, OrderCanceled, OrderPlaced, OrderReduced, RestingOrderFilled
from domain.values import Value
from messages.events import public_data
from messages.wire import encoder

if TYPE_CHECKING:
    from domain.events import Event, Recorded

Channel = Literal["trades", "prices", "lifecycle", "orders", "events"]

CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)
"""All channels, in the order of the messages of one event."""

LIFECYCLE: Final = frozenset({MarketDrafted, *get_args(LifecycleEvent)} - {SetsMinted, SetsBurned})
"""The events of the channel `lifecycle`."""

_ORDERS: Final = frozenset({OrderPlaced, OrderAmended, OrderReduced, OrderCanceled, TradeSettled})
"""The events of the channel `orders`. `TradeSettled` tells the fills of resting orders, also those of `RestingOrderFilled`."""


class StreamedTrade(Value):
    """A fill. `market` is the market's slug; the other fields are those of `/v1/markets/{market}/trades`.

    Accounts and orders are left out: one text serves all readers. `price_after`, `resting_outcome`, `resting_side` and
    `resting_price_after` are null where they are not known, beside events that cannot be read.
    """

    position: int
    number: int
    time: Time
    market_id: str
    market: str
    outcome: str
    side: str
    price: Price
    quantity: Shares
    cost: Credits
    fee: Credits
    source: str
    role: str
    resting_outcome: str | None
    resting_side: str | None
    resting_cost: Credits
    price_after: Price | None
    resting_price_after: Price | None


class StreamedPrices(Value):
    """The AMM's price of each outcome of a market from this position on, as decimal strings."""

    position: int
    time: Time
    market_id: str
    market: str
    prices: dict[str, str]


class StreamedLifecycle(Value):
    """An event of a market's life; `data` are its fields in their public form. The account of a dispute is null."""

    position: int
    time: Time
    market_id: str
    market: str
    type: str
    data: dict[str, Any]


class StreamedOrder(Value):
    """What became of an order of the account; `data` are the event's fields in their public form.

    `TradeSettled` tells what a resting order traded in one command of another, or with the AMM, and what it paid or received.
    Each fill is told once. Accounts and orders of others are null.
    """

    position: int
    time: Time
    account_id: str
    order_id: str
    market_id: str
    market: str
    type: str
    data: dict[str, Any]


StreamMessage = StreamedTrade | StreamedPrices | StreamedLifecycle | StreamedOrder

_CHANNEL_OF: Final[dict[type[StreamMessage], Channel]] = {
    StreamedTrade: "trades",
    StreamedPrices: "prices",
    StreamedLifecycle: "lifecycle",
    StreamedOrder: "orders",
}
_ENCODERS: Final = {each: encoder(each) for each in _CHANNEL_OF}


def channel_of(message: StreamMessage) -> Channel:
    """Return the channel of a message."""
    return _CHANNEL_OF[type(message)]


def wire_of(message: StreamMessage) -> dict[str, Any]:
    """Return a message in JSON's types."""
    return _ENCODERS[type(message)](message)


@dataclass(slots=True)
class FollowedMarket:
    """What does not change of a market, and the AMM's prices at the end of the last command, None if not known."""

    slug: str
    outcomes: tuple[str, ...]
    prices: tuple[Price, ...] | None


@dataclass(slots=True)
class FollowedOrder:
    """A resting order, as its fills name it."""

    outcome: str
    side: str
    limit_price: Price


@dataclass(slots=True)
class FollowedMarkets:
    """Markets and resting orders as of a position, which follow the log from there on.

    Begun with nothing, it must see the log from its beginning.
    """

    markets: dict[str, FollowedMarket] = field(default_factory=dict)
    resting: dict[str, FollowedOrder] = field(default_factory=dict)

    def follow(self, recorded: Recorded) -> list[StreamMessage]:
        """Take in the next event; return its messages on all channels but `events`, in the order of the channels."""
        event = recorded.event
        match event:
            case OrderPlaced() | OrderAmended():
                trades = self._execute(event, event.execution, recorded)
            case RestingOrderFilled():
                trades = [self._fill_resting(event, recorded)]
            case OrderCanceled():
                self.resting.pop(event.order_id, None)
                trades = []
            case MarketDrafted():
                self.markets[event.market_id] = drafted(event)
                trades = []
            case MarketActivated():
                self._price(event.market_id, event.prices)
                trades = []
            case LiquidityAdded() | MarketResumed():
                self._price(event.market_id, event.swept_prices)
                trades = []
            case _:
                trades = []
        return [*trades, *messages_of(recorded, self.markets)]

    def _price(self, market_id: str, prices: tuple[Price, ...]) -> None:
        market = self.markets.get(market_id)
        if prices and market is not None:
            market.prices = prices

    def _price_of(self, market: FollowedMarket | None, outcome: str | None) -> Price | None:
        if market is None or market.prices is None or outcome is None:
            return None
        return market.prices[market.outcomes.index(outcome)]

    def _execute(
        self, event: OrderPlaced | OrderAmended, execution: Execution, recorded: Recorded
    ) -> list[StreamMessage]:
        self._price(event.market_id, execution.final_prices)
        trades: list[StreamMessage] = []
        if execution.fills:
            market = self.markets.get(event.market_id)
            after, fee = self._price_of(market, event.outcome), execution.fee
            slug = market.slug if market is not None else ""
            for number, fill in enumerate(execution.fills):
                trades.append(self._taken(event, fill, recorded, (number, slug, fee, after)))
                fee = 0
        if execution.resting:
            assert event.limit_price is not None, "only limit orders rest"
            self.resting[event.order_id] = FollowedOrder(event.outcome, event.side, event.limit_price)
        else:
            self.resting.pop(event.order_id, None)
        return trades

    def _taken(
        self,
        event: OrderPlaced | OrderAmended,
        fill: Fill,
        recorded: Recorded,
        known: tuple[int, str, Credits, Price | None],
    ) -> StreamedTrade:
        """Return the trade of one fill of a taker."""
        number, slug, fee, price_after = known
        other = self.resting.get(fill.order_id) if fill.order_id is not None else None
        return StreamedTrade(
            position=recorded.position,
            number=number,
            time=recorded.time,
            market_id=event.market_id,
            market=slug,
            outcome=event.outcome,
            side=event.side,
            price=fill.price,
            quantity=fill.quantity,
            cost=fill.cost,
            fee=fee,
            source=fill.source,
            role="taker",
            resting_outcome=other.outcome if other else None,
            resting_side=other.side if other else None,
            resting_cost=fill.resting_cost,
            price_after=price_after,
            resting_price_after=self._price_of(self.markets.get(event.market_id), other.outcome) if other else None,
        )

    def _fill_resting(self, event: RestingOrderFilled, recorded: Recorded) -> StreamedTrade:
        """Return the trade of a resting order that the AMM filled."""
        if not event.more:
            self._price(event.market_id, event.prices)
        market, order = self.markets.get(event.market_id), self.resting.get(event.order_id)
        limit = order.limit_price if order is not None else None
        return StreamedTrade(
            position=recorded.position,
            number=0,
            time=recorded.time,
            market_id=event.market_id,
            market=market.slug if market is not None else "",
            outcome=event.outcome,
            side=event.side,
            price=average_price(event.cost, event.quantity, limit, buys=event.side == "buy"),
            quantity=event.quantity,
            cost=event.cost,
            fee=0,
            source="amm",
            role="resting",
            resting_outcome=None,
            resting_side=None,
            resting_cost=0,
            price_after=self._price_of(market, event.outcome),
            resting_price_after=None,
        )


def drafted(event: MarketDrafted) -> FollowedMarket:
    """Return a new market."""
    return FollowedMarket(event.slug, event.outcomes, event.initial_prices)


def fills_of(event: Event) -> bool:
    """Return whether an event has fills, and so messages on the channel `trades`."""
    if isinstance(event, OrderPlaced | OrderAmended):
        return bool(event.execution.fills)
    return isinstance(event, RestingOrderFilled)


def messages_of(recorded: Recorded, markets: dict[str, FollowedMarket]) -> list[StreamMessage]:
    """Return the messages of an event on the channels `prices`, `lifecycle` and `orders`, which one event knows by itself.

    `markets` are asked for slugs and outcomes only.
    """
    event: Any = recorded.event
    found: list[StreamMessage] = []
    market = markets.get(getattr(event, "market_id", ""))
    slug = market.slug if market is not None else ""
    if market is not None and (prices := _prices_of(event)):
        named = dict(zip(market.outcomes, map(format_decimal, prices), strict=True))
        found.append(StreamedPrices(recorded.position, recorded.time, event.market_id, slug, named))
    kind = type(event)
    if kind in LIFECYCLE:
        data = public_data(event)
        if "account_id" in data:
            data["account_id"] = None
        name = event.TOPIC.partition(".")[0]
        found.append(StreamedLifecycle(recorded.position, recorded.time, event.market_id, slug, name, data))
    elif kind in _ORDERS:
        message = _order_message(recorded, slug)
        if message is not None:
            found.append(message)
    return found


def _prices_of(event: Event) -> tuple[Price, ...]:
    """Return the prices that an event brings, none if it changes none."""
    if isinstance(event, OrderPlaced | OrderAmended):
        return event.execution.prices
    if isinstance(event, MarketActivated | RestingOrderFilled | MarketClosed):
        return event.prices
    return ()


def _order_message(recorded: Recorded, slug: str) -> StreamedOrder | None:
    event: Any = recorded.event
    if isinstance(event, TradeSettled) and event.role != "resting":
        return None  # the order's own event has told its fills
    data = public_data(event)
    for fill in data["execution"]["fills"] if "execution" in data else ():
        fill |= {"account_id": None, "order_id": None}
    return StreamedOrder(
        position=recorded.position,
        time=recorded.time,
        account_id=event.account_id,
        order_id=event.order_id,
        market_id=event.market_id,
        market=slug,
        type=event.TOPIC.partition(".")[0],
        data=data,
    )


def unreadable_event(position: int, topic: str) -> dict[str, Any]:
    """Return what the channel `events` says of an event that this version cannot read."""
    return {"position": position, "topic": topic, "unreadable": True}
