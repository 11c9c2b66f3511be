"""Charts: few steps that look the same, silences folded, labels level with their lines."""

from __future__ import annotations

from itertools import pairwise
from time import thread_time
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from api.page.charts import DAY, OutcomeHistory, chart, folds, spark, steps
from domain.money import MICRO
from projections.markets.prices import Tick

ticks_lists = st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, MICRO - 1)), min_size=1, max_size=3_000).map(
    sorted
)


@given(ticks_lists, st.integers(1, 200))
def test_steps_keep_the_first_last_lowest_and_highest(ticks: list[tuple[int, int]], columns: int) -> None:
    """What is drawn has the extremes of what happened, in the same order."""
    kept = steps(ticks, 0, 10_000, columns)

    assert kept[0] == ticks[0]
    assert kept[-1] == ticks[-1]
    assert min(price for _, price in kept) == min(price for _, price in ticks)
    assert max(price for _, price in kept) == max(price for _, price in ticks)
    assert len(kept) <= max(4 * (columns + 1), columns)
    rest = iter(ticks)
    assert all(tick in rest for tick in kept)


def test_ten_thousand_ticks_are_a_short_path_in_little_time() -> None:
    """At most 12 kB for an outcome, and at most 0.3 s of CPU, which is generous: other work on the machine does not count."""
    ticks = [
        Tick(number * 60 * MICRO, 500_000 + (number * 7919 % 4001 - 2000) * 100, number) for number in range(10_000)
    ]
    began = thread_time()
    drawn = chart([OutcomeHistory("Yes", ticks)], 0, 10_000 * 60 * MICRO)
    seconds = thread_time() - began

    assert drawn is not None
    assert len(drawn.series[0].d) <= 12_000
    assert seconds < 0.3


def test_a_silence_of_two_years_is_folded() -> None:
    """A trade years after the others does not squeeze them into a corner."""
    early = [Tick(number * DAY, 500_000 + number * 1_000, number) for number in range(60)]
    late = Tick(800 * DAY, 700_000, 61)
    drawn = chart([OutcomeHistory("Yes", [*early, late])], 0, 800 * DAY)

    assert drawn is not None
    (fold,) = drawn.folds
    assert fold.length == (800 - 59) * DAY
    assert fold.x > drawn.right * 0.9
    again = chart(
        [OutcomeHistory("Yes", [*early, late, Tick(late.time + DAY // 24, 600_000, 62)])], 0, late.time + DAY // 24
    )
    assert again is not None
    assert again.right - again.folds[0].x > again.right / 13  # an hour after the silence can be seen
    assert folds([tick.time for tick in early], 0, 59 * DAY) == []


@given(st.lists(st.integers(1, MICRO - 1), min_size=2, max_size=7))
def test_labels_keep_apart_and_stay_within(prices: list[int]) -> None:
    """However close the ends of the lines are, their labels can be read; grid labels stand at their lines."""
    histories = [OutcomeHistory(str(number), [Tick(0, price, 1)]) for number, price in enumerate(prices)]
    drawn = chart(histories, 0, DAY)

    assert drawn is not None
    places = sorted(each.label_y for each in drawn.series if not each.quiet)
    assert all(after - before >= 16.9 for before, after in pairwise(places))
    assert places[-1] <= drawn.bottom + 0.1
    assert sum(each.quiet for each in drawn.series) == max(0, len(prices) - 5)
    assert 2 <= len(drawn.grid) <= 6
    assert drawn.low <= min(prices)
    assert drawn.high >= max(prices)


WIDEST: Final = 6.8 / 12
"""The width of a character of the time axis, as a part of the size of its letters."""


@given(
    st.integers(0, 40_000 * DAY),
    st.one_of(st.integers(1, 3 * DAY), st.integers(3 * DAY, 4_000 * DAY)),
    st.sampled_from([(400, 150, 12), (640, 340, 20)]),
    st.integers(1, 5),
)
def test_the_dates_below_a_chart_keep_apart(start: int, length: int, size: tuple[int, int, int], lines: int) -> None:
    """Also on a phone, whose letters are larger; the first date is always there, and most often three or four are."""
    width, height, letters = size
    histories = [OutcomeHistory(str(number), [Tick(start, 500_000, 1)]) for number in range(lines)]
    drawn = chart(histories, start, start + length, width, height)

    assert drawn is not None
    spans = []
    for each in drawn.times:
        wide = len(each.label) * WIDEST * letters
        left = each.x - {"start": 0, "middle": wide / 2, "end": wide}[each.anchor]
        spans.append((left, left + wide))
    assert spans[0][0] == drawn.left
    assert all(before[1] + 3 <= after[0] for before, after in pairwise(spans)), drawn.times
    assert all(right <= width for _, right in spans)


def test_a_price_that_never_changed_stands_in_the_middle() -> None:
    """The labels of the grid differ, however little the price moved."""
    for prices in ((500_000, 500_000), (500_000, 500_400), (999_999, 999_999), (1, 1)):
        drawn = chart([OutcomeHistory("Yes", [Tick(at * DAY, price, at) for at, price in enumerate(prices)])], 0, DAY)
        assert drawn is not None
        labels = [line.label for line in drawn.grid]
        assert len(set(labels)) == len(labels) >= 2


def test_a_market_without_prices_has_no_chart() -> None:
    """A draft shows words instead."""
    assert chart([OutcomeHistory("Yes", [])], 0, DAY) is None
    assert spark([None, None]) == ""
