"""What becomes of a trader's command: guards first, then the match, then the events.

The events of an execution come in three groups: those who pay, the market's own event, those who receive. So the pool
covers its worst outcome at every position. A quote is the same decision, not applied.
"""

from typing import Final

from domain import lmsr
from domain.account import Account, AccountEvent, OrderReleased, OrderReserved, SetsMerged, SetsSplit, TradeSettled
from domain.account_rules import spendable
from domain.book import RestingOrder
from domain.market import Market, SetsBurned, SetsMinted, Status
from domain.matching import Taker
from domain.money import AMOUNT_MAX, MICRO, PRICE_MAX, PRICE_MIN, PRICE_TICK, Credits, Price, Shares, Time, taker_fee
from domain.orders import (
    AmendOrder,
    Execution,
    MergeSets,
    OrderAmended,
    OrderCanceled,
    OrderEvent,
    OrderPlaced,
    OrderReduced,
    OrderStatus,
    PlaceOrder,
    RestingOrderFilled,
    SplitSets,
    TimeInForce,
)
from domain.rejections import Code, Rejection, invalid, reject
from domain.sweeping import SweepFill, hold_of, sweep_book

OPEN_ORDERS_MAX: Final = 1_000
"""How many orders of one account may rest at once: so canceling all of them is one bounded command."""

TradeEvent = AccountEvent | OrderEvent | SetsMinted | SetsBurned


# --- fields


def check_order(command: PlaceOrder, time: Time) -> Rejection | None:  # noqa: C901, PLR0912  one guard a line
    """Return what is wrong with the fields of an order, whatever the market and the account, or None."""
    if wrong := (
        _check_amount("quantity", command.quantity)
        or _check_amount("spend", command.spend)
        or _check_amount("max_cost", command.max_cost)
    ):
        return wrong
    if command.min_proceeds is not None and not 0 <= command.min_proceeds <= AMOUNT_MAX:
        return invalid("min_proceeds", f"must be 0 to {AMOUNT_MAX // MICRO}", given=command.min_proceeds)
    buys, limit = command.side == "buy", command.type == "limit"
    tif = command.time_in_force
    if command.spend is not None and (limit or not buys):
        return invalid("spend", "belongs to a market buy")
    if (command.quantity is None) == (command.spend is None):
        return invalid("quantity", "must be given" if command.quantity is None else "and spend exclude each other")
    if limit and command.limit_price is None:
        return invalid("limit_price", "must be given for a limit order")
    if not limit and command.limit_price is not None:
        return invalid("limit_price", "belongs to a limit order")
    if command.limit_price is not None and (wrong := check_price(command.limit_price)):
        return wrong
    if not limit and tif not in {None, "IOC", "FOK"}:
        return invalid("time_in_force", "must be IOC or FOK for a market order")
    if (tif == "GTD") != (command.expires_at is not None):
        return invalid("expires_at", "must be given with GTD, and only then")
    if command.expires_at is not None and command.expires_at <= time:
        return reject(Code.ORDER_EXPIRED, "expires_at must lie ahead", expires_at=command.expires_at, now=time)
    if command.post_only and (not limit or tif in {"IOC", "FOK"}):
        return invalid("post_only", "belongs to a limit order that may rest")
    if command.reduce_only and buys:
        return invalid("reduce_only", "belongs to a sell: a buy can only add")
    if command.max_cost is not None and not buys:
        return invalid("max_cost", "belongs to a buy")
    if command.min_proceeds is not None and buys:
        return invalid("min_proceeds", "belongs to a sell")
    return None


def _check_amount(name: str, amount: int | None) -> Rejection | None:
    if amount is None or 0 < amount <= AMOUNT_MAX:
        return None
    return invalid(name, f"must be above 0 and at most {AMOUNT_MAX // MICRO}", given=amount)


def check_price(price: Price) -> Rejection | None:
    """Return why this is no price for an order, or None."""
    if PRICE_MIN <= price <= PRICE_MAX and price % PRICE_TICK == 0:
        return None
    return reject(
        Code.INVALID_PRICE,
        "limit_price must be a multiple of 0.001 from 0.001 to 0.999",
        field="limit_price",
        given=price,
        tick=PRICE_TICK,
    )


# --- the core that placing, amending and quoting share


class Decision:
    """An execution and what goes with it: cancellations before it, payers, then (after the market's event) receivers."""

    __slots__ = ("before", "execution", "payers", "receivers")

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.before: list[TradeEvent] = []
        self.payers: list[TradeEvent] = []
        self.receivers: list[TradeEvent] = []

    def around(self, event: OrderEvent) -> list[TradeEvent]:
        """Return all events in their order, with the market's own in its place."""
        return [*self.before, *self.payers, event, *self.receivers]


def execute(
    market: Market,
    account: Account,
    order: PlaceOrder,
    quantity: Shares | None,
    *,
    time_in_force: TimeInForce,
    released: Credits = 0,
) -> Decision | Rejection:
    """Return what the order does at once and whether it comes to rest, or why it is refused.

    `quantity` and `time_in_force` are what the order's own mean here. `released` is cash that the same command frees (an
    amended order's hold). Outcome and shares were checked by the caller.
    """
    taker = Taker(market, order, quantity)
    taker.match(order)
    remaining = 0 if quantity is None else quantity - taker.filled
    fee = taker_fee(market.terms.fee_rate, taker.filled, taker.cost)
    if refusal := _broken_condition(order, taker, fee, remaining, kills=time_in_force == "FOK"):
        return refusal
    hold = 0
    rests = remaining > 0 and taker.stop == "price" and time_in_force in {"GTC", "GTD"}
    if rests:
        others = len(account.orders) - len(taker.canceled) - (order.order_id in account.orders)
        if others >= OPEN_ORDERS_MAX:
            return reject(
                Code.TOO_MANY_ORDERS, "the account has as many open orders as it may", maximum=OPEN_ORDERS_MAX
            )
        assert order.limit_price is not None, "only limit orders rest"
        if taker.buys:
            hold = hold_of(market.terms.fee_rate, order.limit_price, remaining)
    if taker.buys:
        freed = released + sum([account.orders[own.order_id].cash for own in taker.canceled])
        required = max(taker.cost + fee + hold, order.spend or 0)  # a spend must be there, also where not all is used
        if refusal := spendable(account, required - freed):
            return refusal
    return _decision(order, account, taker, fee=fee, remaining=remaining, hold=hold, rests=rests)


def _broken_condition(
    order: PlaceOrder, taker: Taker, fee: Credits, remaining: Shares, *, kills: bool
) -> Rejection | None:
    """Return which of the order's own conditions what it would do breaks, or None."""
    stop, filled, cost = taker.stop, taker.filled, taker.cost
    if order.post_only and (taker.fills or stop == "self_trade" or taker.canceled):
        return reject(
            Code.POST_ONLY_WOULD_CROSS, "a post-only order would trade at once", limit_price=order.limit_price or 0
        )
    if kills and stop is not None:
        return reject(Code.FOK_NOT_FILLED, "the whole order cannot be filled now", fillable=filled, remaining=remaining)
    if stop is None and cost == fee and not taker.buys:
        return reject(Code.ORDER_TOO_SMALL, "so little brings nothing after rounding", quantity=filled)
    if order.max_cost is not None and cost + fee > order.max_cost:
        return reject(Code.SLIPPAGE, "it would cost more", cost=cost + fee, max_cost=order.max_cost)
    if order.min_proceeds is not None and cost - fee < order.min_proceeds:
        return reject(Code.SLIPPAGE, "it would bring less", proceeds=cost - fee, min_proceeds=order.min_proceeds)
    return None


def _decision(
    order: PlaceOrder,
    account: Account,
    taker: Taker,
    *,
    fee: Credits,
    remaining: Shares,
    hold: Credits,
    rests: bool,
) -> Decision:
    market, fills, cost = taker.market, taker.fills, taker.cost
    status: OrderStatus
    if taker.stop is None:
        status = "filled"
    elif fills:
        status = "partially_filled"
    else:
        status = "resting" if rests else "canceled"
    decision = Decision(
        Execution(
            status,
            taker.filled,
            remaining,
            cost,
            fee,
            tuple(fills),
            taker.amm_shares,
            taker.sets,
            lmsr.displayed(taker.prices) if taker.amm_shares else (),
            rests,
            None if rests else taker.stop,
        )
    )
    for own in taker.canceled:
        decision.before += cancel_events(market, own, account, "self_trade")
    if taker.met:
        met = {resting.order_id: resting for resting in taker.met}
        for fill in fills:
            if fill.order_id is not None:
                resting = met[fill.order_id]
                settled = settle_resting(market, resting, fill.quantity, fill.resting_cost)
                (decision.payers if resting.side == "buy" else decision.receivers).append(settled)
    if fills:
        own_part = TradeSettled(
            account.account_id,
            order.market_id,
            order.order_id,
            order.outcome,
            order.side,
            role="taker",
            quantity=taker.filled,
            cost=cost,
            fee=fee,
            cash=-cost - fee if taker.buys else cost - fee,
            held=0,
            held_shares=0,
        )
        (decision.payers if taker.buys else decision.receivers).append(own_part)
    if rests:
        shares = 0 if taker.buys else remaining
        decision.receivers.append(
            OrderReserved(account.account_id, order.market_id, order.order_id, order.outcome, order.side, hold, shares)
        )
    return decision


def settle_resting(market: Market, order: RestingOrder, quantity: Shares, cost: Credits) -> TradeSettled:
    """Return the account's part when `quantity` of a resting order trades: what it held pays, the rest of that returns."""
    buys = order.side == "buy"
    rate = market.terms.fee_rate
    used = (
        hold_of(rate, order.price, order.remaining) - hold_of(rate, order.price, order.remaining - quantity)
        if buys
        else 0
    )
    return TradeSettled(
        account_id=order.account_id,
        market_id=market.market_id,
        order_id=order.order_id,
        outcome=market.terms.outcomes[order.outcome],
        side=order.side,
        role="resting",
        quantity=quantity,
        cost=cost,
        fee=0,
        cash=used - cost if buys else cost,
        held=-used,
        held_shares=0 if buys else -quantity,
    )


def cancel_events(market: Market, order: RestingOrder, account: Account, reason: str) -> list[TradeEvent]:
    """Return the events that take a resting order out of the book and give back what it held."""
    reservation = account.orders[order.order_id]
    return [
        OrderCanceled(
            market.market_id,
            order.account_id,
            order.order_id,
            order.client_order_id,
            market.terms.outcomes[order.outcome],
            order.side,
            order.filled,
            order.remaining,
            reason,
        ),
        OrderReleased(
            order.account_id,
            market.market_id,
            order.order_id,
            reservation.outcome,
            reservation.cash,
            reservation.shares,
        ),
    ]


# --- decide


def not_active(market: Market) -> Rejection | None:
    """Return why the market takes no orders now, or None."""
    if market.status == Status.ACTIVE:
        return None
    return reject(Code.MARKET_NOT_ACTIVE, f"the market is {market.status} and takes no orders", status=market.status)


def place_order(market: Market, account: Account, command: PlaceOrder, time: Time) -> list[TradeEvent] | Rejection:
    """Return the events of a new order, or why it is refused."""
    if wrong := check_order(command, time):
        return wrong
    if refusal := not_active(market):
        return refusal
    if command.outcome not in market.terms.outcomes:
        return reject(Code.UNKNOWN_OUTCOME, "the market does not have this outcome", outcome=command.outcome)
    quantity = command.quantity
    if command.side == "sell":
        assert quantity is not None, "a sell names its quantity"
        available = account.available_shares(market.market_id, command.outcome)
        if command.reduce_only:
            quantity = min(quantity, available)
            if quantity == 0:
                return reject(Code.REDUCE_ONLY, "there is nothing to reduce", available=available)
        elif quantity > available:
            return reject(
                Code.INSUFFICIENT_SHARES, "more shares than are available", required=quantity, available=available
            )
    tif: TimeInForce = command.time_in_force or ("GTC" if command.type == "limit" else "IOC")
    decision = execute(market, account, command, quantity, time_in_force=tif)
    if isinstance(decision, Rejection):
        return decision
    return decision.around(
        OrderPlaced(
            market_id=market.market_id,
            account_id=account.account_id,
            order_id=command.order_id,
            client_order_id=command.client_order_id,
            outcome=command.outcome,
            side=command.side,
            type=command.type,
            quantity=quantity,
            spend=command.spend,
            limit_price=command.limit_price,
            time_in_force=tif,
            expires_at=command.expires_at,
            post_only=command.post_only,
            reduce_only=command.reduce_only,
            resolution_version=market.resolution_version,
            execution=decision.execution,
        )
    )


def amend_order(market: Market, account: Account, command: AmendOrder) -> list[TradeEvent] | Rejection:
    """Return the events of an amendment, or why it is refused; an empty list where nothing would change."""
    if refusal := not_active(market):
        return refusal
    order = market.book.orders[command.order_id]
    price = command.limit_price if command.limit_price is not None else order.price
    total = command.quantity if command.quantity is not None else order.quantity
    if wrong := check_price(price):
        return wrong
    if not order.filled < total <= AMOUNT_MAX:
        return invalid("quantity", "must be more than is filled already", given=total, filled=order.filled)
    remaining = total - order.filled
    if price == order.price and remaining == order.remaining:
        return []
    if price == order.price and remaining < order.remaining:
        return _reduce(market, account, order, total, remaining)
    reservation = account.orders[order.order_id]
    outcome = market.terms.outcomes[order.outcome]
    side = order.side
    if side == "sell":
        available = account.available_shares(market.market_id, outcome) + reservation.shares
        if remaining > available:
            return reject(
                Code.INSUFFICIENT_SHARES, "more shares than are available", required=remaining, available=available
            )
    tif: TimeInForce = "GTD" if order.expires_at is not None else "GTC"
    again = PlaceOrder(
        account.account_id,
        market.market_id,
        order.order_id,
        order.client_order_id,
        outcome,
        side,
        "limit",
        remaining,
        limit_price=price,
        post_only=order.post_only,
    )
    decision = execute(market, account, again, remaining, time_in_force=tif, released=reservation.cash)
    if isinstance(decision, Rejection):
        return decision
    decision.before.append(
        OrderReleased(
            account.account_id, market.market_id, order.order_id, outcome, reservation.cash, reservation.shares
        )
    )
    return decision.around(
        OrderAmended(
            market_id=market.market_id,
            account_id=account.account_id,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            outcome=outcome,
            side=side,
            limit_price=price,
            quantity=total,
            filled_before=order.filled,
            expires_at=order.expires_at,
            post_only=order.post_only,
            execution=decision.execution,
        )
    )


def _reduce(
    market: Market, account: Account, order: RestingOrder, total: Shares, remaining: Shares
) -> list[TradeEvent]:
    rate = market.terms.fee_rate
    buys = order.side == "buy"
    cash = hold_of(rate, order.price, order.remaining) - hold_of(rate, order.price, remaining) if buys else 0
    shares = 0 if buys else order.remaining - remaining
    outcome = market.terms.outcomes[order.outcome]
    return [
        OrderReduced(
            market.market_id,
            account.account_id,
            order.order_id,
            order.client_order_id,
            outcome,
            order.side,
            order.price,
            total,
            remaining,
        ),
        OrderReleased(account.account_id, market.market_id, order.order_id, outcome, cash, shares),
    ]


def sweep_events(market: Market) -> list[TradeEvent]:
    """Return the events of the maker filling resting orders that its price has reached; empty when there are none.

    Sales come before purchases among the market's own events, so that the pool covers its worst outcome between them.
    """
    sweep = sweep_book(market)
    if sweep is None:
        return []
    buys = [fill for fill in sweep.fills if fill.order.side == "buy"]
    sells = [fill for fill in sweep.fills if fill.order.side == "sell"]
    ordered = [*sells, *buys]
    prices = lmsr.displayed(sweep.prices)
    own: list[TradeEvent] = [
        _swept(market, fill, () if i < len(ordered) - 1 else prices, more=sweep.more) for i, fill in enumerate(ordered)
    ]
    return [*(_settled(market, fill) for fill in buys), *own, *(_settled(market, fill) for fill in sells)]


def _settled(market: Market, fill: SweepFill) -> TradeSettled:
    return settle_resting(market, fill.order, fill.quantity, fill.cost)


def _swept(market: Market, fill: SweepFill, prices: tuple[Price, ...], *, more: bool) -> RestingOrderFilled:
    order = fill.order
    return RestingOrderFilled(
        market.market_id,
        order.account_id,
        order.order_id,
        market.terms.outcomes[order.outcome],
        order.side,
        fill.quantity,
        fill.cost,
        order.remaining - fill.quantity,
        prices,
        more,
    )


def split_sets(market: Market, account: Account, command: SplitSets) -> list[TradeEvent] | Rejection:
    """Return the events that turn credits into complete sets, or why it is refused."""
    if refusal := not_active(market):
        return refusal
    if refusal := spendable(account, command.amount):
        return refusal
    return [
        SetsSplit(account.account_id, market.market_id, market.terms.outcomes, command.amount),
        SetsMinted(market.market_id, account.account_id, command.amount),
    ]


def merge_sets(market: Market, account: Account, command: MergeSets) -> list[TradeEvent] | Rejection:
    """Return the events that turn complete sets into credits, or why it is refused; also while halted or closed."""
    if market.status not in {Status.ACTIVE, Status.HALTED, Status.CLOSED}:
        return not_active(market) or []
    for outcome in market.terms.outcomes:
        available = account.available_shares(market.market_id, outcome)
        if available < command.amount:
            return reject(
                Code.INSUFFICIENT_SHARES,
                "a complete set needs shares of every outcome",
                outcome=outcome,
                required=command.amount,
                available=available,
            )
    return [
        SetsBurned(market.market_id, account.account_id, command.amount),
        SetsMerged(account.account_id, market.market_id, market.terms.outcomes, command.amount),
    ]
