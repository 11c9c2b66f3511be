"""Profits by account, category and UTC day: the sums that the leaderboard reads, kept with the positions.

Unrealized profits are not sums of events. So the unrealized profit of every account is stored whenever a day has ended:
windows of the leaderboard start from it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from domain.account import TradeSettled
from domain.money import Time
from projections.machine.batch import Batch
from projections.machine.table import Big, Table
from projections.machine.workspace import Workspace
from projections.positions.cost_basis import HOLDING_KINDS, HoldingChange
from projections.positions.valuation import IS_OPEN, OPEN_POSITIONS, UNREALIZED
from projections.times import DAY


@dataclass(slots=True)
class ProfitDay:
    """The sums of an account in a category on one UTC day (its first microsecond).

    `realized` is net of fees, `trades` counts executions, not fills.
    """

    day: int
    account_id: str
    category: str
    realized: Big = 0
    volume: Big = 0
    buys: Big = 0
    trades: int = 0


@dataclass(slots=True)
class ProfitTotal:
    """The sums of an account in a category over all days; `trades` counts executions."""

    account_id: str
    category: str
    realized: Big = 0
    volume: Big = 0
    buys: Big = 0
    trades: int = 0


class OpeningProfit(NamedTuple):
    """The unrealized profit of an account in a category when `day` began."""

    day: int
    account_id: str
    category: str
    unrealized: int


class OpenedDay(NamedTuple):
    """A day for whose beginning opening profits were stored. They hold until the next such day."""

    partition: int
    day: int


@dataclass(slots=True)
class ProfitClock:
    """The day of the last event."""

    partition: int
    day: int


DAYS = Table("profit_days", ProfitDay, key=["day", "account_id", "category"], group=["account_id", "day"])
TOTALS = Table("profit_totals", ProfitTotal, key=["account_id", "category"], by="account")
OPENINGS = Table("profit_openings", OpeningProfit, key=["day", "account_id", "category"])
OPENED = Table("profit_opened_days", OpenedDay, key=["partition", "day"])
CLOCK = Table("profit_clock", ProfitClock, key=["partition"], by="partition")

TABLES: Final = (DAYS, TOTALS, OPENINGS, OPENED, CLOCK)

_STORE_OPENINGS: Final = f"""
    INSERT INTO profit_openings (day, account_id, category, unrealized)
    SELECT %(day)s, h.account_id, m.category, sum({UNREALIZED}) FROM {OPEN_POSITIONS}
    WHERE {IS_OPEN} GROUP BY h.account_id, m.category HAVING sum({UNREALIZED}) <> 0"""


class Profits:
    """The sums while a batch is folded. `until` is the end of the current day."""

    def __init__(self, batch: Batch, workspace: Workspace) -> None:
        self._partition = batch.partition
        self._workspace = workspace
        self._days = workspace.rows(DAYS)
        self._days.prefetch(lambda: _account_days(batch))
        self._totals = workspace.rows(TOTALS)
        self._clock = workspace.rows(CLOCK)
        clock = self._clock.get(batch.partition)
        self._day = clock.day if clock else 0
        self.until = self._day + DAY
        # The totals that have changed since the beginning of the day or batch, with what they were then.
        self._changed: dict[tuple[str, str], tuple[ProfitTotal, int, int, int, int]] = {}

    def begin_day(self, time: Time) -> None:
        """Store the unrealized profits at the end of the old day, then begin the day of `time`, which is `until` or later."""
        self.end()
        last, self._day = self._day, time - time % DAY
        self.until = self._day + DAY
        if not last:
            self._clock.add(ProfitClock(partition=self._partition, day=self._day))
            return
        self._clock.edit(self._partition).day = self._day
        self._workspace.rows(OPENED).append(OpenedDay(partition=self._partition, day=last + DAY))
        self._workspace.query(_STORE_OPENINGS, {"day": last + DAY})

    def total(self, account_id: str, category: str) -> ProfitTotal:
        """Return the account's total, for an event to add to. `end` adds the same to the row of the day."""
        key = (account_id, category)
        changed = self._changed.get(key)
        if changed is not None:
            return changed[0]
        if self._totals.get(key) is None:
            total = self._totals.add(ProfitTotal(account_id=account_id, category=category))
        else:
            total = self._totals.edit(key)
        self._changed[key] = (total, total.realized, total.volume, total.buys, total.trades)
        return total

    def end(self) -> None:
        """Add the changes of the totals to the rows of the day."""
        for (account_id, category), (total, realized, volume, buys, trades) in self._changed.items():
            key = (self._day, account_id, category)
            if self._days.get(key) is None:
                day = self._days.add(ProfitDay(day=self._day, account_id=account_id, category=category))
            else:
                day = self._days.edit(key)
            day.realized += total.realized - realized
            day.volume += total.volume - volume
            day.buys += total.buys - buys
            day.trades += total.trades - trades
        self._changed.clear()


def _account_days(batch: Batch) -> Iterable[tuple[str, int]]:
    """Return the accounts with the days on which they may have profits in the batch. Most batches lie in one day."""
    first, last = batch.events[0].time, batch.last.time
    day = first - first % DAY
    if last < day + DAY:
        return [(account_id, day) for account_id in batch.accounts]
    pairs: set[tuple[str, int]] = set()
    for recorded in batch.of(HOLDING_KINDS):
        assert isinstance(recorded.event, TradeSettled | HoldingChange), "events of these types"
        pairs.add((recorded.event.account_id, recorded.time - recorded.time % DAY))
    return pairs
