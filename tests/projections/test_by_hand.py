"""Read models against numbers that were computed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from domain.account import AccountOpened, CashDeposited, PayoutPaid, PayoutReversed, SharesPaid, TradeSettled
from domain.events import Event, Recorded
from domain.market import (
    Evidence,
    MarketActivated,
    MarketClosed,
    MarketCorrected,
    MarketDrafted,
    MarketFinalized,
    MarketReversed,
    MarketSettled,
    Payout,
)
from domain.money import MICRO
from domain.orders import Execution, Fill, OrderPlaced
from domain.story import StoryPublished
from projections import calibration, candles
from projections.markets import markets
from projections.positions import cost_basis, leaderboard, positions
from projections.positions.cost_basis import payout_parts, split_evenly
from projections.positions.leaderboard import window_start
from projections.positions.positions import PositionRow
from projections.positions.profits import DAY
from projections.reading import read
from projections.registry import PROJECTIONS

if TYPE_CHECKING:
    from domain.book import Side
    from tests.projections.folding import Copy, ReadModels

MONDAY = 1_729_468_800_000_000
"""2024-10-21T00:00:00Z, a Monday."""

MINUTE = 60_000_000


class Story:
    """Writes a log by hand: one story, one market of two outcomes, accounts that trade at prices of the test's choice."""

    def __init__(self, *accounts: str) -> None:
        self.log: list[Recorded] = []
        self.time = MONDAY + 1
        self.add("story-s", StoryPublished("s", "s", "S", "B", "world", MONDAY, None))
        self.add(
            "market-m",
            MarketDrafted("m", "s", "m", "?", ("Yes", "No"), (500_000, 500_000), 10, 0, MONDAY + 60 * DAY, "R", 0, 1),
        )
        self.add("market-m", MarketActivated("m", 10, 10, (500_000, 500_000)))
        for account in accounts:
            self.add(f"account-{account}", AccountOpened(account, account))
            self.add(f"account-{account}", CashDeposited(account, 1000 * MICRO))

    def add(self, stream: str, event: Event) -> None:
        """Record an event now."""
        self.log.append(Recorded(len(self.log) + 1, stream, 1, self.time, "c", event))

    def trade(self, account: str, side: Side, shares: int, cost: int, price: int, *, fee: int = 0) -> None:
        """Let an account buy or sell Yes of the maker; `price` is that of Yes afterwards."""
        cash = -cost - fee if side == "buy" else cost - fee
        settled = TradeSettled(account, "m", f"o{len(self.log)}", "Yes", side, "taker", shares, cost, fee, cash, 0, 0)
        fill = Fill(cost * MICRO // shares, shares, cost, "amm")
        signed = shares if side == "buy" else -shares
        execution = Execution(
            "filled", shares, 0, cost, fee, (fill,), signed, 0, (price, MICRO - price), resting=False
        )  # fmt: skip
        placed = OrderPlaced(
            "m", account, f"o{len(self.log)}", "k", "Yes", side, "market", shares, None, None, "IOC", None,
            post_only=False, reduce_only=False, resolution_version=1, execution=execution,
        )  # fmt: skip
        self.add(f"account-{account}", settled)
        self.add("market-m", placed)

    def finalize(self, fraction: int, **shares: int) -> None:
        """Pay `fraction` for each share of Yes, to accounts that hold so many."""
        payouts = (Payout("Yes", fraction), Payout("No", MICRO - fraction))
        self.add("market-m", MarketClosed("m", "operator", (500_000, 500_000)))
        self.add("market-m", MarketFinalized("m", payouts))
        self.pay(fraction, **shares)

    def pay(self, fraction: int, **shares: int) -> None:
        """Pay all holders."""
        for account, held in shares.items():
            paid = PayoutPaid(account, "m", (SharesPaid("Yes", held),), held * fraction // MICRO)
            self.add(f"account-{account}", paid)
        self.add("market-m", MarketSettled("m", 0))

    def correct(self, before: int, fraction: int, **shares: int) -> None:
        """Take back what was paid and pay another fraction."""
        payouts = (Payout("Yes", fraction), Payout("No", MICRO - fraction))
        self.add("market-m", MarketCorrected("m", payouts, Evidence("was wrong"), 0))
        for account, held in shares.items():
            taken = PayoutReversed(account, "m", (SharesPaid("Yes", held),), held * before // MICRO)
            self.add(f"account-{account}", taken)
        self.add("market-m", MarketReversed("m"))
        self.pay(fraction, **shares)


def folded(read_models: ReadModels, story: Story) -> Copy:
    """Return all read models of a log."""
    return read_models.copy().fold(story.log, 5000)


def position(copy: Copy, account: str) -> positions.Position:
    """Return an account's position in Yes."""
    with read(copy.connection, *PROJECTIONS) as as_of:
        (found,) = positions.account_positions(copy.connection, as_of, account, closed=True)
    return found


def test_cost_basis_and_profit_of_a_position(read_models: ReadModels) -> None:
    """10 shares for 5 and 5 for 4 are 15 for 9, 0.6 each; 5 sold for 4 with a fee of 0.1 realize 4 - 3 - 0.1."""
    story = Story("a")
    story.trade("a", "buy", 10 * MICRO, 5 * MICRO, 550_000)
    story.trade("a", "buy", 5 * MICRO, 4 * MICRO, 800_000)
    story.trade("a", "sell", 5 * MICRO, 4 * MICRO, 700_000, fee=100_000)
    found = position(folded(read_models, story), "a")

    assert (found.shares, found.cost_basis, found.average_price) == (10 * MICRO, 6 * MICRO, 600_000)
    assert (found.realized, found.fees) == (900_000, 100_000)
    assert (found.value, found.unrealized) == (7 * MICRO, 1 * MICRO)
    assert (found.volume, found.buys) == (13 * MICRO, 9 * MICRO)


def test_the_basis_part_is_rounded_half_even_and_the_last_sale_takes_the_rest() -> None:
    """Basis 5 of 2 shares: the first sold share takes 2 (2.5 to the even), the last 3; in all nothing is lost."""
    row: Any = PositionRow(0, "a", "m", "Yes", 2, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, True, 0)
    cost_basis.trade(row, "sell", 1, 10, 0)
    assert (row.shares, row.cost_basis, row.realized) == (1, 3, 8)
    cost_basis.trade(row, "sell", 1, 10, 0)
    assert (row.shares, row.cost_basis, row.realized) == (0, 0, 15)


def test_parts_of_sets_and_payouts_sum_to_the_whole() -> None:
    """10 over 3 outcomes are 4, 3, 3; payouts of 1.5 and 1.5 micro-credits are 1 and 2, the whole of 3."""
    assert split_evenly(10, 3) == [4, 3, 3]
    assert payout_parts([3, 3], [500_000, 500_000]) == [1, 2]


def test_settlement_and_correction(read_models: ReadModels) -> None:
    """10 shares for 6: paid 1 each they realize 4; corrected to 0.25 each, -3.5, as if it had been so from the start."""
    story = Story("a")
    story.trade("a", "buy", 10 * MICRO, 6 * MICRO, 600_000)
    story.finalize(MICRO, a=10 * MICRO)
    found = position(folded(read_models, story), "a")
    assert (found.shares, found.cost_basis, found.realized) == (0, 0, 4 * MICRO)

    story.correct(MICRO, 250_000, a=10 * MICRO)
    copy = folded(read_models, story)
    assert position(copy, "a").realized == -3_500_000
    with read(copy.connection, *PROJECTIONS) as as_of:
        kinds = [(s.kind, s.amount) for s in positions.settlements(copy.connection, as_of, "a")]
    assert kinds == [("payout", 2_500_000), ("reversal", -10 * MICRO), ("payout", 10 * MICRO)]


def test_traders_and_open_interest_follow_the_trades_and_end_with_the_market(read_models: ReadModels) -> None:
    """An account counts from its first trade on, once; no share is open from the moment on that the market is finalized."""
    story = Story("a", "b")
    trades: list[tuple[str, Side, int, int]] = [
        ("a", "buy", 1, 2),
        ("a", "buy", 1, 4),
        ("b", "buy", 2, 6),
        ("a", "sell", 2, 4),
    ]
    expected = []
    for account, side, traders, interest in trades:
        story.trade(account, side, 2 * MICRO, 1 * MICRO, 500_000)
        expected.append((len(story.log), traders, [interest * MICRO, 0]))
    story.finalize(MICRO, a=2 * MICRO, b=2 * MICRO)
    ends = [recorded.position for recorded in story.log if recorded.position > expected[-1][0] + 1]
    story.correct(MICRO, 0, a=2 * MICRO, b=2 * MICRO)
    ends += [recorded.position for recorded in story.log if recorded.position > ends[-1]]
    expected += [(position, 2, [0, 0]) for position in ends]
    copy = folded(read_models, story)

    found = []
    for at, _, _ in expected:
        with read(copy.connection, *PROJECTIONS, at=at) as as_of:
            market = markets.get_market(copy.connection, as_of, "m")
            assert market is not None
            found.append((at, market.traders, market.open_interest))
    assert found == expected


def test_candles_of_ticks_and_gaps(read_models: ReadModels) -> None:
    """Ticks 0.5, 0.6 | 0.4, 0.7 | none | 0.65 by minute make these candles; the gap carries 0.7, the end is exclusive."""
    story = Story("a")
    story.time = MONDAY + MINUTE - 1
    story.trade("a", "buy", 10, 6, 600_000)
    story.time = MONDAY + MINUTE
    story.trade("a", "sell", 5, 2, 400_000)
    story.trade("a", "buy", 5, 3, 700_000)
    story.time = MONDAY + 3 * MINUTE
    story.trade("a", "sell", 1, 1, 650_000)
    copy = folded(read_models, story)
    with read(copy.connection, *PROJECTIONS) as as_of:
        found = candles.candles(copy.connection, as_of, "m", 0, "1m", MONDAY, MONDAY + 10 * MINUTE)
        (day,) = candles.candles(copy.connection, as_of, "m", 1, "1d", MONDAY, MONDAY + DAY)

    assert [
        candles.Candle(MONDAY, MONDAY + MINUTE, 500_000, 600_000, 500_000, 600_000, None, 6, 10, 1),
        candles.Candle(MONDAY + MINUTE, MONDAY + 2 * MINUTE, 400_000, 700_000, 400_000, 700_000, 600_000, 5, 10, 2),
        candles.Candle(MONDAY + 2 * MINUTE, MONDAY + 3 * MINUTE, None, None, None, None, 700_000, 0, 0, 0),
        candles.Candle(MONDAY + 3 * MINUTE, MONDAY + 4 * MINUTE, 650_000, 650_000, 650_000, 650_000, 700_000, 1, 1, 1),
    ] == found
    assert (day.open, day.high, day.low, day.close, day.trades) == (500_000, 600_000, 300_000, 350_000, 0)


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
    with read(copy.connection, *leaderboard.NEEDS) as as_of:
        rows = leaderboard.leaderboard(copy.connection, as_of, **asked)
    return [(row.rank, row.account_id, row.pnl / MICRO, row.realized / MICRO, row.unrealized / MICRO) for row in rows]


def test_equal_profits_share_a_rank_and_the_next_one_skips(week: Copy) -> None:
    """a: 1.5 realized and 5 * 0.8 - 2.5; b and c: 8 - 6; d: 8 - 8."""
    assert standings(week) == [(1, "a", 3.0, 1.5, 1.5), (2, "b", 2.0, 0, 2.0), (2, "c", 2.0, 0, 2.0), (4, "d", 0, 0, 0)]


def test_a_window_counts_from_its_start(week: Copy) -> None:
    """On Tuesday at 0:00 all were valued at 0.6: a 1, b and c 0. What came since is the day's; of d only its trade."""
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
    """Volume is what the fills cost: a 9, d 8, b and c 6. Return is profit by purchases: a 3/5, b and c 2/6, d 0/8."""
    with read(week.connection, *leaderboard.NEEDS) as as_of:
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
    with read(copy.connection, *leaderboard.NEEDS) as as_of:
        found = leaderboard.leaderboard(copy.connection, as_of, sort="brier")
    assert [(row.rank, row.account_id, row.brier) for row in found] == [(1, "b", 10_000), (2, "a", 70_000)]

    story.correct(MICRO, 0, a=6 * MICRO, b=MICRO)
    copy = folded(read_models, story)
    for window in leaderboard.WINDOWS:
        with read(copy.connection, *leaderboard.NEEDS) as as_of:
            found = leaderboard.leaderboard(copy.connection, as_of, sort="brier", window=window)
        assert [(row.rank, row.account_id, row.brier) for row in found] == [(1, "a", 570_000), (2, "b", 810_000)]


def test_calibration_of_one_market(read_models: ReadModels) -> None:
    """Yes at 0.8 paid 1: both outcomes err by 0.2, so Brier is 0.04; the log score is -ln 0.8 = 0.223143."""
    story = Story("a")
    story.trade("a", "buy", 10 * MICRO, 6 * MICRO, 700_000)
    story.time = MONDAY + 2 * DAY
    story.trade("a", "buy", 10 * MICRO, 6 * MICRO, 800_000)
    story.finalize(MICRO, a=20 * MICRO)
    copy = folded(read_models, story)
    with read(copy.connection, *PROJECTIONS) as as_of:
        found = calibration.calibration(copy.connection, as_of)

    close, day, week = found.horizons
    assert (found.markets, close.markets, close.outcomes, close.brier, close.log_score) == (1, 1, 2, 40_000, 223_143)
    assert (day.brier, week.brier) == (90_000, None)
    assert [
        (i, decile.count, decile.mean_price, decile.mean_outcome)
        for i, decile in enumerate(close.deciles)
        if decile.count
    ] == [(2, 1, 200_000, 0), (8, 1, 800_000, MICRO)]


def test_windows_begin_in_utc() -> None:
    """Wednesday 2024-10-30 12:00 lies in the week of Monday the 28th and the month of the 1st."""
    noon = MONDAY + 9 * DAY + DAY // 2

    assert tuple(window_start(window, noon) for window in leaderboard.WINDOWS) == (
        MONDAY + 9 * DAY,
        MONDAY + 7 * DAY,
        MONDAY - 20 * DAY,
        None,
    )
