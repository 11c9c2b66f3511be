"""The leaderboard, against numbers computed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from domain.money import MICRO
from projections.positions import leaderboard
from projections.positions.leaderboard import window_start
from projections.reading import read
from projections.times import DAY
from tests.projections.by_hand import MONDAY, Story, folded
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from tests.projections.folding import Copy, ReadModels


@pytest.fixture
def week(read_models: ReadModels) -> Copy:
    """Monday: a buys 10 for 5, b and c buy 10 for 6 (price 0.6). Tuesday: a sells 5 for 4, d buys 10 for 8 (price 0.8)."""
    story = Story("a", "b", "c", "d")
    story.trade("a", "buy", 10 * MICRO, 5 * MICRO, 550_000)
    story.trade("b", "buy", 10 * MICRO, 6 * MICRO, 580_000)
    story.trade("c", "buy", 10 * MICRO, 6 * MICRO, 600_000)
    story.time = MONDAY + DAY + 5
    story.trade("a", "sell", 5 * MICRO, 4 * MICRO, 590_000)
    story.trade("d", "buy", 10 * MICRO, 8 * MICRO, 800_000)
    return folded(read_models, story)


def standings(copy: Copy, **asked: Any) -> list[tuple[Any, ...]]:
    """Return rank, account, profit, realized and unrealized."""
    with read(copy.connection, leaderboard.leaderboard) as as_of:
        rows = leaderboard.leaderboard(copy.connection, as_of, **asked)
    return [(row.rank, row.account_id, row.pnl / MICRO, row.realized / MICRO, row.unrealized / MICRO) for row in rows]


def test_equal_profits_share_a_rank_and_the_next_one_skips(week: Copy) -> None:
    """A has realized 1.5 and has 5 * 0.8 - 2.5 unrealized; b and c have 8 - 6, d has 8 - 8."""
    assert standings(week) == [(1, "a", 3.0, 1.5, 1.5), (2, "b", 2.0, 0, 2.0), (2, "c", 2.0, 0, 2.0), (4, "d", 0, 0, 0)]


def test_a_window_counts_from_its_start(week: Copy) -> None:
    """On Tuesday at 0:00 the price was 0.6: a had 1 unrealized, b and c had 0. The window has what came since."""
    assert sorted(standings(week, window="day"), key=lambda line: (line[0], line[1] == "a", line[1])) == [
        (1, "b", 2.0, 0, 2.0),
        (1, "c", 2.0, 0, 2.0),
        (1, "a", 2.0, 1.5, 0.5),
        (4, "d", 0, 0, 0),
    ]
    assert standings(week) == standings(week, window="week") == standings(week, window="month")
    assert standings(week, category="sport") == []
    assert standings(week) == standings(week, category="world")


def test_volume_and_return(week: Copy) -> None:
    """Volume is the cost of all fills: a 9, d 8, b and c 6. Return is profit by purchases: a 3/5, b and c 2/6, d 0/8."""
    with read(week.connection, leaderboard.leaderboard) as as_of:
        by_volume = leaderboard.leaderboard(week.connection, as_of, sort="volume")
        by_roi = leaderboard.leaderboard(week.connection, as_of, sort="roi", limit=3)

    assert [(row.account_id, row.volume / MICRO) for row in by_volume] == [("a", 9), ("d", 8), ("b", 6), ("c", 6)]
    assert [(row.rank, row.account_id, row.roi) for row in by_roi] == [
        (1, "a", 600_000),
        (2, "b", 333_333),
        (2, "c", 333_333),
    ]


def test_brier_is_weighted_by_cost_and_follows_a_correction(read_models: ReadModels) -> None:
    """a: cost 1 at 0.6 and cost 3 at 0.8, Yes pays 1: (0.16 + 3 * 0.04) / 4 = 0.07; corrected to 0: (0.36 + 1.92) / 4."""
    story = Story("a", "b")
    story.trade("a", "buy", 2 * MICRO, 1 * MICRO, 600_000)
    story.trade("a", "buy", 4 * MICRO, 3 * MICRO, 800_000)
    story.trade("b", "buy", 1 * MICRO, 1 * MICRO, 900_000)
    story.finalize(MICRO, a=6 * MICRO, b=MICRO)
    copy = folded(read_models, story)
    with read(copy.connection, leaderboard.leaderboard) as as_of:
        found = leaderboard.leaderboard(copy.connection, as_of, sort="brier")
    assert [(row.rank, row.account_id, row.brier) for row in found] == [(1, "b", 10_000), (2, "a", 70_000)]

    story.correct(MICRO, 0, a=6 * MICRO, b=MICRO)
    copy = folded(read_models, story)
    for window in get_args(leaderboard.Window):
        with read(copy.connection, leaderboard.leaderboard) as as_of:
            found = leaderboard.leaderboard(copy.connection, as_of, sort="brier", window=window)
        assert [(row.rank, row.account_id, row.brier) for row in found] == [(1, "a", 570_000), (2, "b", 810_000)]


def test_windows_begin_in_utc() -> None:
    """Wednesday 2024-10-30 12:00 lies in the week of Monday the 28th and the month of the 1st."""
    noon = MONDAY + 9 * DAY + DAY // 2

    assert tuple(window_start(window, noon) for window in get_args(leaderboard.Window)) == (
        MONDAY + 9 * DAY,
        MONDAY + 7 * DAY,
        MONDAY - 20 * DAY,
        None,
    )


def test_the_past_is_the_same_however_its_versions_are_found(
    read_models: ReadModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one or in order: which is quicker depends on how much was traded, the lines do not."""
    log = simulate(5, 700)
    copy = read_models.copy(["positions", "trades", "accounts", "markets", "timeline"]).fold(log, 200)
    found = []
    for factor in (0, 10**9):
        monkeypatch.setattr(leaderboard, "IN_ORDER_FACTOR", factor)
        boards = []
        for at in range(30, len(log), len(log) // 20):
            with read(copy.connection, leaderboard.leaderboard, at=at) as as_of:
                boards.append(
                    [
                        leaderboard.leaderboard(copy.connection, as_of, category=category)
                        for category in (None, "category0", "none")
                    ]
                )
        found.append(boards)

    assert found[0] == found[1]
    assert sum(bool(line.unrealized) for all_lines, *_ in found[0] for line in all_lines) > 20
