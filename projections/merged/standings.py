"""The leaderboard and the calibration over several partitions: sums of each, from which ranks and means are made."""

from collections.abc import Iterable, Sequence
from operator import add
from typing import Final

from domain.money import MICRO
from domain.placement import partition_of
from projections import accounts
from projections.calibration import Calibration, calibration_of, forecast_sums
from projections.merged.cut import ExchangeCut
from projections.positions.leaderboard import AccountSums, Sort, Standing, Window, account_sums, window_start

NEEDS: Final = (account_sums, accounts.names, forecast_sums)
"""What the functions of this module ask."""

_FALLING: Final = frozenset({"pnl", "volume", "roi"})
"""The sorts of which the greatest value is the best."""


def whole_leaderboard(
    cut: ExchangeCut,
    *,
    sort: Sort = "pnl",
    window: Window = "all",
    category: str | None = None,
    limit: int = 100,
    after: tuple[int, str] | None = None,
) -> list[Standing]:
    """Return the best accounts over all partitions, as `leaderboard` does of one.

    The window is the one that the time of the cut lies in, in every partition.
    """
    start = window_start(window, cut.time)
    # Where nothing has happened since the window began, nobody has gained or lost in it.
    within = [partition for partition, as_of in cut.parts.items() if start is None or as_of.time >= start]
    found = cut.each(lambda connection, as_of, _: account_sums(connection, as_of, start, category), within)
    lines = [line for sums in _by_account(found.values()) if (line := _line(sums, sort)) is not None]
    lines.sort(key=lambda line: (_value(line, sort), line.account_id))
    shown: list[Standing] = []
    rank, before = 0, None
    for place, line in enumerate(lines, 1):
        if _value(line, sort) != before:
            rank, before = place, _value(line, sort)
        if after is None or (rank, line.account_id) > after:
            shown.append(line._replace(rank=rank))
            if len(shown) == limit:
                break
    return _named(cut, shown)


def _by_account(found: Iterable[Sequence[AccountSums]]) -> list[AccountSums]:
    """Return the sums of each account over all partitions."""
    sums: dict[str, AccountSums] = {}
    for rows in found:
        for row in rows:
            before = sums.get(row.account_id)
            sums[row.account_id] = (
                row if before is None else AccountSums(row.account_id, *map(add, before[1:], row[1:]))
            )
    return list(sums.values())


def _line(sums: AccountSums, sort: Sort) -> Standing | None:
    """Return an account's line, still without rank and name; None if it has none in this sort."""
    if not (sums.trades or sums.realized or sums.unrealized):
        return None
    pnl = sums.realized + sums.unrealized
    line = Standing(
        rank=0,
        account_id=sums.account_id,
        name="",
        pnl=pnl,
        realized=sums.realized,
        unrealized=sums.unrealized,
        volume=sums.volume,
        buys=sums.buys,
        roi=pnl * MICRO // sums.buys if sums.buys else None,
        brier=sums.error // (sums.weight * MICRO) if sums.weight else None,
        trades=sums.trades,
    )
    return None if getattr(line, sort) is None else line


def _value(line: Standing, sort: Sort) -> int:
    """Return what lines are sorted by, the best first."""
    value: int = getattr(line, sort)
    return -value if sort in _FALLING else value


def _named(cut: ExchangeCut, lines: Sequence[Standing]) -> list[Standing]:
    """Return the lines with the names of their accounts, which only the homes know."""
    of_home: dict[int, list[str]] = {}
    for line in lines:
        of_home.setdefault(partition_of(line.account_id), []).append(line.account_id)
    known: dict[str, str] = {}
    homes = of_home.keys() & cut.parts.keys()
    for found in cut.each(lambda c, as_of, home: accounts.names(c, as_of, of_home[home]), sorted(homes)).values():
        known |= found
    return [line._replace(name=known.get(line.account_id, "")) for line in lines]


def whole_calibration(cut: ExchangeCut, *, category: str | None = None) -> Calibration:
    """Return how well prices of all partitions forecast what was paid."""
    found = cut.each(lambda connection, as_of, _: forecast_sums(connection, as_of, category))
    return calibration_of([row for rows in found.values() for row in rows])
