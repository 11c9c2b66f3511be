"""Orders: the commands of a trader and the events that they leave in a market.

`domain.order_decisions` decides them, `domain.matching` matches them, and `domain.order_evolution` applies their events.
"""

from typing import ClassVar, Final, Literal

from domain.book import Side
from domain.money import Credits, Price, Shares, Time
from domain.values import Value, always_stored

OPEN_ORDERS_MAX: Final = 1_000
"""The most orders of one account that may rest at once, so that canceling all of them is one bounded command."""

BOOK_ORDERS_MAX: Final = 10_000
"""The most orders that may rest in one market, so that a sweep of all of them is bounded work."""

BOOK_SHARE_MIN: Final = 10
"""The number of orders that an account may have in a market whose book is full: no account keeps the others out."""

ORDER_MIN: Final = 10_000
"""The smallest order, in micro-shares, or in micro-credits for a `spend`. Only all available shares may be fewer."""

OrderType = Literal["market", "limit"]
TimeInForce = Literal["GTC", "GTD", "IOC", "FOK"]
SelfTradePrevention = Literal["cancel_taker", "cancel_maker"]
CancelScope = Literal["order", "market", "account"]
OrderStatus = Literal["filled", "partially_filled", "resting", "canceled"]

DEFAULT_TIME_IN_FORCE: Final[dict[OrderType, TimeInForce]] = {"limit": "GTC", "market": "IOC"}
"""The `time_in_force` of an order that names none, by its type."""

# --- commands


class PlaceOrder(Value):
    """Buy or sell shares of one outcome.

    `quantity` is in shares. A market buy may name `spend` instead: the most that its fills may cost, without the fee.
    `limit_price` belongs to limit orders. `time_in_force` None is GTC for a limit order and IOC for a market order.
    `max_cost` and `min_proceeds` bound what this command trades at once, fees included: if a bound would be broken, the
    order is refused and nothing is filled.
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
    """Give a resting order a new price or a new total quantity, which includes what is already filled.

    The order keeps its time priority only if the price stays and the quantity shrinks. Otherwise it acts as a new order.
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


# --- events


class Fill(Value):
    """One step of an execution: against the AMM (`order_id` and `account_id` None) or against one resting order.

    `cost` is what the taker paid or received in this step. `price` is the price of the resting order, on the taker's
    outcome; against the AMM it is `cost / quantity`, rounded half even to 6 decimals, or the order's limit price if the
    rounding of `cost` has passed it. `resting_cost` is what the resting order paid or received: the same as `cost`, or the
    other part of a complete set where orders on both outcomes of a market met.
    """

    price: Price
    quantity: Shares
    cost: Credits
    source: Literal["amm", "book"]
    order_id: str | None = None
    account_id: str | None = None
    resting_cost: Credits = 0


class Execution(Value, omit_defaults=True):
    """What an order did at once.

    `cost` is the sum of the fills, without `fee`. `amm_shares` is what the AMM sold (negative: bought) of the order's
    outcome. `sets` is the number of complete sets created (negative: dissolved) where orders on both outcomes met.
    `prices` are the AMM's prices afterwards, empty if they did not change. `reason` says why a remainder does not rest.
    `swept_prices` are the AMM's prices after the sweep that the order sets off, in all its steps; empty if there is no sweep.
    An empty one is left out of the stored event, so that events from before it was introduced read and look the same.
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
    reason: str | None = always_stored(None)
    swept_prices: tuple[Price, ...] = ()

    @property
    def final_prices(self) -> tuple[Price, ...]:
        """The AMM's prices after the whole command, its sweep included; empty if they did not change."""
        return self.swept_prices or self.prices


class OrderPlaced(Value, omit_defaults=True):
    """An order was accepted and did what `execution` says. `resolution_version` is the wording that the trader saw.

    `requested_quantity` is what a reduce-only order asked for, if `quantity` is less: the shares that were available.
    `max_cost`, `min_proceeds` and `self_trade_prevention` are those of the command.
    """

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
    requested_quantity: Shares | None = None
    max_cost: Credits | None = None
    min_proceeds: Credits | None = None
    self_trade_prevention: SelfTradePrevention = "cancel_taker"


class OrderAmended(Value, omit_defaults=True):
    """A resting order got a new price or quantity, lost its time priority and did what `execution` says.

    `quantity` is the new total. `execution.filled` counts only what was filled now. `unnamed` lists the fields that the
    command did not name, so that the order kept its own.
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
    unnamed: tuple[Literal["limit_price", "quantity"], ...] = ()


class OrderReduced(Value, omit_defaults=True):
    """A resting order shrank to the total `quantity` and kept its time priority. `unnamed` as in `OrderAmended`."""

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
    unnamed: tuple[Literal["limit_price"], ...] = ()


class OrderCanceled(Value, omit_defaults=True):
    """A resting order left the book with `remaining` shares unfilled.

    `reason`: trader, self_trade, expired, market_closed, market_voided. `scope` is what a trader asked to cancel: this order,
    all orders of the account in the market, or all orders of the account.
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
    scope: CancelScope = "order"


class RestingOrderFilled(Value):
    """The AMM filled a resting order because its price had reached the order's limit or better.

    `cost` is what the order paid or received. The last event of a sweep carries the AMM's `prices` after the whole
    sweep, the others carry none. `more` says that the sweep was cut here and goes on.
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
