"""As of then: an answer about the past is the answer of a read model that had stopped there."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, get_args

import pytest

from projections import accounts, book, calibration, candles, equity, orders, statements, stories
from projections.machine.advance import advance
from projections.machine.batch import Batch
from projections.markets import listing, markets, prices
from projections.positions import leaderboard, positions
from projections.positions.withheld import withheld
from projections.reading import AsOf, NotYetProjected, UnknownProjection, read
from projections.registry import PROJECTIONS
from projections.trades import trades
from tests.projections.reading_candles import outcome_candles
from tests.projections.simulation import HOUR, START, Simulation, simulate

if TYPE_CHECKING:
    from psycopg import Connection

    from tests.projections.folding import ReadModels

NAMES = tuple(PROJECTIONS)


def answers(connection: Connection[Any], as_of: AsOf) -> dict[str, Any]:
    """Return what all queries that know the past say."""
    found: dict[str, Any] = {}
    listed = listing.newest(connection, as_of, limit=1000)
    found["markets"] = listed
    found["active"] = listing.newest(connection, as_of, listing.Filter(statuses=["active"]), limit=1000)
    for sort in ("volume", "closing", "movement"):
        found[sort] = listing.ranked(connection, as_of, sort, limit=1000)
    for text in ("happen", "wording", "category0 or yes"):
        found[f"with {text}"] = listing.ranked(connection, as_of, "relevance", listing.Filter(text=text), limit=1000)
        found[f"stories with {text}"] = stories.list_stories(connection, as_of, text=text)
    found["changes"] = listing.changes(connection, as_of, listed)
    found["sparklines"] = listing.sparklines(connection, as_of, [market.market_id for market in listed])
    found["stories"] = stories.list_stories(connection, as_of)
    found["prices"] = prices.latest(connection, as_of, [market.market_id for market in listed])
    for market in listed:
        name = market.market_id
        found[f"{name} alone"] = markets.get_market(connection, as_of, market.slug)
        found[f"{name} resolutions"] = markets.resolutions(connection, as_of, name)
        found[f"{name} book"] = book.book(connection, as_of, market)
        found[f"{name} trades"] = trades.market_trades(connection, as_of, name, limit=1000)
        found[f"{name} holders"] = positions.holders(connection, as_of, name)
        found[f"{name} ticks"] = prices.histories(connection, as_of, name, [0])
        found[f"{name} hours"] = prices.histories(connection, as_of, name, [1], fidelity=60)
        found[f"{name} since"] = prices.histories(
            connection, as_of, name, [1], start=START + 90 * HOUR, end=START + 150 * HOUR
        )
        for outcome in range(len(market.outcomes)):
            found |= candles_of(connection, as_of, name, outcome)
    everybody = accounts.list_accounts(connection, as_of)
    found["accounts"] = everybody
    found["orders"] = every = orders.all_orders(connection, as_of, limit=10_000)
    found["order"] = [orders.get_order(connection, as_of, order.order_id) for order in every]
    for wanted in (orders.Wanted(is_open=True), orders.Wanted("m0"), orders.Wanted(statuses=["canceled", "filled"])):
        found[f"orders {wanted}"] = orders.all_orders(connection, as_of, wanted=wanted, limit=10_000)
    found["tape"] = trades.tape(connection, as_of, limit=10_000)
    for account in everybody:
        name = account.account_id
        found[f"{name} alone"] = accounts.get_account(connection, as_of, account.name)
        found[f"{name} positions"] = positions.account_positions(connection, as_of, name, closed=True)
        found[f"{name} kept"] = withheld(connection, as_of, name), statements.posted_bonds(connection, as_of, name)
        found[f"{name} orders"] = orders.account_orders(connection, as_of, name, limit=1000)
        found[f"{name} open orders"] = orders.account_orders(
            connection, as_of, name, wanted=orders.Wanted(is_open=True), limit=1000
        )
        found[f"{name} settlements"] = positions.settlements(connection, as_of, name)
        found[f"{name} fills"] = trades.account_fills(connection, as_of, name, limit=1000)
        found[f"{name} statement"] = statements.statement(connection, as_of, name, limit=1000)
        found[f"{name} equity"] = equity.equity_history(
            connection, as_of, name, start=START, end=START + 1000 * HOUR, step=24 * HOUR
        )
    for sort in leaderboard.SORTS:
        for window in get_args(leaderboard.Window):
            for category in (None, "category0"):
                found[f"leaderboard {sort} {window} {category}"] = leaderboard.leaderboard(
                    connection, as_of, sort=sort, window=window, category=category
                )
    found["ledger"] = accounts.ledger_sums(connection, as_of)
    found["calibration"] = calibration.calibration(connection, as_of)
    return found


def candles_of(connection: Connection[Any], as_of: AsOf, market_id: str, outcome: int) -> dict[str, Any]:
    """Return an outcome's candles of every period: all up to far in the future, and from the running one on."""
    found: dict[str, Any] = {}
    for period, length in candles.PERIODS.items():
        for start in {max(START, as_of.time - 1000 * length), as_of.time}:
            found[f"{market_id} {outcome} {period} since {start}"] = outcome_candles(
                connection, as_of, market_id, outcome, period, start, START + 1000 * 24 * HOUR
            )
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_past_is_what_a_stopped_read_model_says(read_models: ReadModels, seed: int) -> None:
    """Markets, prices, books, positions, accounts, trades, leaderboards and calibration of any position or time."""
    log = simulate(seed, 900)
    whole = read_models.copy().fold(log, 5000)
    stopped = read_models.copy()
    chosen = random.Random(seed)  # noqa: S311  repeatable
    at = 0
    for stop in sorted(chosen.sample(range(30, len(log) + 1), 4)):
        stopped.fold(log[at:stop], 5000)
        at = stop
        with read(stopped.connection, *NAMES) as as_of:
            assert AsOf(stop, log[stop - 1].time, past=False) == as_of
            expected = answers(stopped.connection, as_of)
        with read(whole.connection, *NAMES, at=stop) as as_of:
            assert (stop, log[stop - 1].time, True) == (as_of.position, as_of.time, as_of.past)
            found = answers(whole.connection, as_of)
        for name, answer in expected.items():
            assert answer == found[name], name


def test_ahead_and_unknown_are_refused(read_models: ReadModels) -> None:
    """A position that is not projected yet is refused by number, a read model that is not there by name."""
    log = simulate(1, 5)
    copy = read_models.copy(["stories", "timeline"]).fold(log, 64)

    with pytest.raises(NotYetProjected) as refused, read(copy.connection, "stories", at=len(log) + 1):
        pass
    assert (len(log) + 1, len(log)) == (refused.value.position, refused.value.reached)
    with pytest.raises(UnknownProjection, match="orders"), read(copy.connection, "orders"):
        pass


def test_read_models_apart_answer_as_of_the_one_behind(read_models: ReadModels) -> None:
    """Where one read model is ahead of another, both answer as of the position that both have."""
    log = simulate(2, 400)
    copy = read_models.copy().fold(log[:700], 5000)
    expected = read_models.copy().fold(log[:700], 5000)
    for projection in copy.projections:
        if projection.name in {"positions", "markets"}:
            advance(copy.connection, projection, copy.workspaces[projection.name], [Batch(0, log[700:])])

    with read(copy.connection, *NAMES) as as_of, read(expected.connection, *NAMES) as now:
        assert (as_of.position, as_of.past) == (700, True)
        found = answers(copy.connection, as_of)
        for name, answer in answers(expected.connection, now).items():
            assert answer == found[name], name


@pytest.mark.parametrize("seed", range(3))
def test_candles_of_the_past_end_at_its_position(read_models: ReadModels, seed: int) -> None:
    """In a dense log, most positions lie in a minute, hour and day in which more is traded later."""
    log = Simulation(seed, pace=20_000_000).run(400)
    names = ("candles", "markets", "trades", "timeline")
    whole = read_models.copy(names).fold(log, 5000)
    stopped = read_models.copy(names)
    at = 0
    for stop in sorted(random.Random(seed).sample(range(20, len(log) + 1), 25)):  # noqa: S311  repeatable
        stopped.fold(log[at:stop], 5000)
        at = stop
        with (
            read(stopped.connection, *names) as now,
            read(whole.connection, *names, at=stop) as past,
        ):
            for market in listing.newest(stopped.connection, now, limit=1000):
                for outcome in range(len(market.outcomes)):
                    expected = candles_of(stopped.connection, now, market.market_id, outcome)
                    assert expected == candles_of(whole.connection, past, market.market_id, outcome), stop
