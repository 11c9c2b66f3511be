"""The index of the log: what each event is about, so that the events of a market, account or story are found at once.

It has the positions, not the events: these are in the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple
from zlib import crc32

from psycopg import Connection

from domain.account import AccountOpened
from domain.events import EVENT_TYPES, Event
from domain.market import MarketDrafted
from domain.story import StoryPublished
from projections import timeline
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.row_values import by_name
from projections.machine.table import Table
from projections.machine.workspace import Workspace
from projections.reading import AsOf, query


class IndexedEvent(NamedTuple):
    """The code of an event's type, without its version, and the market, account and story that the event is about."""

    partition: int
    position: int
    type_code: int
    market_id: str | None
    account_id: str | None
    story_id: str | None


# The type comes before the position, so that events of one type are found among any number of others.
LOG_INDEX = Table(
    "log_index",
    IndexedEvent,
    key=["partition", "position"],
    indexes=[
        "type_code, position",
        "market_id, type_code, position WHERE market_id IS NOT NULL",
        "account_id, type_code, position WHERE account_id IS NOT NULL",
        "story_id, type_code, position WHERE story_id IS NOT NULL",
    ],
)

TYPE_NAMES: Final[dict[type[Event], str]] = {
    event_type: event_type.TOPIC.partition(".v")[0] for event_type in EVENT_TYPES
}
"""The durable name of each type of event, without its version."""

TYPE_CODES: Final[dict[str, int]] = {name: crc32(name.encode()) for name in TYPE_NAMES.values()}
"""A number for each of these names. Indexes of numbers cost a third less than indexes of names."""

assert len(set(TYPE_CODES.values())) == len(TYPE_CODES), "two types of events have the same code"

_CODES: Final = {event_type: TYPE_CODES[name] for event_type, name in TYPE_NAMES.items()}

_indexed = by_name(IndexedEvent)


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add a row for each event."""
    append, partition, codes = workspace.rows(LOG_INDEX).append, batch.partition, _CODES
    for recorded in batch.events:
        event = recorded.event
        append(
            _indexed(
                partition=partition,
                position=recorded.position,
                type_code=codes[type(event)],
                market_id=getattr(event, "market_id", None) or None,
                account_id=getattr(event, "account_id", None) or None,
                story_id=getattr(event, "story_id", None),
            )
        )


PROJECTION = Projection("log_index", 1, (LOG_INDEX,), fold, scope="all", weight=6.0)


@dataclass(frozen=True, slots=True)
class Search:
    """The events that are wanted: those about all of the given, of one of the `types`; without types, of any.

    `after` and `before` are positions outside of the range, `start` and `end` times, the first of them inside.
    """

    types: Sequence[str] = ()
    market_id: str | None = None
    account_id: str | None = None
    story_id: str | None = None
    after: int = 0
    before: int | None = None
    start: int | None = None
    end: int | None = None
    newest_first: bool = False


_OPENINGS: Final[dict[str, type[Event]]] = {
    "market_id": MarketDrafted,
    "account_id": AccountOpened,
    "story_id": StoryPublished,
}


@query("log_index")
def exists(
    connection: Connection, as_of: AsOf, column: Literal["market_id", "account_id", "story_id"], value: str
) -> bool:
    """Return whether there is this market, account or story. Events may be about others: they say that there is none."""
    row = connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM log_index WHERE {column} = %s AND type_code = %s AND position <= %s)",
        [value, _CODES[_OPENINGS[column]], as_of.position],
    ).fetchone()
    return row is not None and bool(row[0])


@query("log_index", "timeline")
def positions(connection: Connection, as_of: AsOf, search: Search, limit: int) -> list[int]:
    """Return the positions of the first `limit` events of a search.

    The cost is that of the events returned, not of those before or between them. There is one exception: a search for an
    account's events in a market reads all events of the account in the range.
    """
    last = as_of.position + 1 if search.before is None else min(search.before, as_of.position + 1)
    if search.end is not None:
        last = min(last, timeline.position_before(connection, search.end) + 1)
    first = search.after
    if search.start is not None:
        first = max(first, timeline.position_before(connection, search.start))
    values: dict[str, Any] = {
        "types": [TYPE_CODES[name] for name in search.types or TYPE_CODES],
        "account": search.account_id,
        "story": search.story_id,
        "markets": _markets(connection, as_of, search),
        "first": first,
        "last": last,
        "limit": limit,
    }
    order = "DESC" if search.newest_first else "ASC"
    scans = " UNION ALL ".join(_scans(search, order))
    statement = f"SELECT position FROM ({scans}) found ORDER BY position {order} LIMIT %(limit)s"
    return [row[0] for row in connection.execute(statement, values)]


def _markets(connection: Connection, as_of: AsOf, search: Search) -> list[str]:
    """Return the markets that are wanted: the named one, those of the story, or the named one if it is of the story."""
    if search.story_id is None:
        return [search.market_id] if search.market_id is not None else []
    rows = connection.execute(
        "SELECT market_id FROM log_index WHERE story_id = %s AND type_code = %s AND position <= %s",
        [search.story_id, _CODES[MarketDrafted], as_of.position],
    ).fetchall()
    return [row[0] for row in rows if search.market_id in {None, row[0]}]


_TYPES: Final = "unnest(%(types)s::int8[]) t(type_code)"
_MARKETS: Final = "unnest(%(markets)s::text[]) m(market_id)"


def _scans(search: Search, order: str) -> list[str]:
    """Return the queries that together find the events of a search, each by the index of what it names."""
    of_markets = search.market_id is not None or search.story_id is not None
    if search.account_id is not None:
        more = ["market_id = ANY(%(markets)s)"] if of_markets else []
        return [_scan(order, _TYPES, "account_id = %(account)s", "type_code = t.type_code", *more)]
    if of_markets:
        scans = [_scan(order, f"{_TYPES} CROSS JOIN {_MARKETS}", "market_id = m.market_id", "type_code = t.type_code")]
        if search.market_id is None:  # the story's own events, beside those of its markets
            scans.append(_scan(order, _TYPES, "story_id = %(story)s", "type_code = t.type_code", "market_id IS NULL"))
        return scans
    if search.types:
        return [_scan(order, _TYPES, "type_code = t.type_code")]
    return [_scan(order, "(VALUES (0)) p(partition)", "partition = p.partition")]


def _scan(order: str, keys: str, *conditions: str) -> str:
    """Return the query for the first positions of each key, each found by one probe of an index."""
    where = " AND ".join([*conditions, "position > %(first)s", "position < %(last)s"])
    return (
        f"(SELECT next.position FROM {keys} CROSS JOIN LATERAL (SELECT position FROM log_index WHERE {where} "
        f"ORDER BY position {order} LIMIT %(limit)s) next)"
    )
