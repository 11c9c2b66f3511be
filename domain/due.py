"""What happens by itself, by time: closing, the expiry of orders, the end of dispute windows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, Literal

from domain.events import Event
from domain.market import DisputeUpheld, Market, MarketActivated, MarketDetermined
from domain.money import Time
from domain.orders import OrderAmended, OrderPlaced

PRUNE_AT: Final = 1_000
"""With more due times than this the pointless ones are looked for and forgotten, again when they have doubled."""


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """Something that happens at `time` unless it has become pointless by then."""

    time: Time
    kind: Literal["close", "expiry", "window"]
    market_id: str
    order_id: str = ""

    @property
    def command_id(self) -> str:
        """The id under which its events stand in the log."""
        return f"due:{self.kind}:{self.order_id or self.market_id}:{self.time}"


@dataclass(slots=True)
class DueTimes:
    """All due times of a partition, the earliest first; the order of those of equal time follows from what they are."""

    heap: list[Due] = field(default_factory=list)
    most: int = PRUNE_AT

    def earliest(self, pending: Callable[[Due], bool]) -> Time | None:
        """Return the earliest due time that is not pointless, or None; forget the pointless ones before it."""
        while self.heap and not pending(self.heap[0]):
            heappop(self.heap)
        return self.heap[0].time if self.heap else None

    def is_due(self, time: Time) -> bool:
        """Return whether the earliest is due at this time, be it pointless or not."""
        return bool(self.heap) and self.heap[0].time <= time

    def pop(self, time: Time) -> Due | None:
        """Take out and return the earliest that is due at this time, or None."""
        return heappop(self.heap) if self.is_due(time) else None

    def learn(self, market: Market, event: Event, pending: Callable[[Due], bool]) -> None:
        """Note the due time that an event of the market sets, if it sets one."""
        if isinstance(event, OrderPlaced | OrderAmended):
            if event.expires_at is not None and event.execution.resting:
                self._push(Due(event.expires_at, "expiry", market.market_id, event.order_id), pending)
        elif isinstance(event, MarketActivated):
            self._push(Due(market.close_time, "close", market.market_id), pending)
        elif isinstance(event, MarketDetermined | DisputeUpheld) and market.terms.dispute_seconds:
            self._push(Due(event.dispute_until, "window", market.market_id), pending)

    def _push(self, due: Due, pending: Callable[[Due], bool]) -> None:
        """Add one; forget what has become pointless, if there is much: orders with a distant expiry that are long filled."""
        heappush(self.heap, due)
        if len(self.heap) > self.most:
            self.heap = [due for due in self.heap if pending(due)]
            heapify(self.heap)
            self.most = max(PRUNE_AT, 2 * len(self.heap))
