"""Read models are a pure fold of the log: the same bytes whatever the batches, from zero or from a checkpoint."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from psycopg.errors import UniqueViolation

from domain.account import CashDeposited
from domain.assignments import PartitionAssigned
from domain.events import EVENT_TYPES
from domain.story import StoryPublished
from domain.transfers import BalanceOpened, FundsCarried, FundsReceived, FundsSent
from projections.machine import rows as rows_module
from projections.machine.advance import advance
from projections.machine.batch import Batch
from projections.machine.store import make_indexes
from tests.projections.folding import assert_same
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from tests.projections.folding import ReadModels

SEEDS = range(3)


OF_SEVERAL_PARTITIONS = {FundsSent, FundsReceived, FundsCarried, BalanceOpened, PartitionAssigned}
"""Read models refuse a log that can have them."""


def test_simulated_logs_contain_every_event_type() -> None:
    """The logs of these tests leave no event type of one partition out, so that no fold goes untested."""
    seen = {type(recorded.event) for seed in SEEDS for recorded in simulate(seed, 1500)}

    assert set(EVENT_TYPES) - seen == OF_SEVERAL_PARTITIONS


@pytest.mark.parametrize("seed", SEEDS)
def test_batches_of_any_size_give_the_same_bytes(read_models: ReadModels, seed: int) -> None:
    """A log folded in batches of 7, of 5,000, and of random sizes with restarts in between gives the same rows."""
    log = simulate(seed, 1200)
    whole = read_models.copy().fold(log, 5000)

    assert_same(whole, read_models.copy().fold(log, 7))

    chosen = random.Random(seed)  # noqa: S311  repeatable
    pieces = read_models.copy()
    at = 0
    while at < len(log):
        size = chosen.choice([1, 2, 100, 1000])
        pieces.fold(log[at : at + size], size)
        at += size
        if chosen.random() < 0.5:
            pieces.restart()
    assert_same(whole, pieces)


@pytest.mark.parametrize("rows", [30, 200, 300_000])
@pytest.mark.parametrize("seed", SEEDS)
def test_many_batches_in_a_transaction_give_the_same_bytes(
    read_models: ReadModels, monkeypatch: pytest.MonkeyPatch, seed: int, rows: int
) -> None:
    """A log folded many batches at a time gives the same rows, however few of them may stay in memory."""
    log = simulate(seed, 1200)
    whole = read_models.copy().fold(log, 5000)

    monkeypatch.setattr(rows_module, "ROWS_IN_MEMORY_MAX", rows)
    assert_same(whole, read_models.copy().fold(log, 40, together=6))


def test_one_event_at_a_time_gives_the_same_bytes(read_models: ReadModels) -> None:
    """A log folded event by event gives the same rows as the whole of it at once."""
    log = simulate(4, 250)

    assert_same(read_models.copy().fold(log, 5000), read_models.copy().fold(log, 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_comes_again_changes_nothing(read_models: ReadModels, seed: int) -> None:
    """Every batch delivered twice, and batches that overlap, give the same rows as each event once."""
    log = simulate(seed, 600)
    twice = read_models.copy()
    for start in range(0, len(log), 50):
        twice.fold(log[max(0, start - 30) : start + 50], 80)
        twice.fold(log[start : start + 50], 50)

    assert_same(read_models.copy().fold(log, 5000), twice)


def test_a_failed_batch_leaves_no_trace(read_models: ReadModels) -> None:
    """A batch that fails at its end leaves rows and memory as they were; what follows is folded as if it had not been."""
    log = simulate(1, 400)
    copy = read_models.copy(["accounts", "stories"]).fold(log[:600], 100)
    for projection in copy.projections:
        make_indexes(copy.connection, projection)
    before = copy.digests()
    again = {projection.name: projection for projection in copy.projections}
    end = replace(log[699], position=log[699].position + 1)
    published = next(recorded for recorded in log if isinstance(recorded.event, StoryPublished))
    for name, event in (("accounts", CashDeposited("nobody", 1)), ("stories", published.event)):
        failing = Batch(0, [*log[600:700], replace(end, event=event)])
        with pytest.raises((KeyError, UniqueViolation)):
            advance(copy.connection, again[name], copy.workspaces[name], [failing])
    assert before == copy.digests()

    assert_same(read_models.copy(["accounts", "stories"]).fold(log, 5000), copy.fold(log[600:], 100))
