"""Sums that grow with every trade have no limit: they pass 64 bits, and nothing is parked or refused because of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from domain.account import CashDeposited, CashWithdrawn
from domain.money import MICRO
from domain.orders import Execution, OrderPlaced
from projections import book
from projections.candles import PERIODS
from projections.dashboards.views import VIEWS
from projections.markets import listing, markets
from projections.positions import leaderboard, positions
from projections.reading import read
from projections.registry import PROJECTIONS
from projections.times import DAY
from tests.projections.by_hand import MONDAY, Story, folded
from tests.projections.reading_candles import outcome_candles

if TYPE_CHECKING:
    from domain.book import Side
    from tests.projections.folding import Copy, ReadModels

TURN = 10**18
"""Micro-credits that change hands at once: as much as there may be money. Ten times it does not fit 64 bits."""

TURNS = 20


@pytest.fixture
def much(read_models: ReadModels) -> Copy:
    """Each turn, a buys for `TURN` and sells for nearly nothing, and b the other way round; then b's gain goes to a."""
    story = Story("a", "b")
    for _ in range(TURNS):
        trades: list[tuple[str, Side, int]] = [
            ("a", "buy", TURN),
            ("a", "sell", 1),
            ("b", "buy", 1),
            ("b", "sell", TURN),
        ]
        for account, side, cost in trades:
            story.trade(account, side, TURN, cost, 500_000, fee=1)
        story.add("account-b", CashWithdrawn("b", TURN))
        story.add("account-a", CashDeposited("a", TURN))
    story.finalize(MICRO)
    return folded(read_models, story)


def test_no_event_is_parked(much: Copy) -> None:
    """Every read model has folded the whole log."""
    assert much.connection.execute("SELECT count(*) FROM projection_parked").fetchone() == (0,)


def test_sums_of_markets_and_candles_are_exact(much: Copy) -> None:
    """Every turn adds twice `TURN` and two micro-credits to the volume, now and in the past."""
    volume, quantity = TURNS * (2 * TURN + 2), TURNS * 4 * TURN
    with read(much.connection, *PROJECTIONS) as now:
        pass
    for at in (None, now.position - 1):
        with read(much.connection, *PROJECTIONS, at=at) as as_of:
            (market,) = listing.newest(much.connection, as_of)
            assert (market.volume, market.quantity) == (volume, quantity)
            for period in PERIODS:
                (candle,) = outcome_candles(much.connection, as_of, "m", 0, period, MONDAY, MONDAY + DAY)
                assert (type(candle.volume), candle.volume, candle.quantity) == (int, volume, quantity)


def test_sums_of_positions_and_leaderboards_are_exact(much: Copy) -> None:
    """A loses what b gains, but for the fees and what each pays for nearly nothing; b's return is a million times a million."""
    gain = TURNS * (TURN - 1)
    with read(much.connection, *PROJECTIONS) as now:
        pass
    for at in (None, now.position - 1):
        for window in get_args(leaderboard.Window):
            for sort in get_args(leaderboard.Sort):
                with read(much.connection, *PROJECTIONS, at=at) as as_of:
                    lines = leaderboard.leaderboard(much.connection, as_of, sort=sort, window=window)
                if sort != "brier" or at is None:
                    found = {line.account_id: (type(line.pnl), line.pnl, line.volume) for line in lines}
                    assert found == {
                        "a": (int, -gain - 2 * TURNS, TURNS * (TURN + 1)),
                        "b": (int, gain - 2 * TURNS, TURNS * (TURN + 1)),
                    }
        with read(much.connection, *PROJECTIONS, at=at) as as_of:
            (position,) = positions.account_positions(much.connection, as_of, "b", closed=True)
        assert (type(position.realized), position.realized) == (int, gain - 2 * TURNS)
        assert (position.volume, position.buys, position.fees) == (TURNS * (TURN + 1), TURNS, 2 * TURNS)


def test_a_level_of_the_book_is_exact(read_models: ReadModels) -> None:
    """Bids at the lowest price are for a thousand times the shares of the cash that they hold."""
    story = Story("a")
    for number in range(TURNS):
        rests = Execution("resting", 0, TURN, 0, 0, (), 0, 0, (), resting=True)
        placed = OrderPlaced(
            "m", "a", f"r{number}", "k", "Yes", "buy", "limit", TURN, None, 1_000, "GTC", None,
            post_only=False, reduce_only=False, resolution_version=1, execution=rests,
        )  # fmt: skip
        story.add("market-m", placed)
    copy = folded(read_models, story)
    for at in (None, len(story.log)):
        with read(copy.connection, *PROJECTIONS, at=at) as as_of:
            market = markets.get_market(copy.connection, as_of, "m")
            assert market is not None
            yes, no = book.book(copy.connection, as_of, market)
        assert (yes.bids, no.asks) == ([(1_000, TURNS * TURN, TURNS)], [(999_000, TURNS * TURN, TURNS)])


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_can_be_read(much: Copy, view: str) -> None:
    """No column overflows."""
    with much.connection.transaction(), much.connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({VIEWS[view].query}) v")
        assert cursor.rowcount >= 0
