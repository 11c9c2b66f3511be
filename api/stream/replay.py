"""Reads for subscribers that are older than the ring: pages of the log, and the state that the tailer begins with.

The trades of the past come from the read model, which has their prices; all else follows from the event alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eventsourcing.persistence import PersistenceError

from api.stream.frames import LogEntry, decoded
from api.stream.subscriber import PAGE_EVENTS
from domain.market import MarketDrafted
from messages.channels import (
    FollowedMarket,
    FollowedMarkets,
    FollowedOrder,
    StreamedTrade,
    drafted,
    fills_of,
    messages_of,
)
from projections.machine.background import DATABASE_FAULTS
from projections.markets import markets
from projections.reading import NotYetProjected, UnknownProjection, read
from projections.trades import followed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

    from api.stream.subscriber import Subscribed
    from domain.events import Recorded
    from projections.trades.trades import Trade

AWAY: Final = (NotYetProjected, UnknownProjection, PersistenceError, *DATABASE_FAULTS)
"""What says that the log, the database or a read model is not there now. Streams wait, and ask again."""


class Seed(NamedTuple):
    """The state after a position, from which the tailer follows the log."""

    position: int
    followed: FollowedMarkets


class Archive:
    """Reads of the log and of the read models, in threads. It belongs to no thread."""

    def __init__(self, log: ApplicationRecorder, pool: ConnectionPool[Connection[Any]]) -> None:
        self.log = log
        self._pool = pool

    def seed(self) -> Seed:
        """Return the state that the read model `trades` is at; that of the log's beginning if it does not have all."""
        try:
            with self._pool.connection() as connection:
                with read(connection, followed.markets_and_orders) as as_of:
                    query = "SELECT 1 FROM projection_parked WHERE projection = 'trades'"
                    if connection.execute(query).fetchone():
                        return Seed(0, FollowedMarkets())
                    found, resting = followed.markets_and_orders(connection, as_of)
                with read(connection, markets.every_slug) as now:
                    named = markets.every_slug(connection, now)
        except UnknownProjection:
            return Seed(0, FollowedMarkets())
        state = FollowedMarkets(
            {
                market_id: FollowedMarket(named.get(market_id) or self._slug(market_id), tuple(names), tuple(prices))
                for market_id, names, prices in found
            },
            {order_id: FollowedOrder(outcome, side, limit) for order_id, outcome, side, limit in resting},
        )
        return Seed(as_of.position, state)

    def _slug(self, market_id: str) -> str:
        """Return the slug of a market that one read model has and another has not folded yet."""
        first = self.log.select_events(f"market-{market_id}", limit=1)
        recorded = decoded(first[0]) if first else None  # type: ignore[arg-type]
        return recorded.event.slug if recorded and isinstance(recorded.event, MarketDrafted) else ""

    def page(
        self, after: int, wanted: Subscribed, known: dict[str, FollowedMarket], events_max: int = PAGE_EVENTS
    ) -> Sequence[LogEntry]:
        """Return the entries of the next page after a position; the last one is there whatever it is.

        Raises:
            NotYetProjected: the read model of trades is not so far.
        """
        found = self.log.select_notifications(after, events_max, inclusive_of_start=False)
        streams = None
        if wanted.markets is not None and wanted.channels.isdisjoint({"orders", "events"}):
            streams = {f"market-{market_id}" for market_id in wanted.markets}
        events = []
        for number, stored in enumerate(found, 1):
            if streams is None or str(stored.originator_id) in streams or number == len(found):
                events.append((stored, decoded(stored)))
        rows = (
            self._trades([each for _, each in events if each is not None], known) if "trades" in wanted.channels else {}
        )
        return [
            LogEntry(
                stored,
                recorded,
                []
                if recorded is None
                else [*rows.get(recorded.position, ()), *messages_of(recorded, _drafted(recorded, known))],
            )
            for stored, recorded in events
        ]

    def _trades(self, events: Sequence[Recorded], known: dict[str, FollowedMarket]) -> dict[int, list[StreamedTrade]]:
        """Return the trades of events, by position."""
        traded = [each for each in events if fills_of(each.event)]
        if not traded:
            return {}
        places = [(str(getattr(each.event, "market_id", "")), each.position) for each in traded]
        with self._pool.connection() as connection, read(connection, followed.trades_at) as as_of:
            if as_of.position < traded[-1].position:
                raise NotYetProjected(traded[-1].position, as_of.position)
            rows = followed.trades_at(connection, as_of, places)
        found: dict[int, list[StreamedTrade]] = {}
        for row in rows:
            market = known.get(row.market_id)
            found.setdefault(row.position, []).append(_message(row, market.slug if market is not None else ""))
        for each in traded:
            if each.position not in found:  # its event is parked: what it says by itself
                bare = {market_id: FollowedMarket(m.slug, m.outcomes, None) for market_id, m in known.items()}
                messages = FollowedMarkets(bare).follow(each)
                found[each.position] = [message for message in messages if isinstance(message, StreamedTrade)]
        return found


_NAMES: Final = tuple(name for name in StreamedTrade.__struct_fields__ if name != "market")


def _message(row: Trade, slug: str) -> StreamedTrade:
    return StreamedTrade(market=slug, **{name: getattr(row, name) for name in _NAMES})


def _drafted(recorded: Recorded, known: dict[str, FollowedMarket]) -> dict[str, FollowedMarket]:
    """Return the known markets, with the one that the event drafts."""
    if isinstance(recorded.event, MarketDrafted) and recorded.event.market_id not in known:
        return {recorded.event.market_id: drafted(recorded.event)}
    return known
