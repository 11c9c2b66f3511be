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

    def pop(self, time: Time) -> Due | None:
        """Take out and return the earliest that is due at this time, or None."""
        return heappop(self.heap) if self.heap and self.heap[0].time <= time else None

    def prune(self, pending: Callable[[Due], bool]) -> None:
        """Forget what has become pointless, if there is much: orders with a distant expiry that are long filled, say."""
        if len(self.heap) > self.most:
            self.heap = [due for due in self.heap if pending(due)]
            heapify(self.heap)
            self.most = max(PRUNE_AT, 2 * len(self.heap))

    def learn(self, market: Market, event: Event) -> None:
        """Note the due time that an event of the market sets, if it sets one."""
        match event:
            case MarketActivated():
                self._push(market.close_time, "close", market.market_id)
            case MarketDetermined() | DisputeUpheld() if market.terms.dispute_seconds:
                self._push(event.dispute_until, "window", market.market_id)
            case OrderPlaced() | OrderAmended() if event.execution.resting and event.expires_at is not None:
                self._push(event.expires_at, "expiry", market.market_id, event.order_id)
            case _:
                pass

    def _push(self, time: Time, kind: Literal["close", "expiry", "window"], market_id: str, order_id: str = "") -> None:
        heappush(self.heap, Due(time, kind, market_id, order_id))
