"""The list of the lifecycle events of a market, as people read it: everything but its trading.

`markets/lifecycle.py` applies the same events to the market's row, and the table `market_lifecycle` keeps its versions.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast, get_args

from psycopg import Connection

from domain.market import LifecycleEvent, MarketDrafted, SetsBurned, SetsMinted
from domain.money import Time
from messages.events import public_data
from projections.forms import Count
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Workspace
from projections.reading import AsOf, Conditions, query


class LifecycleRow(NamedTuple):
    """An event of a market's life; `data` is the public form of its fields as JSON text."""

    partition: int
    market_id: str
    position: int
    time: int
    type: str
    data: str


class LifecycleEntry(NamedTuple):
    """An event of a market's life, its fields in their public form: amounts as decimal strings, times in RFC 3339."""

    position: Count
    time: Time
    market_id: str
    type: str
    data: dict[str, Any]

    @property
    def key(self) -> tuple[int]:
        """Its place in lists, newest first."""
        return (self.position,)


LIFECYCLE = Table("lifecycle", LifecycleRow, key=["market_id", "position"])

KINDS: Final = frozenset({MarketDrafted, *get_args(LifecycleEvent)} - {SetsMinted, SetsBurned})


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add a row for each event."""
    lifecycle = workspace.rows(LIFECYCLE)
    for recorded in batch.of(KINDS):
        event = cast("MarketDrafted | LifecycleEvent", recorded.event)
        lifecycle.append(
            LifecycleRow(
                partition=batch.partition,
                market_id=event.market_id,
                position=recorded.position,
                time=recorded.time,
                type=event.TOPIC.partition(".")[0],
                data=json.dumps(public_data(event), separators=(",", ":"), sort_keys=True),
            )
        )


PROJECTION = Projection("lifecycle", 4, (LIFECYCLE,), fold, scope="market", weight=0.1)


@query("lifecycle")
def market_events(
    connection: Connection,
    as_of: AsOf,
    market_id: str,
    *,
    types: Sequence[str] = (),
    start: int | None = None,
    end: int | None = None,
    limit: int = 50,
    after: tuple[int] | None = None,
) -> list[LifecycleEntry]:
    """Return the lifecycle events of the market, newest first; only those of these types, from `start` and before `end`."""
    where = Conditions("market_id = %s AND position <= %s", market_id, as_of.position)
    where.add_if("type = ANY(%s)", [*types] or None)
    where.add_if("time >= %s", start)
    where.add_if("time < %s", end)
    where.after("position", after)
    rows = connection.execute(
        f"SELECT position, time, market_id, type, data FROM lifecycle {where.sql} ORDER BY position DESC LIMIT %s",
        [*where.values, limit],
    ).fetchall()
    return [LifecycleEntry(at, time, market, kind, json.loads(data)) for at, time, market, kind, data in rows]
