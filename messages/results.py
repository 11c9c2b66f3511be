"""The `result` of a reply: what an accepted command did, made from its events.

Every order passes here, so this module is compiled (`local/compile.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from domain.account import AccountOpened, CashDeposited, CashWithdrawn
from domain.assignments import PartitionAssigned
from domain.events import Event
from domain.invitations import InvitationAccepted, InvitationCreated, InvitationRevoked
from domain.market import (
    DisputeUpheld,
    LiquidityAdded,
    MarketActivated,
    MarketClosed,
    MarketCorrected,
    MarketDetermined,
    MarketDisputed,
    MarketDrafted,
    MarketFinalized,
    MarketHalted,
    MarketResumed,
    MarketVoided,
    ResolutionClarified,
    SetsBurned,
    SetsMinted,
    Status,
)
from domain.money import average_price, format_decimal
from domain.orders import Execution, OrderAmended, OrderCanceled, OrderPlaced, OrderReduced, RestingOrderFilled
from domain.partition import CommandHadNoEffect
from domain.story import StoryPublished
from domain.transfers import FundsSent
from messages.wire import format_time

Result = dict[str, Any]


def result_of(events: Sequence[Event]) -> Result:
    """Return what an accepted command did: the order it placed, or the ids and amounts that its sender needs."""
    canceled: list[OrderCanceled] = []
    for event in events:
        if type(event) is OrderPlaced:
            return _placed(event, events)
        if type(event) is OrderAmended:
            return _amended(event, events)
        if type(event) is OrderCanceled:
            canceled.append(event)
    for event in events:
        make = _RESULTS.get(type(event))
        if make is not None:
            return make(event, events)
    if canceled:
        return _canceled(canceled)
    return {}


def _placed(event: OrderPlaced, events: Sequence[Event]) -> Result:
    limit_price, quantity, spend = event.limit_price, event.quantity, event.spend
    result = _execution(event, event.execution, 0, events)
    result["type"] = event.type
    result["time_in_force"] = event.time_in_force
    result["limit_price"] = None if limit_price is None else format_decimal(limit_price)
    result["quantity"] = None if quantity is None else format_decimal(quantity)
    result["spend"] = None if spend is None else format_decimal(spend)
    return result


def _amended(event: OrderAmended, events: Sequence[Event]) -> Result:
    result = _execution(event, event.execution, event.filled_before, events)
    result["type"] = "limit"
    result["limit_price"] = format_decimal(event.limit_price)
    result["quantity"] = format_decimal(event.quantity)
    return result


def _named(event: OrderPlaced | OrderAmended | OrderReduced | OrderCanceled) -> Result:
    """Return the fields that identify an order."""
    return {
        "order_id": event.order_id,
        "client_order_id": event.client_order_id,
        "account_id": event.account_id,
        "market_id": event.market_id,
        "outcome": event.outcome,
        "side": event.side,
    }


def _execution(
    event: OrderPlaced | OrderAmended, done: Execution, filled_before: int, events: Sequence[Event]
) -> Result:
    """Return the part of the result that placed and amended orders share: what the whole command did with the order.

    `cost`, `fee`, `average_price` and `fills` are those of this command; `filled_quantity` includes earlier fills.
    """
    filled, remaining, cost, status = done.filled, done.remaining, done.cost, done.status
    fills = [_fill(fill.price, fill.quantity, fill.source) for fill in done.fills]
    if done.resting:
        if done.swept_prices:
            for swept in events:  # the sweep may fill the order itself
                if type(swept) is RestingOrderFilled and swept.order_id == event.order_id:
                    filled += swept.quantity
                    cost += swept.cost
                    remaining = swept.remaining
                    price = average_price(swept.cost, swept.quantity, event.limit_price, buys=event.side == "buy")
                    fills.append(_fill(price, swept.quantity, "amm"))
        if not remaining:
            status = "filled"
        elif filled or filled_before:
            status = "partially_filled"
    result = _named(event)
    result["filled_quantity"] = format_decimal(filled_before + filled)
    result["remaining_quantity"] = format_decimal(remaining)
    result["status"] = status
    result["reason"] = done.reason
    result["average_price"] = fills[0]["price"] if len(fills) == 1 else _average_price(event, cost, filled)
    result["cost"] = format_decimal(cost)
    result["fee"] = format_decimal(done.fee)
    result["fills"] = fills
    result["prices"] = [format_decimal(price) for price in done.final_prices]
    return result


def _fill(price: int, quantity: int, source: str) -> Result:
    return {"price": format_decimal(price), "quantity": format_decimal(quantity), "source": source}


def _average_price(event: OrderPlaced | OrderAmended, cost: int, filled: int) -> str | None:
    return format_decimal(average_price(cost, filled, event.limit_price, buys=event.side == "buy")) if filled else None


def _canceled(events: Sequence[OrderCanceled]) -> Result:
    """Return all canceled orders: one shape for one and for many."""
    return {
        "canceled": [
            {
                **_named(event),
                "status": "canceled",
                "filled_quantity": format_decimal(event.filled),
                "remaining_quantity": format_decimal(event.remaining),
            }
            for event in events
        ]
    }


def _reduced(event: OrderReduced, _: Sequence[Event]) -> Result:
    filled = event.quantity - event.remaining
    return {
        **_named(event),
        "type": "limit",
        "limit_price": format_decimal(event.limit_price),
        "quantity": format_decimal(event.quantity),
        "filled_quantity": format_decimal(filled),
        "remaining_quantity": format_decimal(event.remaining),
        "status": "partially_filled" if filled else "resting",
        "reason": None,
        "average_price": None,
        "cost": "0.000000",
        "fee": "0.000000",
        "fills": [],
        "prices": [],
    }


def _story(event: StoryPublished, events: Sequence[Event]) -> Result:
    opened = [_market(drafted, events) for drafted in events if isinstance(drafted, MarketDrafted)]
    return {
        "story_id": event.story_id,
        "slug": event.slug,
        "market_ids": [market["market_id"] for market in opened],
        "markets": opened,
    }


def _market(event: MarketDrafted, events: Sequence[Event]) -> Result:
    active = any(isinstance(other, MarketActivated) and other.market_id == event.market_id for other in events)
    return {
        "market_id": event.market_id,
        "story_id": event.story_id,
        "slug": event.slug,
        "status": (Status.ACTIVE if active else Status.DRAFT).value,
    }


def _determined(event: MarketDetermined, _: Sequence[Event]) -> Result:
    return {
        "market_id": event.market_id,
        "status": Status.DETERMINED.value,
        "payouts": {payout.outcome: format_decimal(payout.fraction) for payout in event.payouts},
        "dispute_until": format_time(event.dispute_until),
    }


def _settled(event: MarketFinalized | MarketCorrected, _: Sequence[Event]) -> Result:
    payouts = {payout.outcome: format_decimal(payout.fraction) for payout in event.payouts}
    return {"market_id": event.market_id, "status": Status.FINALIZED.value, "payouts": payouts}


def _status(status: Status) -> Callable[[Any, Sequence[Event]], Result]:
    return lambda event, _: {"market_id": event.market_id, "status": status.value}


def _amount(event: Any, _: Sequence[Event]) -> Result:
    return {"account_id": event.account_id, "amount": format_decimal(event.amount)}


def _sets(event: SetsMinted | SetsBurned, _: Sequence[Event]) -> Result:
    return {"account_id": event.account_id, "market_id": event.market_id, "amount": format_decimal(event.amount)}


def _no_effect(event: CommandHadNoEffect, _: Sequence[Event]) -> Result:
    if event.command == "CancelOrders":
        return _canceled(())
    result: Result = {"no_effect": True}
    if event.account_id is not None:
        result["account_id"] = event.account_id
    if event.market_id is not None:
        result["market_id"] = event.market_id
    return result


_RESULTS: Final[dict[type, Callable[[Any, Sequence[Event]], Result]]] = {
    # The event that says what a command did. Those that go with it (payments, cancellations, payouts) add nothing here.
    OrderReduced: _reduced,
    StoryPublished: _story,
    MarketDrafted: _market,
    MarketActivated: _status(Status.ACTIVE),
    MarketHalted: _status(Status.HALTED),
    MarketResumed: _status(Status.ACTIVE),
    MarketClosed: _status(Status.CLOSED),
    ResolutionClarified: lambda event, _: {"market_id": event.market_id, "resolution_version": event.version},
    LiquidityAdded: lambda event, _: {"market_id": event.market_id, "amount": format_decimal(event.amount)},
    MarketDetermined: _determined,
    MarketDisputed: lambda event, _: {
        "market_id": event.market_id,
        "status": Status.DISPUTED.value,
        "account_id": event.account_id,
        "bond": format_decimal(event.bond),
    },
    DisputeUpheld: lambda event, _: {
        "market_id": event.market_id,
        "status": Status.DETERMINED.value,
        "dispute_until": format_time(event.dispute_until),
    },
    MarketFinalized: _settled,
    MarketCorrected: _settled,
    MarketVoided: _status(Status.VOIDED),
    SetsMinted: _sets,
    SetsBurned: _sets,
    AccountOpened: lambda event, _: {"account_id": event.account_id, "name": event.name},
    InvitationCreated: lambda event, _: {"invitation_id": event.invitation_id},
    InvitationRevoked: lambda event, _: {"invitation_id": event.invitation_id},
    InvitationAccepted: lambda event, _: {
        "invitation_id": event.invitation_id,
        "account_id": event.account_id,
        "key_id": event.key_id,
    },
    CashDeposited: _amount,
    CashWithdrawn: _amount,
    FundsSent: lambda event, _: {
        "account_id": event.account_id,
        "to_partition": event.to_partition,
        "number": event.number,
        "amount": format_decimal(event.amount),
    },
    PartitionAssigned: lambda event, _: {"partition": event.partition},
    CommandHadNoEffect: _no_effect,
}
