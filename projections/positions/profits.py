"""Profits by account, category and UTC day: the sums that the leaderboard reads, kept with the positions they come from.

What is not a sum, the unrealized profit at the start of a window, is written down whenever a day has ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from domain.money import Time
from projections.machine.batch import Batch
from projections.machine.table import Table
from projections.machine.workspace import Rows, Workspace
from projections.positions.cost_basis import HOLDING_KINDS

DAY: Final = 86_400_000_000
"""Microseconds of a day."""


@dataclass(slots=True)
class DayRow:
    """What an account did on one UTC day (its first microsecond) in one category; `realized` is net of fees."""

    day: int
    account_id: str
    category: str
    realized: int
    volume: int
    buys: int
    trades: int


@dataclass(slots=True)
class TotalRow:
    """What an account ever did in one category."""

    account_id: str
    category: str
    realized: int
    volume: int
    buys: int
    trades: int


class Opening(NamedTuple):
    """The unrealized profit of an account in a category when `day` began."""

    day: int
    account_id: str
    category: str
    unrealized: int


class OpenedDay(NamedTuple):
    """A day for whose beginning openings were written: they hold for the days after it, up to the next such day."""

    partition: int
    day: int


@dataclass(slots=True)
class Clock:
    """The day of the last event that was taken in."""

    partition: int
    day: int


DAYS = Table("profit_days", DayRow, key=["day", "account_id", "category"], group=["account_id", "day"])
TOTALS = Table("profit_totals", TotalRow, key=["account_id", "category"], group=["account_id"])
OPENINGS = Table("profit_openings", Opening, key=["day", "account_id", "category"])
OPENED = Table("profit_opened_days", OpenedDay, key=["partition", "day"])
CLOCK = Table("profit_clock", Clock, key=["partition"])

TABLES: Final = (DAYS, TOTALS, OPENINGS, OPENED, CLOCK)


def worth(shares: str, price: str) -> str:
    """Return the SQL for shares times price, rounded down to a micro-credit, without leaving 64 bits."""
    return f"({shares} / 1000000 * {price} + mod({shares}, 1000000) * {price} / 1000000)"


UNREALIZED: Final = f"{worth('h.shares', 'm.prices[array_position(m.outcomes, h.outcome)]')} - h.cost_basis"
"""The unrealized profit of a row `h` of positions in a row `m` of positions_markets: shares at their price, rounded down."""

OPEN_POSITIONS: Final = "positions_markets m JOIN positions h USING (market_id)"
"""What UNREALIZED is over, where `m.over_position IS NULL AND h.shares > 0`."""


def held_at(position: str) -> str:
    """Return the SQL for whether shares of market `m`, a row of positions_markets, may have been held at a position.

    It has an index: of all the markets there ever were it finds the few of then, and by them the positions of then.
    """
    return f"int8range(m.opened_position, m.over_position) @> {position}::int8"


_WRITE_OPENINGS: Final = f"""
    INSERT INTO profit_openings (day, account_id, category, unrealized)
    SELECT %(day)s, h.account_id, m.category, sum({UNREALIZED}) FROM {OPEN_POSITIONS}
    WHERE m.over_position IS NULL AND h.shares > 0 GROUP BY h.account_id, m.category HAVING sum({UNREALIZED}) <> 0"""


class Profits:
    """The sums, while one batch is folded, in a day that ends at `until`."""

    def __init__(self, workspace: Workspace, batch: Batch) -> None:
        partition = batch.partition
        self._workspace = workspace
        self._days: Rows[DayRow] = workspace.load(DAYS, lambda: _days(batch))
        self._totals: Rows[TotalRow] = workspace.load(TOTALS, lambda: batch.accounts)
        self._clocks = workspace.load(CLOCK, lambda: [partition])
        self._clock = self._clocks.get(partition) or Clock(partition, 0)
        self.until = self._clock.day + DAY
        # What an account's sums in a category were before its first event of the day in this batch.
        self._before: dict[tuple[str, str], tuple[int, int, int, int]] = {}

    def pass_time(self, time: Time) -> None:
        """Let a day begin, at `until` or later: write down what all positions were worth when the last one ended."""
        self.end()
        last, day = self._clock.day, time - time % DAY
        self._clock.day, self.until = day, day + DAY
        self._clocks.put(self._clock.partition, self._clock)
        if last:
            self._workspace.rows(OPENED).append(OpenedDay(self._clock.partition, last + DAY))
            self._workspace.flush()
            self._workspace.connection.execute(_WRITE_OPENINGS, {"day": last + DAY})

    def total(self, account_id: str, category: str) -> TotalRow:
        """Return the account's sums of ever, for an event to add to; what is added, `end` adds to those of the day, too."""
        whose = (account_id, category)
        if whose in self._before:
            return self._totals.cache[whose]
        total = self._totals.cache.get(whose)
        if total is None:
            total = TotalRow(account_id, category, 0, 0, 0, 0)
            self._totals.put(whose, total)
        self._before[whose] = (total.realized, total.volume, total.buys, total.trades)
        self._totals.change(whose)
        return total

    def end(self) -> None:
        """Add what was added to the totals to the rows of the day."""
        totals, days = self._totals.cache, self._days
        for whose, (realized, volume, buys, trades) in self._before.items():
            total, key = totals[whose], (self._clock.day, *whose)
            day = days.get(key)
            if day is None:
                day = DayRow(*key, 0, 0, 0, 0)
                days.put(key, day)
            day.realized += total.realized - realized
            day.volume += total.volume - volume
            day.buys += total.buys - buys
            day.trades += total.trades - trades
            days.change(key)
        self._before.clear()


def _days(batch: Batch) -> Iterable[tuple[str, int]]:
    """Return the accounts and days that the batch may credit; most batches lie in one day."""
    first, last = batch.events[0].time, batch.last.time
    day = first - first % DAY
    if last < day + DAY:
        return [(account_id, day) for account_id in batch.accounts]
    pairs: set[tuple[str, int]] = set()
    event: Any
    for recorded in batch.of(HOLDING_KINDS):
        event = recorded.event
        pairs.add((event.account_id, recorded.time - recorded.time % DAY))
    return pairs
