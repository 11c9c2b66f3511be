"""What markets count, against numbers that were computed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from domain.lmsr import liquidity
from domain.market import SUBSIDY_MAX, AddLiquidity, OpenMarket
from domain.money import MICRO
from projections.markets import markets
from projections.reading import read
from projections.registry import PROJECTIONS
from tests.projections.by_hand import Story, folded
from tests.projections.simulation import HOUR, Simulation

if TYPE_CHECKING:
    from domain.book import Side
    from tests.projections.folding import ReadModels


def test_traders_and_open_interest_follow_the_trades_and_end_with_the_market(read_models: ReadModels) -> None:
    """An account counts once, from its first trade on; no share is open once the market is finalized."""
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


def test_the_largest_subsidy(read_models: ReadModels) -> None:
    """The liquidity of two outcomes with ten million credits is above 64 bits, at once or added: now and in the past."""
    simulation = Simulation(1)
    for name, subsidy in (("large", SUBSIDY_MAX), ("grown", 1000 * MICRO)):
        close_time = simulation.time + HOUR
        simulation.send(OpenMarket(name, "s0", name, "?", ("Yes", "No"), subsidy, close_time, "Reuters"))
    simulation.send(AddLiquidity("grown", SUBSIDY_MAX - 1000 * MICRO))
    copy = read_models.copy().fold(simulation.log, 500)
    b = liquidity(SUBSIDY_MAX, (0.5, 0.5))
    assert b > 1 << 63

    with psycopg.connect(read_models.dsn, autocommit=True, options="-c search_path=copy1") as connection:
        for at in (None, len(simulation.log) - 1):
            with read(connection, *PROJECTIONS, at=at) as as_of:
                large, grown = (markets.get_market(connection, as_of, name) for name in ("large", "grown"))
            assert large is not None
            assert grown is not None
            assert (type(large.liquidity), large.liquidity) == (int, b)
            assert grown.liquidity == simulation.exchange.markets["grown"].liquidity > 1 << 63
    assert copy.connection.execute("SELECT count(*) FROM projection_parked").fetchone() == (0,)
