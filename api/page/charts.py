"""Charts of odds over time as the numbers of an SVG: steps, scales, grid and labels. Pure; templates draw them.

Prices stay until they change, so a line goes in steps. Where nothing was traded for more than a third of the time shown, the
axis is folded: whoever trades once after two quiet years would otherwise squeeze all that happened into a corner.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from api.page.filters import clock, month_year, percent, short_day
from domain.money import MICRO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from domain.money import Price, Time
    from projections.markets.prices import Tick

DAY: Final = 24 * 3600 * MICRO
FOLD_WIDTH: Final = 24
"""The width of a fold in the units of the chart."""

BUSY_LEAST: Final = 12
"""What lies between two folds gets at least one of so many parts of the width."""

FOLD_TICKS: Final = 8
"""The fewest ticks of a chart with folds: of fewer, none is crowded."""

SMALL_WIDTH: Final = 500
"""Charts up to this width are those of cards: their margins are smaller, and their labels do not grow on a phone."""

LEFT: Final = 42
LEFT_SMALL: Final = 34
"""The margin for the labels of the grid, which stand level with their lines."""

LABEL_GAP: Final = 20
LABEL_GAP_SMALL: Final = 15
"""The least distance of two labels at the ends of lines."""

LETTER: Final = 11.5
LETTER_SMALL: Final = 7.0
"""The width of a letter of the time axis, at most: on a phone those of a large chart are larger."""

LINES_MAX: Final = 5
"""The most lines with a label and a colour of their own; the others are thin and grey."""

KINDS: Final = 8
"""The number of colours, dashes and shapes."""

TOP: Final = 12
BOTTOM: Final = 34
BOTTOM_SMALL: Final = 24
"""The margins of a chart, in its units."""

RIGHT_OF_ONE: Final = 88
RIGHT_OF_MANY: Final = 148
RIGHT_SMALL: Final = 60
"""The margin for the label of a single line; of several, which have longer names; and without names."""

FLAT: Final = 50_000
"""What is shown above and below a price that never changed."""

STEPS: Final = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 250_000, 500_000)
"""The distances of grid lines, as prices."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A silence: from the last tick before it to the first one after it."""

    start: Time
    end: Time


@dataclass(frozen=True, slots=True)
class OutcomeHistory:
    """The ticks of an outcome, oldest first, and its price before the first of them, None if there was none."""

    outcome: str
    ticks: Sequence[Tick]
    before: Price | None = None


@dataclass(slots=True)
class Series:
    """A line: its path, what it says in words, its colour (0 to 7), and where its label stands."""

    outcome: str
    d: str
    first: Price
    last: Price
    low: Price
    high: Price
    kind: int
    x: float
    y: float
    label_y: float
    quiet: bool = False
    area: str = ""


@dataclass(frozen=True, slots=True)
class GridLine:
    """A line of the grid, with its label."""

    y: float
    label: str


@dataclass(frozen=True, slots=True)
class AxisLabel:
    """A label of the time axis; `anchor` is SVG's `text-anchor`. `clock` is the time, where the label is one of the day."""

    x: float
    label: str
    anchor: str
    clock: Time | None


@dataclass(frozen=True, slots=True)
class DrawnFold:
    """A fold on the axis: its middle, and how long it is quiet there."""

    x: float
    length: Time


@dataclass(frozen=True, slots=True)
class LifeMark:
    """An event of a market's life on the time axis."""

    x: float
    time: Time
    label: str


@dataclass(slots=True)
class Chart:
    """All that a template draws. `scale` has pairs of x and time, between which both grow evenly; `low` and `high` are prices."""

    width: int
    height: int
    left: float
    right: float
    bottom: float
    low: Price
    high: Price
    start: Time
    end: Time
    series: list[Series]
    grid: list[GridLine]
    times: list[AxisLabel]
    folds: list[DrawnFold]
    scale: list[tuple[float, Time]]
    marks: list[LifeMark] = field(default_factory=list)

    @property
    def scale_text(self) -> str:
        """The scale as text for the module that reads the chart."""
        return ";".join(f"{x:g},{time}" for x, time in self.scale)

    def add_marks(self, marks: Sequence[tuple[Time, str]]) -> None:
        """Put events on the time axis; those outside of it are left out."""
        place = _Scale(self.scale)
        self.marks = [LifeMark(place.x(time), time, label) for time, label in marks if self.start <= time <= self.end]


class _Scale:
    """From times to places, with folds."""

    def __init__(self, anchors: Sequence[tuple[float, Time]]) -> None:
        self._anchors = anchors
        self._times = [time for _, time in anchors]

    def x(self, time: Time) -> float:
        """Return the place of a time."""
        number = min(max(bisect_right(self._times, time), 1), len(self._anchors) - 1)
        (x0, t0), (x1, t1) = self._anchors[number - 1], self._anchors[number]
        if t1 == t0:
            return x1
        return min(max(x0 + (x1 - x0) * (time - t0) / (t1 - t0), x0), x1)

    def time(self, x: float) -> Time:
        """Return the time of a place."""
        for (x0, t0), (x1, t1) in pairwise(self._anchors):
            if x <= x1 and x1 > x0:
                return t0 + int((t1 - t0) * (x - x0) / (x1 - x0))
        return self._times[-1]


def steps(ticks: Sequence[tuple[Time, Price]], start: Time, end: Time, columns: int = 640) -> list[tuple[Time, Price]]:
    """Return as few ticks as look the same in so many columns: the first, last, lowest and highest of each column."""
    if len(ticks) <= columns:
        return list(ticks)
    span = max(1, end - start)
    kept: list[tuple[Time, Price]] = []
    column = -1
    group: list[tuple[Time, Price]] = []
    for tick in ticks:
        at = (tick[0] - start) * columns // span
        if at != column:
            _keep(group, kept)
            column, group = at, []
        group.append(tick)
    _keep(group, kept)
    return kept


def _keep(group: list[tuple[Time, Price]], kept: list[tuple[Time, Price]]) -> None:
    if len(group) <= 4:
        kept += group
        return
    prices = [price for _, price in group]
    wanted = {0, len(group) - 1, prices.index(min(prices)), prices.index(max(prices))}
    kept += [group[number] for number in sorted(wanted)]


def folds(times: Sequence[Time], start: Time, end: Time) -> list[Fold]:
    """Return the silences longer than a third of the time from start to end; `times` are those of all ticks, in order."""
    if len(times) < FOLD_TICKS:
        return []
    edges = [start, *(time for time in times if start < time < end), end]
    return [Fold(first, then) for first, then in pairwise(edges) if then - first > (end - start) // 3]


def chart(
    histories: Sequence[OutcomeHistory],
    start: Time,
    end: Time,
    width: int = 640,
    height: int = 260,
    kinds: Callable[[str], int] | None = None,
) -> Chart | None:
    """Return the chart of these histories, None where there is no price at all. `kinds` gives the colour of an outcome."""
    lines = [(each.outcome, _line(each, start, end)) for each in histories]
    lines = [(outcome, line) for outcome, line in lines if line]
    if not lines:
        return None
    end = max(end, start + 1)
    times = sorted({time for _, line in lines for time, _ in line})
    is_small = width <= SMALL_WIDTH
    left, bottom = (LEFT_SMALL, height - BOTTOM_SMALL) if is_small else (LEFT, height - BOTTOM)
    right = width - (RIGHT_OF_ONE if len(lines) == 1 else RIGHT_SMALL if is_small else RIGHT_OF_MANY)
    quiet = folds(times, start, end)
    anchors = _anchors(quiet, start, end, left, right)
    scale = _Scale(anchors)
    shown = [(outcome, steps(line, start, end)) for outcome, line in lines]
    low, high, grid = _grid([price for _, line in shown for _, price in line], bottom)

    def y(price: Price) -> float:
        return bottom - (bottom - TOP) * (price - low) / (high - low)

    named = sorted(range(len(shown)), key=lambda number: -shown[number][1][-1][1])[:LINES_MAX]
    series = []
    for number, (outcome, line) in enumerate(shown):
        prices = [price for _, price in line]
        d = _path([(scale.x(time), y(price)) for time, price in line], right)
        kind = (kinds(outcome) if kinds else number) % KINDS
        drawn = Series(outcome, d, prices[0], prices[-1], min(prices), max(prices), kind, right, y(prices[-1]), 0)
        drawn.quiet = number not in named
        series.append(drawn)
    if len(series) == 1:
        series[0].area = f"{series[0].d}V{bottom:g}H{scale.x(shown[0][1][0][0]):g}Z"
    _set_labels([each for each in series if not each.quiet], bottom, LABEL_GAP_SMALL if is_small else LABEL_GAP)
    folded = [DrawnFold((scale.x(each.start) + scale.x(each.end)) / 2, each.end - each.start) for each in quiet]
    return Chart(
        width, height, left, right, bottom, low, high, start, end, series, grid,
        _apart(_axis(scale, start, end, left, right), LETTER_SMALL if is_small else LETTER), folded, anchors,
    )  # fmt: skip


def spark(prices: Sequence[Price | None], width: int = 120, height: int = 32) -> str:
    """Return the path of a small line without a scale; empty where there are no prices."""
    known = [(number, price) for number, price in enumerate(prices) if price is not None]
    if not known:
        return ""
    low, high = min(price for _, price in known), max(price for _, price in known)
    spread = max(high - low, 20_000)
    middle = (high + low) / 2
    unit = width / max(1, len(prices) - 1)
    places = [(number * unit, height / 2 - (price - middle) / spread * (height - 6)) for number, price in known]
    return _path(places, width)


def _line(history: OutcomeHistory, start: Time, end: Time) -> list[tuple[Time, Price]]:
    """Return the ticks from start to end; the first one is at start if the outcome had a price before."""
    inside = [(tick.time, tick.price) for tick in history.ticks if start <= tick.time <= end]
    if history.before is not None and (not inside or inside[0][0] > start):
        return [(start, history.before), *inside]
    return inside


def _anchors(quiet: Sequence[Fold], start: Time, end: Time, left: float, right: float) -> list[tuple[float, Time]]:
    """Return the scale: the times between folds share the width by their lengths, but none gets less than a twelfth of it."""
    edges = [start, *(time for each in quiet for time in (each.start, each.end)), end]
    lengths = [after - before for before, after in zip(edges[::2], edges[1::2], strict=True)]
    least = sum(lengths) // BUSY_LEAST
    shares = [max(length, least) if length else 0 for length in lengths]
    unit = (right - left - FOLD_WIDTH * len(quiet)) / max(1, sum(shares))
    anchors = [(float(left), start)]
    for number, share in enumerate(shares):
        x = anchors[-1][0] + share * unit
        anchors.append((x, edges[2 * number + 1]))
        if number < len(quiet):
            anchors.append((x + FOLD_WIDTH, edges[2 * number + 2]))
    return [*anchors[:-1], (float(right), end)]


def _grid(prices: Sequence[Price], bottom: float) -> tuple[Price, Price, list[GridLine]]:
    """Return the lowest and highest price of the scale, on round numbers, and the lines between them."""
    low, high = min(prices), max(prices)
    if high - low < STEPS[0]:
        low, high = max(0, low - FLAT), min(MICRO, high + FLAT)
    for step in STEPS:
        first, last = low // step * step, -(-high // step) * step
        if (last - first) // step <= 4:
            break
    count = (last - first) // step
    lines = [
        GridLine(bottom - (bottom - TOP) * number / count, _axis_percent(first + number * step))
        for number in range(count + 1)
    ]
    return first, last, lines


def _axis_percent(price: Price) -> str:
    return f"{price // 10_000}%" if price % 10_000 == 0 else percent(price)


def _path(places: Sequence[tuple[float, float]], right: float) -> str:
    """Return steps through these places as the path of an SVG, on to the right edge. Many places get whole numbers."""
    factor = 1 if len(places) > 400 else 10
    points = [(round(x * factor), round(y * factor)) for x, y in places]
    x, y = points[0]
    parts = [f"M{x / factor:g} {y / factor:g}"]
    for next_x, next_y in points[1:]:
        if next_x != x:
            parts.append(f"h{(next_x - x) / factor:g}")
        if next_y != y:
            parts.append(f"v{(next_y - y) / factor:g}")
        x, y = next_x, next_y
    parts.append(f"H{right:g}")
    return "".join(parts)


def _set_labels(series: Sequence[Series], bottom: float, gap: float) -> None:
    """Move labels that would overlap apart; those at the top and at the bottom stay within the chart."""
    ordered = sorted(series, key=lambda each: each.y)
    free: float = TOP
    for each in ordered:
        each.label_y = free = max(each.y, free)
        free += gap
    lowest = bottom
    for each in reversed(ordered):
        each.label_y = lowest = min(each.label_y, lowest)
        lowest -= gap


def _axis(scale: _Scale, start: Time, end: Time, left: float, right: float) -> list[AxisLabel]:
    """Return the labels of the time axis, each once; the first one has its year, or its zone."""
    is_clock = end - start <= 2 * DAY
    form = month_year if end - start > 300 * DAY else clock if is_clock else short_day
    third = (right - left) / 3
    places = ((left, "start"), (left + third, "middle"), (left + 2 * third, "middle"), (right, "end"))
    labels: dict[str, AxisLabel] = {}
    for x, anchor in places:
        time = scale.time(x)
        text = form(time)
        more = "" if labels else " UTC" if is_clock else f" {month_year(time)[-4:]}" if form is short_day else ""
        labels.setdefault(text, AxisLabel(x, text + more, anchor, time if is_clock else None))
    return [*labels.values()]


def _apart(labels: Sequence[AxisLabel], letter: float) -> list[AxisLabel]:
    """Return the labels that keep apart: the first one, the last one if it fits, and those between that both leave room."""

    def span(label: AxisLabel) -> tuple[float, float]:
        wide = letter * (len("12:59 PM") if label.clock is not None else len(label.label))  # a browser may write it so
        left = label.x - wide * {"start": 0, "middle": 0.5, "end": 1}[label.anchor]
        return left, left + wide

    kept = [labels[0]]
    for label in labels[1:]:
        left, right = span(label)
        is_free = span(kept[-1])[1] + letter / 2 <= left
        if is_free and (label is labels[-1] or right + letter / 2 <= span(labels[-1])[0]):
            kept.append(label)
    return kept
