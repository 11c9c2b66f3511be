"""What the clock does, and when: close times, the expiry of orders, the ends of dispute windows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, Literal, assert_never

from domain.events import Event
from domain.market import DisputeUpheld, MarketActivated, MarketDetermined, Status
from domain.market_state import Market
from domain.money import Time
from domain.orders import OrderAmended, OrderPlaced

PRUNE_AT: Final = 1_000
"""The number of entries in the heap above which stale ones are dropped; the next limit is twice what remains, if that is more."""


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """Something that happens at `time` if it is still pending then."""

    time: Time
    kind: Literal["close", "expiry", "window"]
    market_id: str
    order_id: str = ""

    @property
    def command_id(self) -> str:
        """The command id that its events have in the log."""
        return f"due:{self.kind}:{self.order_id or self.market_id}:{self.time}"


def is_pending(due: Due, market: Market) -> bool:
    """Return whether it would still change its market: False if the order is gone or the market has left the status."""
    match due.kind:
        case "close":
            return market.status in {Status.ACTIVE, Status.HALTED}
        case "window":
            return market.status is Status.DETERMINED and market.dispute_until == due.time
        case "expiry":
            return due.order_id in market.book.orders
        case _:
            assert_never(due.kind)


@dataclass(slots=True)
class DueTimes:
    """All due times of a partition, the earliest first; those of equal time stand in the order of their other fields."""

    heap: list[Due] = field(default_factory=list)
    most: int = PRUNE_AT

    def earliest(self, markets: Mapping[str, Market]) -> Time | None:
        """Return the earliest due time that is pending, or None; drop those before it that are not."""
        while self.heap and not is_pending(self.heap[0], markets[self.heap[0].market_id]):
            heappop(self.heap)
        return self.heap[0].time if self.heap else None

    def is_due(self, time: Time) -> bool:
        """Return whether there is one at or before this time, pending or not."""
        return bool(self.heap) and self.heap[0].time <= time

    def pop(self, time: Time) -> Due | None:
        """Take out and return the earliest at or before this time, or None."""
        return heappop(self.heap) if self.is_due(time) else None

    def learn(self, event: Event, market: Market, markets: Mapping[str, Market]) -> None:
        """Add the due time that an event of the market sets, if it sets one."""
        if isinstance(event, OrderPlaced | OrderAmended):
            if event.expires_at is not None and event.execution.resting:
                self._push(Due(event.expires_at, "expiry", market.market_id, event.order_id), markets)
        elif isinstance(event, MarketActivated):
            self._push(Due(market.close_time, "close", market.market_id), markets)
        elif isinstance(event, MarketDetermined | DisputeUpheld) and market.terms.dispute_seconds:
            self._push(Due(event.dispute_until, "window", market.market_id), markets)

    def _push(self, due: Due, markets: Mapping[str, Market]) -> None:
        """Add one; drop those no longer pending when there are many: distant expiries of orders that are long filled."""
        heappush(self.heap, due)
        if len(self.heap) > self.most:
            self.heap = [due for due in self.heap if is_pending(due, markets[due.market_id])]
            heapify(self.heap)
            self.most = max(PRUNE_AT, 2 * len(self.heap))
