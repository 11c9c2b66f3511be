"""Forecast scores: sums over each account's trades in finalized markets, kept with the trades.

Every trade counts once for each of its parties: the price of the party's outcome after the trade is compared with the
fraction that a share paid. A correction takes back what the market had added.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from domain.money import Time
from projections.machine.row_values import by_name
from projections.machine.table import Big, Table
from projections.machine.workspace import Rows, Workspace
from projections.times import DAY


@dataclass(slots=True)
class ScoreTotal:
    """The sums over an account's trades in the finalized markets of a category.

    `error` sums cost * (price after - paid)^2 in 1e-18 credits, `weight` the cost. Their quotient is the Brier score, in 1e-12.
    """

    account_id: str
    category: str
    error: Big
    weight: Big


@dataclass(slots=True)
class ScoreDay:
    """The sums over the trades of one UTC day (its first microsecond); `position` is the log position of the last change."""

    account_id: str
    category: str
    day: int
    position: int
    error: Big
    weight: Big


class ScoreVersion(NamedTuple):
    """The sums of a day, valid from log position `position`; `total_*` are those of all the account's days in the category."""

    account_id: str
    category: str
    day: int
    position: int
    error: Big
    weight: Big
    total_error: Big
    total_weight: Big


TradeSide = tuple[str, Time, int, int, int]
"""One party's side of a trade: account, time, index of its outcome, cost, price of the outcome after the trade."""

TOTALS = Table("trade_score_totals", ScoreTotal, key=["account_id", "category"])
DAYS = Table("trade_score_days", ScoreDay, key=["account_id", "category", "day"], indexes=["day"])
VERSIONS = Table(
    "trade_score_versions",
    ScoreVersion,
    key=["account_id", "category", "day", "position"],
    indexes=["account_id, category, position"],
)

TABLES: Final = (TOTALS, DAYS, VERSIONS)

_version = by_name(ScoreVersion)


class Scored(NamedTuple):
    """A market to score: the sides of its trades, what it pays `now`, and what it paid `before` a correction (else None)."""

    category: str
    sides: Sequence[TradeSide]
    before: Sequence[int] | None
    now: Sequence[int]


def score(workspace: Workspace, market: Scored, position: int) -> None:
    """Add the scores of a market's trades to the sums of their parties."""
    category = market.category
    changes = _changes(market)
    totals, days, versions = workspace.rows(TOTALS), workspace.rows(DAYS), workspace.rows(VERSIONS)
    totals.prefetch(lambda: {(account_id, category) for account_id, _ in changes})
    days.prefetch(lambda: [(account_id, category, day) for account_id, day in changes])
    of_accounts: dict[str, ScoreTotal] = {}
    for (account_id, _), (error, weight) in changes.items():
        total = of_accounts.get(account_id)
        if total is None:
            total = of_accounts[account_id] = _total(totals, account_id, category)
        total.error += error
        total.weight += weight
    edit_day = days.edit
    for (account_id, day), (error, weight) in changes.items():
        try:
            row = edit_day((account_id, category, day))
        except KeyError:
            row = days.add(
                ScoreDay(account_id=account_id, category=category, day=day, position=position, error=0, weight=0)
            )
        total = of_accounts[account_id]
        row.position = position
        row.error += error
        row.weight += weight
        versions.append(
            _version(
                account_id=account_id,
                category=category,
                day=day,
                position=position,
                error=row.error,
                weight=row.weight,
                total_error=total.error,
                total_weight=total.weight,
            )
        )


def _total(totals: Rows[ScoreTotal], account_id: str, category: str) -> ScoreTotal:
    """Return the sums of an account in a category, to be changed."""
    try:
        return totals.edit((account_id, category))
    except KeyError:
        return totals.add(ScoreTotal(account_id=account_id, category=category, error=0, weight=0))


def _changes(market: Scored) -> dict[tuple[str, int], list[int]]:
    """Return what is added to `error` and `weight`, by account and day."""
    changes: defaultdict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    now, before = market.now, market.before
    for account_id, time, outcome, cost, price in market.sides:
        change = changes[account_id, time - time % DAY]
        error = cost * (price - now[outcome]) ** 2
        if before is None:
            change[1] += cost
        else:
            error -= cost * (price - before[outcome]) ** 2
        change[0] += error
    return changes
