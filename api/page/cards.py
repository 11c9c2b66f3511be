"""What pages show of a market: its outcomes in the order of a page, its state in words, its charts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from api.page.charts import KINDS, Chart, OutcomeHistory, chart, spark
from api.page.filters import date, percent, span
from api.page.languages import translate as _
from domain.market import Status
from domain.money import MICRO
from projections import timeline
from projections.markets import listing, prices
from projections.markets.prices import Tick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

    from domain.money import Price, Time
    from projections.markets.tables import MarketRow
    from projections.reading import AsOf

NEEDS: Final = (listing.changes, listing.sparklines, prices.tracks, prices.latest)

DAY: Final = 24 * 3600 * MICRO
FAR: Final = 60 * DAY
"""From here on a day says more than the time until then."""

RANGES: Final[dict[str, Time | None]] = {"1d": DAY, "1w": 7 * DAY, "1m": 30 * DAY, "all": None}
"""The ranges of a market's chart."""

ENDED: Final = frozenset({Status.FINALIZED.value, Status.VOIDED.value})
"""The statuses of markets that are over."""

YES: Final = frozenset({"yes", "ja"})


@dataclass(frozen=True, slots=True)
class OutcomeOdds:
    """An outcome of a market: its odds, how much they changed in a day, its colour (0 to 7), and whether it came true."""

    name: str
    index: int
    price: Price
    change: Price
    kind: int
    payout: int | None

    @property
    def has_won(self) -> bool:
        """Whether a share of it pays all."""
        return self.payout == MICRO

    @property
    def has_moved(self) -> bool:
        """Whether its change is one that people are told: it is not zero when written with one decimal."""
        return abs(self.change) >= MICRO // 2_000


@dataclass(slots=True)
class MarketCard:
    """A market on a page. `outcomes` stand in the order of the page: Yes first, otherwise the most likely first."""

    row: MarketRow
    outcomes: list[OutcomeOdds]
    state: str
    now: Time
    chart: Chart | None = None
    spark: str = ""

    @property
    def is_binary(self) -> bool:
        """Whether one line tells all."""
        return len(self.outcomes) == 2

    @property
    def lead(self) -> OutcomeOdds:
        """The outcome whose odds stand large: Yes of a binary market, otherwise the most likely one."""
        return self.outcomes[0]

    @property
    def has_ended(self) -> bool:
        """Whether its prices are those of the past: it is resolved or voided."""
        return self.row.status in ENDED

    def shown_until(self, as_of: AsOf) -> Time:
        """Return the end of its chart: now, or when it ended."""
        return self.row.time if self.has_ended else as_of.time

    @property
    def is_open(self) -> bool:
        """Whether it takes orders."""
        return self.row.status == Status.ACTIVE


def cards(connection: Connection[Any], as_of: AsOf, rows: Sequence[MarketRow]) -> list[MarketCard]:
    """Return markets as pages show them, without charts. Needs `NEEDS`."""
    changes = listing.changes(connection, as_of, rows)
    now = as_of.time if as_of.past else max(as_of.time, time_ns() // 1_000)
    return [MarketCard(row, _outcomes(row, changes[row.market_id]), state(row, now), now) for row in rows]


def add_charts(connection: Connection[Any], as_of: AsOf, shown: Sequence[MarketCard], width: int, height: int) -> None:
    """Give these markets charts of all their time, by one query for all of them. Needs `NEEDS`."""
    tracks = prices.tracks(connection, as_of, [each.row.market_id for each in shown])
    for each in shown:
        track = tracks.get(each.row.market_id, [])
        first = track[0][0] if track else each.row.opened_at
        each.chart = _chart(each, track, None, first, each.shown_until(as_of), width, height)


def add_chart(connection: Connection[Any], as_of: AsOf, card: MarketCard, range_: str, width: int, height: int) -> None:
    """Give a market the chart of one of `RANGES`. Needs `NEEDS`."""
    market_id, length = card.row.market_id, RANGES[range_]
    if length is None or card.has_ended or as_of.time - length <= card.row.opened_at:
        add_charts(connection, as_of, [card], width, height)
        return
    start = as_of.time - length
    position = timeline.position_at(connection, start)
    then = prices.latest(connection, type(as_of)(position, start, past=True), [market_id]).get(market_id)
    track = prices.tracks(connection, as_of, [market_id], after=position).get(market_id, [])
    card.chart = _chart(card, track, then, start, as_of.time, width, height)


def add_sparks(connection: Connection[Any], as_of: AsOf, shown: Sequence[MarketCard]) -> None:
    """Give these markets small lines of their leading outcome in the last 7 days. Needs `NEEDS`."""
    points = listing.sparklines(connection, as_of, [each.row.market_id for each in shown])
    for each in shown:
        index = each.lead.index
        each.spark = spark([None if at is None else at[index] for at in points[each.row.market_id]])


def state(row: MarketRow, now: Time) -> str:
    """Return the state of a market in words."""
    match row.status:
        case Status.DRAFT:
            return _("Not open yet")
        case Status.ACTIVE:
            return (
                _("Closes now")
                if row.close_time <= now
                else _("Closes in %(time)s") % {"time": span(row.close_time - now)}
                if row.close_time < now + FAR
                else _("Closes on %(day)s") % {"day": date(row.close_time)}
            )
        case Status.HALTED:
            return _("Trading is halted")
        case Status.CLOSED:
            return _("Closed: the result is not known yet")
        case Status.DETERMINED:
            return _("Proposed result: %(result)s") % {"result": result(row)}
        case Status.DISPUTED:
            return _("Disputed: proposed was %(result)s") % {"result": result(row)}
        case Status.FINALIZED:
            return _("Resolved: %(result)s") % {"result": result(row)}
        case Status.VOIDED:
            return _("Voided: everybody got their credits back")
        case _:
            return row.status


def result(row: MarketRow) -> str:
    """Return the result of a market in words: the outcome that pays all, or what each outcome pays."""
    paid = [(name, payout) for name, payout in zip(row.outcomes, row.payouts or (), strict=False) if payout]
    if len(paid) == 1:
        return paid[0][0]
    return ", ".join(f"{name} {percent(payout)}" for name, payout in paid)


def _outcomes(row: MarketRow, changes: Sequence[Price]) -> list[OutcomeOdds]:
    payouts: Sequence[int | None] = row.payouts or [None] * len(row.outcomes)
    odds = row.odds
    moves = [0] * len(odds) if row.status in ENDED else changes  # what was odds is a result now
    found = [
        OutcomeOdds(name, index, odds[index], moves[index], index % KINDS, payouts[index])
        for index, name in enumerate(row.outcomes)
    ]
    if len(found) == 2:
        found.sort(key=lambda each: each.name.lower() not in YES)
        return [replace(each, kind=kind) for kind, each in enumerate(found)]
    found.sort(key=lambda each: -each.price)
    if len(found) > KINDS:  # no two of those that stand first look alike
        return [replace(each, kind=kind % KINDS) for kind, each in enumerate(found)]
    return found


def _chart(
    card: MarketCard,
    track: Sequence[tuple[Time, list[Price]]],
    before: Sequence[Price] | None,
    start: Time,
    end: Time,
    width: int,
    height: int,
) -> Chart | None:
    shown = card.outcomes[:1] if card.is_binary else card.outcomes
    histories = [
        OutcomeHistory(
            each.name,
            [Tick(time, at_time[each.index], 0) for time, at_time in track],
            None if before is None else before[each.index],
        )
        for each in shown
    ]
    kinds = {each.name: each.kind for each in card.outcomes}
    return chart(histories, start, end, width, height, kinds.__getitem__)
