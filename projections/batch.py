"""A batch of recorded events, with the keys of all they touch: decoded once, shared by all projections."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
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
    def kinds(self) -> frozenset[type[Any]]:
        """The types of the events."""
        return frozenset([type(recorded.event) for recorded in self.events])

    def of(self, kinds: AbstractSet[type[Any]]) -> list[Recorded]:
        """Return the events of these types, in order."""
        if kinds.isdisjoint(self.kinds):
            return []
        return [recorded for recorded in self.events if type(recorded.event) in kinds]

    @cached_property
    def drafted(self) -> set[str]:
        """The markets that came into being."""
        return self._markets_of(_DRAFTED)

    @cached_property
    def over(self) -> set[str]:
        """The markets that ended."""
        return self._markets_of(OVER)

    def _markets_of(self, kinds: AbstractSet[type[Any]]) -> set[str]:
        events: list[Any] = [recorded.event for recorded in self.of(kinds)]
        return {event.market_id for event in events}

    @cached_property
    def _keys(self) -> tuple[set[str], set[str], set[str], set[str], set[tuple[str, str]]]:
        markets: set[str] = set()
        accounts: set[str] = set()
        stories: set[str] = set()
        orders: set[str] = set()
        holdings: set[tuple[str, str]] = set()
        event: Any
        for recorded in self.events:
            event = recorded.event
            kind = type(event)
            market_id = account_id = None
            if kind in _MARKET and (market_id := event.market_id):
                markets.add(market_id)
            if kind in _ACCOUNT and (account_id := event.account_id):
                accounts.add(account_id)
                if market_id:
                    holdings.add((account_id, market_id))
            if kind in _STORY:
                stories.add(event.story_id)
            if kind in _ORDER:
                orders.add(event.order_id)
            if kind in EXECUTED:
                for fill in event.execution.fills:
                    if fill.order_id is not None:
                        orders.add(fill.order_id)
                        accounts.add(fill.account_id)
                        holdings.add((fill.account_id, market_id or ""))
        return markets, accounts, stories, orders, holdings

    @property
    def markets(self) -> set[str]:
        """The markets that the events name."""
        return self._keys[0]

    @property
    def accounts(self) -> set[str]:
        """The accounts that the events name."""
        return self._keys[1]

    @property
    def stories(self) -> set[str]:
        """The stories that the events name."""
        return self._keys[2]

    @property
    def orders(self) -> set[str]:
        """The orders that the events name, without those that they place."""
        return self._keys[3]

    @property
    def holdings(self) -> set[tuple[str, str]]:
        """The pairs of account and market that the events name."""
        return self._keys[4]
