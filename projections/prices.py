"""Price ticks, kept for ever: one row for each event that changed a price of a market, with all its prices.

A tick of one outcome is a row in which the outcome's bit of `changed` is set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from psycopg import Connection

from domain.market import MarketActivated
from domain.orders import OrderAmended, OrderPlaced, RestingOrderFilled
from projections.batch import Batch
from projections.projection import Projection
from projections import timeline
from projections.reading import AsOf
from projections.table import Table
from projections.workspace import Workspace

MINUTE: Final = 60_000_000


class PriceRow(NamedTuple):
    """All prices of a market from this position on; bit i of `changed` says that outcome i has a tick here."""

    partition: int
    market_id: str
    position: int
    time: int
    prices: list[int]
    changed: int


@dataclass(slots=True)
class LatestPrices:
    """The prices of a market after its last tick."""

    market_id: str
    prices: list[int]


class Tick(NamedTuple):
    """The price of one outcome from this position on."""

    time: int
    price: int
    position: int


PRICES = Table("prices", PriceRow, key=["market_id", "position"])
LATEST = Table("prices_latest", LatestPrices, key=["market_id"])

EXECUTED = frozenset({OrderPlaced, OrderAmended})
KINDS = EXECUTED | {MarketActivated, RestingOrderFilled}


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add a row for each event after which a price is another one."""
    append = workspace.rows(PRICES).append
    latest = workspace.load(LATEST, batch.markets)
    partition = batch.partition
    for recorded in batch.of(KINDS):
        event: Any = recorded.event
        prices: tuple[int, ...] = event.execution.prices if type(event) in EXECUTED else event.prices
        if not prices:
            continue
        before = latest.get(event.market_id)
        if before is None:
            changed = (1 << len(prices)) - 1
            latest.put(event.market_id, LatestPrices(event.market_id, list(prices)))
        else:
            changed = 0
            for i, (old, new) in enumerate(zip(before.prices, prices, strict=True)):
                if old != new:
                    changed |= 1 << i
            if not changed:
                continue
            before.prices = list(prices)
            latest.change(event.market_id)
        append(PriceRow(partition, event.market_id, recorded.position, recorded.time, list(prices), signed(changed)))


def signed(mask: int) -> int:
    """Return 64 bits as the signed integer that PostgreSQL keeps."""
    return mask - (1 << 64) if mask >> 63 else mask


PROJECTION = Projection("prices", 1, (PRICES, LATEST), fold, scope="market")


def latest(connection: Connection, as_of: AsOf, market_ids: Sequence[str]) -> dict[str, list[int]]:
    """Return the prices of each of these markets that has any, in the order of its outcomes."""
    rows = connection.execute(
        "SELECT m, p.prices FROM unnest(%s::text[]) AS m CROSS JOIN LATERAL (SELECT prices FROM prices "
        "WHERE market_id = m AND position <= %s ORDER BY position DESC LIMIT 1) p",
        [list(market_ids), as_of.position],
    ).fetchall()
    return dict(rows)


def history(
    connection: Connection,
    as_of: AsOf,
    market_id: str,
    outcome: int,
    *,
    start: int | None = None,
    end: int | None = None,
    fidelity: int = 0,
    limit: int = 10_000,
) -> list[Tick]:
    """Return the ticks of the outcome (by its index) from `start` and before `end`, oldest first, at most `limit`.

    With a `fidelity` of so many minutes, only the last tick of each such interval (aligned to UTC). Where there are more
    than `limit`, the newest of them.
    """
    first = timeline.position_before(connection, start) + 1 if start is not None else 0
    last = min(as_of.position, timeline.position_before(connection, end)) if end is not None else as_of.position
    values = {
        "market": market_id,
        "first": first,
        "last": last,
        "bit": signed(1 << outcome),
        "index": outcome + 1,
        "step": fidelity * MINUTE,
        "limit": limit,
    }
    rows = connection.execute(_THINNED if fidelity else _EVERY, values).fetchall()
    return [Tick(*row) for row in reversed(rows)]


_EVERY: Final = """
    SELECT time, prices[%(index)s], position FROM prices
    WHERE market_id = %(market)s AND position BETWEEN %(first)s AND %(last)s AND changed & %(bit)s <> 0
    ORDER BY position DESC LIMIT %(limit)s"""

# Hops from the last tick of an interval to the last tick before the interval: as many steps as there are points.
_THINNED: Final = """
    WITH RECURSIVE hop AS (
        (SELECT time, prices, position, partition FROM prices
         WHERE market_id = %(market)s AND position BETWEEN %(first)s AND %(last)s AND changed & %(bit)s <> 0
         ORDER BY position DESC LIMIT 1)
        UNION ALL
        SELECT before.* FROM hop CROSS JOIN LATERAL (
            SELECT time, prices, position, partition FROM prices
            WHERE market_id = %(market)s AND changed & %(bit)s <> 0 AND position BETWEEN %(first)s AND (
                SELECT previous FROM timeline
                WHERE partition = hop.partition AND time >= hop.time - hop.time %% %(step)s ORDER BY time LIMIT 1)
            ORDER BY position DESC LIMIT 1) before)
    SELECT time, prices[%(index)s], position FROM hop LIMIT %(limit)s"""
