"""Orders: the commands of a trader and the events they leave in a market.

How an order is matched is in `domain.matching`, how it is decided in `domain.trading`, what its events change in
`domain.order_rules`.
"""

from typing import ClassVar, Final, Literal

from domain.book import Side
from domain.money import Credits, Price, Shares, Time
from domain.values import Value

CLIENT_ORDER_ID_MAX: Final = 64

OPEN_ORDERS_MAX: Final = 1_000
"""The most orders of one account that may rest at once, so that canceling all of them is one bounded command."""

OrderType = Literal["market", "limit"]
TimeInForce = Literal["GTC", "GTD", "IOC", "FOK"]
SelfTradePrevention = Literal["cancel_taker", "cancel_maker"]
OrderStatus = Literal["filled", "partially_filled", "resting", "canceled"]

# --- commands


class PlaceOrder(Value):
    """Buy or sell shares of one outcome.

    `quantity` is in shares; a market buy may name `spend` instead, the most its fills may cost (fees come on top).
    `limit_price` belongs to limit orders. `time_in_force` None is GTC for a limit order and IOC for a market order.
    `max_cost` and `min_proceeds` guard what this command trades at once, fees included: broken, nothing is filled.
    """

    account_id: str
    market_id: str
    order_id: str
    client_order_id: str
    outcome: str
    side: Side
    type: OrderType
    quantity: Shares | None = None
    spend: Credits | None = None
    limit_price: Price | None = None
    time_in_force: TimeInForce | None = None
    expires_at: Time | None = None
    post_only: bool = False
    reduce_only: bool = False
    max_cost: Credits | None = None
    min_proceeds: Credits | None = None
    self_trade_prevention: SelfTradePrevention = "cancel_taker"


class CancelOrder(Value):
    """Take one resting order of the account out of the book."""

    account_id: str
    order_id: str


class CancelOrders(Value):
    """Take all resting orders of the account, or those in one market, out of the book."""

    account_id: str
    market_id: str | None = None


class AmendOrder(Value):
    """Give a resting order a new price or a new total quantity (what is filled already included).

    It keeps its place in time only when the price stays and the quantity shrinks; otherwise it acts as a new order.
    """

    account_id: str
    order_id: str
    limit_price: Price | None = None
    quantity: Shares | None = None


class SplitSets(Value):
    """Turn `amount` credits into that many shares of every outcome."""

    account_id: str
    market_id: str
    amount: Shares


class MergeSets(Value):
    """Turn `amount` shares of every outcome into that many credits."""

    account_id: str
    market_id: str
    amount: Shares


OrderCommand = PlaceOrder | CancelOrder | CancelOrders | AmendOrder

# --- events


class Fill(Value):
    """One step of an execution: against the maker (`order_id` and `account_id` None) or against one resting order.

    `price` is `cost / quantity`, rounded half even to 6 decimals; `cost` is what the taker paid or received in this
    step. `resting_cost` is what the resting order's side of it cost or brought: the same, or with two outcomes the other
    part of a complete set.
    """

    price: Price
    quantity: Shares
    cost: Credits
    source: Literal["amm", "book"]
    order_id: str | None = None
    account_id: str | None = None
    resting_cost: Credits = 0


class Execution(Value):
    """What an order did at once.

    `cost` sums the fills, without `fee`. `amm_shares` is what the maker sold (negative: bought) of the order's
    outcome, `sets` how many complete sets came into being (negative: were dissolved) where two outcomes met. `prices` are
    the maker's prices afterwards, empty where they did not change. `reason` says why a remainder does not rest.
    """

    status: OrderStatus
    filled: Shares
    remaining: Shares
    cost: Credits
    fee: Credits
    fills: tuple[Fill, ...]
    amm_shares: Shares
    sets: Shares
    prices: tuple[Price, ...]
    resting: bool
    reason: str | None = None


class OrderPlaced(Value):
    """An order was taken and did what `execution` says. `resolution_version` is the wording the trader saw."""

    TOPIC: ClassVar[str] = "OrderPlaced.v1"

    market_id: str
    account_id: str
    order_id: str
    client_order_id: str
    outcome: str
    side: Side
    type: OrderType
    quantity: Shares | None
    spend: Credits | None
    limit_price: Price | None
    time_in_force: TimeInForce
    expires_at: Time | None
    post_only: bool
    reduce_only: bool
    resolution_version: int
    execution: Execution


class OrderAmended(Value):
    """A resting order got a new price or quantity, lost its place in time and acted as a new order.

    `execution` says how.
    `quantity` is the new total; `execution.filled` counts only what was filled now.
    """

    TOPIC: ClassVar[str] = "OrderAmended.v1"

    market_id: str
    account_id: str
    order_id: str
    client_order_id: str
    outcome: str
    side: Side
    limit_price: Price
    quantity: Shares
    filled_before: Shares
    expires_at: Time | None
    post_only: bool
    execution: Execution


class OrderReduced(Value):
    """A resting order shrank to the total `quantity` and kept its place in time."""

    TOPIC: ClassVar[str] = "OrderReduced.v1"

    market_id: str
    account_id: str
    order_id: str
    client_order_id: str
    outcome: str
    side: Side
    limit_price: Price
    quantity: Shares
    remaining: Shares


class OrderCanceled(Value):
    """A resting order left the book unfilled in part or whole.

    `reason`: trader, self_trade, expired, market_closed, market_voided.
    """

    TOPIC: ClassVar[str] = "OrderCanceled.v1"

    market_id: str
    account_id: str
    order_id: str
    client_order_id: str
    outcome: str
    side: Side
    filled: Shares
    remaining: Shares
    reason: str


class RestingOrderFilled(Value):
    """The maker filled a resting order because its price had come to the order's limit or better.

    `cost` is what the shares cost or brought; the last event of a sweep carries the maker's `prices` after all of it, the
    others none. `more` says that the sweep was cut here and goes on.
    """

    TOPIC: ClassVar[str] = "RestingOrderFilled.v1"

    market_id: str
    account_id: str
    order_id: str
    outcome: str
    side: Side
    quantity: Shares
    cost: Credits
    remaining: Shares
    prices: tuple[Price, ...]
    more: bool


OrderEvent = OrderPlaced | OrderAmended | OrderReduced | OrderCanceled | RestingOrderFilled
