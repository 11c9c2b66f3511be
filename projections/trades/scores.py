"""How well accounts forecast: sums of each account's trades in finalized markets, kept with the trades they come from.

Every trade counts once for each of its parties, by the price of the party's outcome after it, against the fraction that a
share paid. A correction takes back what the market had added.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from domain.money import Time
from projections.machine.table import Big, Table
from projections.machine.workspace import Workspace
from projections.times import DAY


@dataclass(slots=True)
class ScoreTotal:
    """How an account's trades in the finalized markets of a category forecast them.

    `error` sums cost * (price after - paid)^2 in 1e-18 credits, `weight` the cost: their quotient is the Brier score, in 1e-12.
    """

    account_id: str
    category: str
    error: Big
    weight: int


@dataclass(slots=True)
class ScoreDay:
    """The same for the trades of one UTC day (its first microsecond); `position` is that of the last change."""

    account_id: str
    category: str
    day: int
    position: int
    error: Big
    weight: int


class ScoreVersion(NamedTuple):
    """The same from `position` on; `total_*` is that of all the account's days in the category."""

    account_id: str
    category: str
    day: int
    position: int
    error: Big
    weight: int
    total_error: Big
    total_weight: int


Side = tuple[str, Time, int, int, int]
"""One party's side of a trade: account, time, which of the market's outcomes, cost, the outcome's price after it."""


TOTALS = Table("trade_score_totals", ScoreTotal, key=["account_id", "category"])
DAYS = Table("trade_score_days", ScoreDay, key=["account_id", "category", "day"], indexes=["day"])
VERSIONS = Table(
    "trade_score_versions",
    ScoreVersion,
    key=["account_id", "category", "day", "position"],
    indexes=["account_id, category, position"],
)

TABLES: Final = (TOTALS, DAYS, VERSIONS)


class Scored(NamedTuple):
    """What is scored: the sides of a market's trades by what it pays now, no more by what it paid `before` a correction."""

    category: str
    sides: Iterable[Side]
    before: Sequence[int] | None
    now: Sequence[int]


def score(workspace: Workspace, market: Scored, position: int) -> None:
    """Add what the trades of a market say of their parties."""
    category = market.category
    changes: defaultdict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for account_id, time, outcome, cost, price in market.sides:
        change = changes[account_id, time - time % DAY]
        change[0] += cost * (price - market.now[outcome]) ** 2
        if market.before is None:
            change[1] += cost
        else:
            change[0] -= cost * (price - market.before[outcome]) ** 2
    totals = workspace.load(TOTALS, lambda: {(account_id, category) for account_id, _ in changes})
    for (account_id, _), (error, weight) in changes.items():
        key = (account_id, category)
        total = totals.cache.get(key)
        if total is None:
            total = ScoreTotal(account_id, category, 0, 0)
            totals.put(key, total)
        total.error += error
        total.weight += weight
        totals.changed[key] = total
    days = workspace.load(DAYS, lambda: [(account_id, category, day) for account_id, day in changes])
    append = workspace.rows(VERSIONS).append
    for (account_id, day), (error, weight) in changes.items():
        of_day = (account_id, category, day)
        row = days.cache.get(of_day)
        if row is None:
            row = ScoreDay(account_id, category, day, position, 0, 0)
            days.put(of_day, row)
        row.position = position
        row.error += error
        row.weight += weight
        days.changed[of_day] = row
        total = totals.cache[account_id, category]
        append((account_id, category, day, position, row.error, row.weight, total.error, total.weight))
