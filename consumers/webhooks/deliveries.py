"""What one event of the log says to a webhook: pure functions of the event, its market's name and outcomes, and a filter.

The messages are those of the stream (messages/channels.py). What one event does not say is null: the side and the outcome
of a resting order that a trade met, and the price after a trade that goes on to fill resting orders.
"""

from __future__ import annotations

from dataclasses import replace
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from domain.account import TradeSettled
from messages.channels import (
    LIFECYCLE,
    FollowedMarkets,
    StreamedLifecycle,
    StreamedTrade,
    channel_of,
    fills_of,
    wire_of,
)
from messages.wire import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from domain.events import Recorded
    from domain.money import Credits
    from messages.channels import FollowedMarket, StreamMessage

_encode: Final = msgspec.json.Encoder().encode


class WebhookFilter(NamedTuple):
    """What a webhook is told.

    `lifecycle`: what happens to markets. `min_cost`: trades that cost at least so much, None for none. `fills_of`: the id of
    an account whose fills it is told, None for none.
    """

    lifecycle: bool
    min_cost: Credits | None
    fills_of: str | None

    def concerns(self, recorded: Recorded) -> bool:
        """Return whether an event may have a message for the webhook: a cheap look, before its market is looked up."""
        event: Any = recorded.event
        if type(event) in LIFECYCLE:
            return self.lifecycle
        if isinstance(event, TradeSettled):
            return event.account_id == self.fills_of
        return fills_of(event) and (self.min_cost is not None or event.account_id == self.fills_of)

    def wants(self, message: StreamMessage) -> bool:
        """Return whether the webhook is told a message of the stream. Each fill of an account is in exactly one."""
        if isinstance(message, StreamedLifecycle):
            return self.lifecycle
        if isinstance(message, StreamedTrade):
            return self.min_cost is not None and message.cost >= self.min_cost
        if channel_of(message) != "orders" or message.account_id != self.fills_of:  # type: ignore[union-attr]
            return False
        kind, data = message.type, message.data  # type: ignore[union-attr]
        return kind == "TradeSettled" or (kind in {"OrderPlaced", "OrderAmended"} and bool(data["execution"]["fills"]))


class WebhookDelivery(NamedTuple):
    """A request to a webhook: the event's position, its market, within which deliveries keep their order, and the body."""

    position: int
    market_id: str
    body: bytes


def delivery_of(
    recorded: Recorded, wanted: WebhookFilter, market_of: Callable[[str], FollowedMarket | None]
) -> WebhookDelivery | None:
    """Return what an event says to a webhook with this filter, None if nothing.

    `market_of` finds a market by its id, None if the event that drafted it cannot be read.
    """
    if not wanted.concerns(recorded):
        return None
    event: Any = recorded.event
    market = market_of(event.market_id)
    # Prices that are known would be those of earlier events, and the body would depend on where the sender began.
    known = {} if market is None else {event.market_id: replace(market, prices=None)}
    found = FollowedMarkets(known).follow(recorded)
    messages = [{"channel": channel_of(each), "data": wire_of(each)} for each in found if wanted.wants(each)]
    if not messages:
        return None
    body = {
        "type": event.TOPIC.partition(".")[0],
        "timestamp": format_time(recorded.time),
        "data": {"position": recorded.position, "market_id": event.market_id, "messages": messages},
    }
    return WebhookDelivery(recorded.position, event.market_id, _encode(body))


def ping() -> bytes:
    """Return the body of a test message: of the form of all others, but about no event, and without messages."""
    data: dict[str, Any] = {"position": None, "market_id": None, "messages": []}
    return _encode({"type": "Ping", "timestamp": format_time(time_ns() // 1_000), "data": data})
