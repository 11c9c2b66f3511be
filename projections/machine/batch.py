"""A batch of recorded events, with the keys of everything that they name: decoded once, shared by all projections."""

from collections.abc import Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from operator import attrgetter
from typing import Any, Final

from domain.events import EVENT_TYPES, Recorded
from domain.market import MarketDrafted, MarketSettled, MarketUnwound
from domain.orders import Fill, OrderAmended, OrderCanceled, OrderPlaced, OrderReduced, RestingOrderFilled
from projections.machine.table import By

_FIELDS: Final = {event_type: set(event_type.__struct_fields__) for event_type in EVENT_TYPES}
_MARKET: Final = frozenset(kind for kind, names in _FIELDS.items() if "market_id" in names)
_ACCOUNT: Final = frozenset(kind for kind, names in _FIELDS.items() if "account_id" in names)
_STORY: Final = frozenset(kind for kind, names in _FIELDS.items() if "story_id" in names)
_ORDER: Final = frozenset({OrderAmended, OrderReduced, OrderCanceled, RestingOrderFilled})
_DRAFTED: Final = frozenset({MarketDrafted})
ENDED: Final = frozenset({MarketSettled, MarketUnwound})
"""The events after which nobody holds shares of a market: it has paid everybody."""
EXECUTED: Final = frozenset({OrderPlaced, OrderAmended})
"""The events that carry an execution."""


@dataclass(frozen=True)
class Batch:
    """Consecutive events of one partition, at least one."""

    partition: int
    events: Sequence[Recorded]

    @property
    def last(self) -> Recorded:
        """The last event."""
        return self.events[-1]

    def first(self, count: int) -> "Batch":
        """Return the batch of the first events, so many at most."""
        return self if len(self.events) <= count else Batch(self.partition, self.events[:count])

    def after(self, position: int) -> "Batch | None":
        """Return the part of the batch after a position, or None if there is nothing."""
        if self.events[0].position > position:
            return self
        rest = [recorded for recorded in self.events if recorded.position > position]
        return Batch(self.partition, rest) if rest else None

    @cached_property
    def _types(self) -> list[type[Any]]:
        return [type(recorded.event) for recorded in self.events]

    @cached_property
    def _kinds(self) -> frozenset[type[Any]]:
        return frozenset(self._types)

    def of(self, kinds: AbstractSet[type[Any]]) -> list[Recorded]:
        """Return the events of these types, in order."""
        if kinds.isdisjoint(self._kinds):
            return []
        return list(compress(self.events, map(kinds.__contains__, self._types)))

    def groups(self, by: By) -> Iterable[Hashable]:
        """Return the keys of the groups that the events name: ids, for holdings pairs of account and market."""
        match by:
            case "market":
                return self.markets
            case "account":
                return self.accounts
            case "holding":
                return self.holdings
            case "order":
                return self.orders
            case "story":
                return self.stories
            case "partition":
                return [self.partition]

    @cached_property
    def drafted(self) -> set[str]:
        """The markets that were drafted."""
        return self._named("market_id", _DRAFTED)

    @cached_property
    def ended(self) -> set[str]:
        """The markets that ended."""
        return self._named("market_id", ENDED)

    @cached_property
    def markets(self) -> set[str]:
        """The markets that the events name."""
        return self._named("market_id", _MARKET)

    @cached_property
    def accounts(self) -> set[str]:
        """The accounts that the events name."""
        return self._named("account_id", _ACCOUNT) | {
            fill.account_id for _, fill in self._order_fills if fill.account_id
        }

    @cached_property
    def stories(self) -> set[str]:
        """The stories that the events name."""
        return self._named("story_id", _STORY)

    @cached_property
    def orders(self) -> set[str]:
        """The orders that the events name, except those that they place: of these nothing is in any table yet."""
        return self._named("order_id", _ORDER) | {fill.order_id for _, fill in self._order_fills if fill.order_id}

    @cached_property
    def holdings(self) -> set[tuple[str, str]]:
        """The pairs of account and market that the events name."""
        events = self.of(_ACCOUNT & _MARKET)
        pairs = set(map(attrgetter("event.account_id", "event.market_id"), events))
        pairs.update((fill.account_id, market_id) for market_id, fill in self._order_fills)
        return {pair for pair in pairs if all(pair)}

    def _named(self, field: str, kinds: AbstractSet[type[Any]]) -> set[str]:
        names = set(map(attrgetter(f"event.{field}"), self.of(kinds)))
        return names - {None, ""}

    @cached_property
    def _order_fills(self) -> list[tuple[str, Fill]]:
        """The fills with a resting order, and their markets."""
        events: list[Any] = [recorded.event for recorded in self.of(EXECUTED)]
        return [
            (event.market_id, fill) for event in events for fill in event.execution.fills if fill.order_id is not None
        ]
