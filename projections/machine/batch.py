"""A batch of recorded events, with the keys of all they touch: decoded once, shared by all projections."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from operator import attrgetter
from typing import Any, Final

from domain.events import EVENT_TYPES, Recorded
from domain.market import MarketDrafted, MarketSettled, MarketUnwound
from domain.orders import OrderAmended, OrderCanceled, OrderPlaced, OrderReduced, RestingOrderFilled

_FIELDS: Final = {event_type: set(event_type.__struct_fields__) for event_type in EVENT_TYPES}
_MARKET: Final = frozenset(kind for kind, names in _FIELDS.items() if "market_id" in names)
_ACCOUNT: Final = frozenset(kind for kind, names in _FIELDS.items() if "account_id" in names)
_STORY: Final = frozenset(kind for kind, names in _FIELDS.items() if "story_id" in names)
_ORDER: Final = frozenset({OrderAmended, OrderReduced, OrderCanceled, RestingOrderFilled})
_DRAFTED: Final = frozenset({MarketDrafted})
OVER: Final = frozenset({MarketSettled, MarketUnwound})
"""The events with which a market has paid, so that nobody holds anything of it."""
EXECUTED: Final = frozenset({OrderPlaced, OrderAmended})
"""The events that carry an execution."""


@dataclass(frozen=True)
class Batch:
    """Consecutive events of one partition, at least one.

    The key sets name what the events refer to: `orders` are those that were there before (placed ones are new),
    `holdings` pairs of account and market.
    """

    partition: int
    events: Sequence[Recorded]

    @property
    def last(self) -> Recorded:
        """The last event."""
        return self.events[-1]

    def after(self, position: int) -> "Batch | None":
        """Return the part of the batch behind a position, or None where nothing is."""
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

    @cached_property
    def drafted(self) -> set[str]:
        """The markets that came into being."""
        return self._named("market_id", _DRAFTED)

    @cached_property
    def over(self) -> set[str]:
        """The markets that ended."""
        return self._named("market_id", OVER)

    @cached_property
    def markets(self) -> set[str]:
        """The markets that the events name."""
        return self._named("market_id", _MARKET)

    @cached_property
    def accounts(self) -> set[str]:
        """The accounts that the events name."""
        return self._named("account_id", _ACCOUNT) | {fill.account_id for _, fill in self._meetings}

    @cached_property
    def stories(self) -> set[str]:
        """The stories that the events name."""
        return self._named("story_id", _STORY)

    @cached_property
    def orders(self) -> set[str]:
        """The orders that the events name, without those that they place."""
        return self._named("order_id", _ORDER) | {fill.order_id for _, fill in self._meetings}

    @cached_property
    def holdings(self) -> set[tuple[str, str]]:
        """The pairs of account and market that the events name."""
        events = self.of(_ACCOUNT & _MARKET)
        pairs = set(map(attrgetter("event.account_id", "event.market_id"), events))
        pairs.update((fill.account_id, market_id) for market_id, fill in self._meetings)
        return {pair for pair in pairs if all(pair)}

    def _named(self, field: str, kinds: AbstractSet[type[Any]]) -> set[str]:
        names = set(map(attrgetter(f"event.{field}"), self.of(kinds)))
        return names - {None, ""}

    @cached_property
    def _meetings(self) -> list[tuple[str, Any]]:
        """The fills with a resting order, and their markets."""
        events: list[Any] = [recorded.event for recorded in self.of(EXECUTED)]
        return [
            (event.market_id, fill) for event in events for fill in event.execution.fills if fill.order_id is not None
        ]
