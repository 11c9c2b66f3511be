"""What becomes of a trader's command: guards first, then the match, then the events.

The events of an execution come in three groups: those who pay, the market's own event, those who receive. So the pool
covers its worst outcome at every position. A quote is the same decision, not applied.
"""

from dataclasses import dataclass, field
from typing import Final

from domain import lmsr
from domain.account import (
    Account,
    AccountEvent,
    OrderReleased,
    OrderReserved,
    SetsMerged,
    SetsSplit,
    TradeSettled,
    spendable,
)
from domain.book import RestingOrder, Side
from domain.market import Market, SetsBurned, SetsMinted, Status
from domain.matching import Match, match_order
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
    SelfTradePrevention,
    SplitSets,
    TimeInForce,
)
from domain.rejections import Code, Rejection, invalid, reject
from domain.sweeping import SweepFill, hold_of, sweep_book
from domain.values import value

OPEN_ORDERS_MAX: Final = 1_000
"""How many orders of one account may rest at once: so canceling all of them is one bounded command."""

TradeEvent = AccountEvent | OrderEvent | SetsMinted | SetsBurned


# --- fields


def check_order(command: PlaceOrder, time: Time) -> Rejection | None:  # noqa: C901, PLR0912  one guard a line
    """Return what is wrong with the fields of an order, whatever the market and the account, or None."""
    for name, amount in (("quantity", command.quantity), ("spend", command.spend), ("max_cost", command.max_cost)):
        if amount is not None and not 0 < amount <= AMOUNT_MAX:
            return invalid(name, f"must be above 0 and at most {AMOUNT_MAX // MICRO}", given=amount)
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


@value
class Terms:
    """What an order asks for, resolved: the same for one placed, amended or quoted."""

    order_id: str
    outcome: str
    index: int
    side: Side
    quantity: Shares | None
    spend: Credits | None
    limit_price: Price | None
    time_in_force: TimeInForce
    post_only: bool
    self_trade_prevention: SelfTradePrevention
    max_cost: Credits | None = None
    min_proceeds: Credits | None = None


@dataclass(slots=True)
class Decision:
    """An execution and what goes with it: cancellations before it, payers, then (after the market's event) receivers."""

    execution: Execution
    before: list[TradeEvent] = field(default_factory=list)
    payers: list[TradeEvent] = field(default_factory=list)
    receivers: list[TradeEvent] = field(default_factory=list)

    def around(self, event: OrderEvent) -> list[TradeEvent]:
        """Return all events in their order, with the market's own in its place."""
        return [*self.before, *self.payers, event, *self.receivers]


def execute(market: Market, account: Account, terms: Terms, released: Credits = 0) -> Decision | Rejection:
    """Return what the order does at once and whether it comes to rest, or why it is refused.

    `released` is cash that the same command frees (an amended order's hold). Shares were checked by the caller.
    """
    match = match_order(
        market,
        account.account_id,
        terms.index,
        terms.side,
        limit=terms.limit_price,
        quantity=terms.quantity,
        spend=terms.spend,
        self_trade_prevention=terms.self_trade_prevention,
    )
    buys = terms.side == "buy"
    remaining = terms.quantity - match.filled if terms.quantity is not None else 0
    if terms.post_only and (match.fills or match.stop == "self_trade" or match.canceled):
        return reject(
            Code.POST_ONLY_WOULD_CROSS, "a post-only order would trade at once", limit_price=terms.limit_price or 0
        )
    if terms.time_in_force == "FOK" and match.stop is not None:
        return reject(
            Code.FOK_NOT_FILLED, "the whole order cannot be filled now", fillable=match.filled, remaining=remaining
        )
    fee = taker_fee(market.terms.fee_rate, match.filled, match.cost)
    if not buys and match.stop is None and match.cost == fee:
        return reject(Code.ORDER_TOO_SMALL, "so little brings nothing after rounding", quantity=match.filled)
    if terms.max_cost is not None and match.cost + fee > terms.max_cost:
        return reject(Code.SLIPPAGE, "it would cost more", cost=match.cost + fee, max_cost=terms.max_cost)
    if terms.min_proceeds is not None and match.cost - fee < terms.min_proceeds:
        return reject(Code.SLIPPAGE, "it would bring less", proceeds=match.cost - fee, min_proceeds=terms.min_proceeds)
    rests = remaining > 0 and terms.time_in_force in {"GTC", "GTD"} and match.stop == "price"
    others = len(account.orders) - len(match.canceled) - (terms.order_id in account.orders)
    if rests and others >= OPEN_ORDERS_MAX:
        return reject(Code.TOO_MANY_ORDERS, "the account has as many open orders as it may", maximum=OPEN_ORDERS_MAX)
    assert terms.limit_price is not None or not rests, "only limit orders rest"
    hold = hold_of(market.terms.fee_rate, terms.limit_price or 0, remaining) if rests and buys else 0
    if buys:
        freed = released + sum(account.orders[order.order_id].cash for order in match.canceled)
        required = max(match.cost + fee + hold, terms.spend or 0)  # a spend must be there, also where not all is used
        if refusal := spendable(account, required - freed):
            return refusal
    return _decision(market, account, terms, match, fee=fee, remaining=remaining, hold=hold, rests=rests)


def _decision(
    market: Market,
    account: Account,
    terms: Terms,
    match: Match,
    *,
    fee: Credits,
    remaining: Shares,
    hold: Credits,
    rests: bool,
) -> Decision:
    status: OrderStatus
    if match.stop is None:
        status = "filled"
    elif match.fills:
        status = "partially_filled"
    else:
        status = "resting" if rests else "canceled"
    execution = Execution(
        status=status,
        filled=match.filled,
        remaining=remaining,
        cost=match.cost,
        fee=fee,
        fills=tuple(match.fills),
        maker_shares=match.maker_shares,
        sets=match.sets,
        prices=lmsr.displayed(match.prices) if match.maker_shares else (),
        resting=rests,
        reason=None if rests or match.stop is None else match.stop,
    )
    decision = Decision(execution)
    for order in match.canceled:
        decision.before += cancel_events(market, order, account, "self_trade")
    orders = {order.order_id: order for order in match.met}
    for fill in match.fills:
        if fill.order_id is None:
            continue
        order = orders[fill.order_id]
        settled = settle_resting(market, order, fill.quantity, fill.resting_cost)
        (decision.payers if order.side == "buy" else decision.receivers).append(settled)
    if match.fills:
        own = _settle_taker(market, account, terms, execution)
        (decision.payers if terms.side == "buy" else decision.receivers).append(own)
    if rests:
        shares = remaining if terms.side == "sell" else 0
        decision.receivers.append(
            OrderReserved(account.account_id, market.market_id, terms.order_id, terms.outcome, terms.side, hold, shares)
        )
    return decision


def _settle_taker(market: Market, account: Account, terms: Terms, execution: Execution) -> TradeSettled:
    return TradeSettled(
        account_id=account.account_id,
        market_id=market.market_id,
        order_id=terms.order_id,
        outcome=terms.outcome,
        side=terms.side,
        role="taker",
        quantity=execution.filled,
        cost=execution.cost,
        fee=execution.fee,
        cash=-execution.cost - execution.fee if terms.side == "buy" else execution.cost - execution.fee,
        held=0,
        held_shares=0,
    )


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
    index = market.index(command.outcome)
    if index < 0:
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
    terms = Terms(
        command.order_id,
        command.outcome,
        index,
        command.side,
        quantity,
        command.spend,
        command.limit_price,
        tif,
        command.post_only,
        command.self_trade_prevention,
        command.max_cost,
        command.min_proceeds,
    )
    decision = execute(market, account, terms)
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
    terms = Terms(
        order.order_id,
        outcome,
        order.outcome,
        side,
        remaining,
        None,
        price,
        tif,
        order.post_only,
        "cancel_taker",
    )
    decision = execute(market, account, terms, reservation.cash)
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
