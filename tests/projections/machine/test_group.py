"""Folding together gives what folding alone gives, whoever fails, leaves or comes."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from msgspec.structs import replace as changed
from psycopg.errors import CheckViolation

from domain.account import CashDeposited
from domain.story import StoryPublished
from local.processes import polls
from projections.machine import group as group_module
from projections.machine import rows as rows_module
from projections.machine.advance import BusyError, LogGapError, Member, advance_together
from projections.machine.batch import Batch
from projections.machine.group import Group, rest_seconds
from projections.machine.log_reader import LogReader
from projections.machine.store import connect, position_of, try_lock
from projections.machine.workspace import Workspace
from projections.registry import PROJECTIONS
from tests.projections.folding import Copy, assert_same
from tests.projections.logs import Log
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.events import Recorded
    from projections.machine.pipeline import PipelineConnection
    from projections.machine.projection import Projection
    from tests.projections.folding import ReadModels

WAIT = 30.0


def members_of(copy: Copy) -> list[Member]:
    """Return the read models of a copy as members of a group, with the memory that the copy has of them."""
    return [Member(projection, copy.workspaces[projection.name]) for projection in copy.projections]


def fold_together(copy: Copy, log: Sequence[Recorded], size: int) -> Copy:
    """Fold a log in batches of this size, each into all read models in one transaction."""
    for start in range(0, len(log), size):
        advance_together(copy.connection, members_of(copy), Batch(0, log[start : start + size]), gapless=True)
    return copy


@pytest.mark.parametrize(("size", "commands"), [(1, 150), (7, 500), (60, 900), (5000, 1200)])
def test_together_and_alone_give_the_same_bytes(read_models: ReadModels, size: int, commands: int) -> None:
    """A log folded in batches of any size into all read models at once gives the rows that each has alone."""
    log = simulate(2, commands)

    assert_same(read_models.copy().fold(log, 5000), fold_together(read_models.copy(), log, size))


def test_members_at_different_positions_are_each_given_what_is_theirs(read_models: ReadModels) -> None:
    """Read models that come and go between batches, with and without their memory, end with the rows of the log."""
    log = simulate(3, 600)
    chosen = random.Random(3)  # noqa: S311  repeatable
    copy = read_models.copy()
    at = 0
    while at < len(log):
        size = chosen.choice([1, 2, 9, 40])
        present = [member for member in members_of(copy) if chosen.random() < 0.7]
        begin = min((member.workspace.position for member in present), default=at)
        if present:
            advance_together(copy.connection, present, Batch(0, log[begin : at + size]), gapless=True)
        if chosen.random() < 0.1:
            copy.restart()
            for member in members_of(copy):
                member.workspace.position, _ = position_of(copy.connection, member.projection.name)
        at += size
    fold_together(copy, log, len(log))

    assert_same(read_models.copy().fold(log, 5000), copy)


@pytest.mark.parametrize("culprit", ["accounts", "stories"])
def test_a_member_that_fails_is_named_and_nothing_is_changed(read_models: ReadModels, culprit: str) -> None:
    """An error of a fold, or of a statement in the pipeline, names its read model; then all are as they were."""
    log = simulate(1, 300)
    copy = fold_together(read_models.copy(), log[:400], 50)
    before = copy.digests()
    copy.connection.execute("ALTER TABLE stories ADD CONSTRAINT never CHECK (false) NOT VALID")
    published = next(one.event for one in log if isinstance(one.event, StoryPublished))
    event = CashDeposited("nobody", 1) if culprit == "accounts" else changed(published, story_id="new", slug="new")
    wrong = Batch(0, [*log[400:449], changed(log[449], event=event)])

    with pytest.raises((KeyError, CheckViolation)) as raised:
        advance_together(copy.connection, members_of(copy), wrong)

    assert raised.value.owner == culprit  # type: ignore[attr-defined]
    copy.connection.execute("ALTER TABLE stories DROP CONSTRAINT never")
    assert before == copy.digests()
    assert_same(read_models.copy().fold(log, 5000), fold_together(copy, log[400:], 30))


def test_a_read_model_that_somebody_holds_is_named_at_once(read_models: ReadModels, database: str) -> None:
    """A transaction of several waits for none of them; a gap in the log is an error of its first member."""
    log = simulate(1, 100)
    copy = fold_together(read_models.copy(["markets", "orders", "stories"]), log[:100], 50)
    with connect(database, "copy1") as other, other.transaction():
        other.execute("SELECT FROM projection_positions WHERE projection = 'orders' FOR UPDATE")
        with pytest.raises(BusyError) as raised:
            advance_together(copy.connection, members_of(copy), Batch(0, log[100:110]))
    assert raised.value.owner == "orders"  # type: ignore[attr-defined]
    with pytest.raises(LogGapError):
        advance_together(copy.connection, members_of(copy), Batch(0, log[101:110]), gapless=True)

    assert_same(read_models.copy(["markets", "orders", "stories"]).fold(log, 5000), fold_together(copy, log[100:], 9))


class Transactions:
    """Notes each transaction."""

    def __init__(self) -> None:
        self.all: list[tuple[Sequence[str], int, int, float]] = []

    def note(self, position: int, headers: Sequence[tuple[str, bytes]]) -> None:
        """Take no notice."""

    def folded(self, names: Sequence[str], after: int, position: int, seconds: float) -> None:
        """Note a transaction."""
        self.all.append((names, after, position, seconds))


class Grouped:
    """A group that follows a log in memory, and read models whose threads join it."""

    def __init__(self, dsn: str, copy: Copy, log: Log, traces: Transactions | None = None) -> None:
        self.copy = copy
        self.ours = {projection.name for projection in copy.projections}
        self.reader = LogReader(log)
        self.group = Group(
            connect=lambda: self._connect(dsn),
            log=self.reader,
            is_ours=self.ours.__contains__,
            check=lambda connection, _: connection.execute("SELECT 1"),
            schema="copy1",
            gapless=True,
            traces=traces,
        )
        self.group.start()
        self.threads: dict[str, threading.Thread] = {}

    @staticmethod
    def _connect(dsn: str) -> PipelineConnection:
        return connect(dsn, "copy1")

    def join(self, projection: Projection) -> None:
        """Let a read model join, in a thread of its own that ends when it has left."""
        member = Member(projection, Workspace(projection.tables))
        thread = self.threads[projection.name] = threading.Thread(target=self.group.follow, args=[member])
        thread.start()

    def positions(self) -> dict[str, int]:
        """Return where each read model is."""
        return {one.name: position_of(self.copy.connection, one.name)[0] for one in self.copy.projections}

    def close(self) -> None:
        """Stop everything; whoever is a member leaves."""
        self.reader.stop()
        self.group.stop()
        for thread in self.threads.values():
            thread.join(WAIT)
            assert not thread.is_alive()


def reach(grouped: Grouped, position: int, names: set[str]) -> bool:
    """Wait until these read models are at a position."""
    return any(all(grouped.positions()[name] == position for name in names) for _ in polls(WAIT))


def test_members_join_fold_together_and_leave(read_models: ReadModels, database: str) -> None:
    """A read model that is no longer ours leaves with its lock, the others go on; whoever fails stays out for a while."""
    events = simulate(4, 200)
    log = Log()
    grouped = Grouped(database, read_models.copy(["markets", "orders", "stories"]), log)
    try:
        markets, orders, stories = grouped.copy.projections
        for projection in (markets, orders, stories):
            grouped.join(projection)
        log.write(events[:150])
        assert reach(grouped, 150, {"markets", "orders", "stories"})
        assert grouped.group.members == {"markets", "orders", "stories"}
        with connect(database, "copy1") as other:
            assert not try_lock(other, "orders", schema="copy1")
            grouped.ours.discard("orders")
            grouped.threads["orders"].join(WAIT)
            assert try_lock(other, "orders", schema="copy1")
            log.write(events[150:300])
            assert reach(grouped, 300, {"markets", "stories"})
            assert grouped.positions()["orders"] == 150
            grouped.ours.add("orders")
            grouped.join(orders)  # somebody else has its lock: it is not let in
            grouped.threads["orders"].join(WAIT)
        grouped.join(orders)
        assert reach(grouped, 300, {"orders"})

        def fail(batch: Batch, workspace: Workspace) -> None:
            raise ValueError("cannot fold this")

        grouped.ours.discard("stories")
        grouped.threads["stories"].join(WAIT)
        grouped.ours.add("stories")
        grouped.join(replace(stories, fold=fail))
        for _ in polls(WAIT):
            if "stories" in grouped.group.members:
                break
        log.write(events[300:])
        for thread in grouped.threads.values():  # the group has dissolved
            thread.join(WAIT)
        assert not grouped.group.may_join("stories")
        assert grouped.group.may_join("orders")
        assert set(grouped.positions().values()) == {300}
        grouped.join(markets)
        grouped.join(orders)
        assert reach(grouped, len(events), {"markets", "orders"})
    finally:
        grouped.close()
    copy = fold_together(grouped.copy, events, 5000)
    assert_same(read_models.copy(["markets", "orders", "stories"]).fold(events, 5000), copy)


def test_the_group_goes_on_while_tables_are_analyzed(
    read_models: ReadModels, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that has grown is analyzed, however long that takes: the next batches do not wait for it."""
    monkeypatch.setattr(rows_module, "ANALYZE_ROWS", 10)
    events = simulate(6, 200)
    log = Log()
    grouped = Grouped(database, read_models.copy(["log_index", "orders"]), log)
    try:
        with connect(database, "copy1") as other:
            with other.transaction():
                other.execute("LOCK TABLE log_index IN SHARE UPDATE EXCLUSIVE MODE")  # as ANALYZE does
                for projection in grouped.copy.projections:
                    grouped.join(projection)
                for begin, end in ((0, 100), (100, 150), (150, len(events))):
                    log.write(events[begin:end])
                    assert reach(grouped, end, grouped.ours)
                analyzed = "SELECT reltuples > 0 FROM pg_class WHERE oid = 'log_index'::regclass"
                assert other.execute(analyzed).fetchone() == (False,)
            assert any(other.execute(analyzed).fetchone() == (True,) for _ in polls(WAIT))
    finally:
        grouped.close()


def test_an_error_of_ours_in_analyzing_tables_is_told(
    read_models: ReadModels, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the group is told of a table to analyze that is not there; a database that is away is outlived."""
    monkeypatch.setattr(rows_module, "ANALYZE_ROWS", 10)
    events = simulate(6, 200)
    log = Log()
    away = iter([psycopg.OperationalError("away")])

    def connect_to_tables(dsn: str) -> PipelineConnection:
        if threading.current_thread().name.startswith("analyze") and (error := next(away, None)):
            raise error
        connection = connect(dsn, "copy1")
        if threading.current_thread().name.startswith("analyze"):
            connection.execute("SET search_path = nowhere")
        return connection

    monkeypatch.setattr(Grouped, "_connect", staticmethod(connect_to_tables))
    grouped = Grouped(database, read_models.copy(["log_index"]), log)
    try:
        grouped.join(grouped.copy.projections[0])
        log.write(events[:100])
        assert reach(grouped, 100, grouped.ours)
        assert grouped.group.problem() is None
        log.write(events[100:])
        assert reach(grouped, len(events), grouped.ours)
        assert any(grouped.group.problem() for _ in polls(WAIT))
        assert "UndefinedTable" in (grouped.group.problem() or "")
    finally:
        grouped.close()


def test_the_rows_in_memory_are_bounded(
    read_models: ReadModels, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the members follow the log, they have at most so many rows in memory; what they write is the same."""
    monkeypatch.setattr(group_module, "ROWS_MAX", 150)
    monkeypatch.setattr(group_module, "COUNT_SECONDS", 0.0)
    events = simulate(5, 300)
    log = Log()
    grouped = Grouped(database, read_models.copy(["markets", "orders", "stories"]), log)
    most = 0
    try:
        for projection in grouped.copy.projections:
            grouped.join(projection)
        for start in range(0, len(events), 25):
            log.write(events[start : start + 25])
            assert reach(grouped, min(start + 25, len(events)), grouped.ours)
            most = max(most, grouped.group.rows_in_memory)
    finally:
        grouped.close()
    assert 50 < most <= 150 + 25 * 10  # between a transaction and the look at its memory
    assert_same(read_models.copy(["markets", "orders", "stories"]).fold(events, 5000), grouped.copy)


def test_much_is_folded_in_transactions_of_a_bounded_size(
    read_models: ReadModels, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many events have come at once, readers see each part of them as soon as it is folded."""
    monkeypatch.setattr(group_module, "TRANSACTION_EVENTS_MAX", 50)
    events = simulate(6, 300)
    log, transactions = Log(), Transactions()
    grouped = Grouped(database, read_models.copy(["markets", "orders"]), log, transactions)
    try:
        for projection in grouped.copy.projections:
            grouped.join(projection)
        assert any(grouped.group.members == grouped.ours for _ in polls(WAIT))
        log.write(events)
        assert reach(grouped, len(events), grouped.ours)
    finally:
        grouped.close()
    sizes = [position - after for _, after, position, _ in transactions.all]
    assert sum(sizes) == len(events)
    assert max(sizes) == 50
    assert_same(read_models.copy(["markets", "orders"]).fold(events, 5000), grouped.copy)


def test_what_is_too_much_is_left_to_each_alone(
    read_models: ReadModels, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch above the bound dissolves the group before anything of it is folded."""
    monkeypatch.setattr(group_module, "TOGETHER_EVENTS_MAX", 100)
    log = Log()
    grouped = Grouped(database, read_models.copy(["markets", "orders", "stories"]), log)
    try:
        log.write(simulate(4, 200))
        for projection in grouped.copy.projections:
            grouped.join(projection)
        for thread in grouped.threads.values():
            thread.join(WAIT)
        assert set(grouped.positions().values()) == {0}
        assert all(grouped.group.may_join(name) for name in PROJECTIONS)
    finally:
        grouped.close()


@pytest.mark.parametrize(
    ("events", "gathered", "took", "rest"),
    [
        (1, 0.5, 0.002, 0.006),  # an order that came alone: the next one is shown as soon
        (100, 0.046, 0.016, 0.03),  # 1,000 orders/s
        (600, 0.3, 0.06, 0.03),  # the same after a stall
        (500, 0.06, 0.03, 0.09),  # 4,000 orders/s
        (4_000, 0.2, 0.15, 0.15),
        (4_000, 0.5, 0.35, 0.05),  # on a machine that is slow: nobody waits longer for it
        (4_000, 0.5, 0.5, 0.03),
        (5_001, 0.2, 0.15, 0.0),  # more than one transaction takes: the group is behind
    ],
)
def test_the_group_rests_longer_only_under_load(events: int, gathered: float, took: float, rest: float) -> None:
    """The rest grows with the transaction, up to a bound that keeps what readers are promised at each load."""
    assert rest_seconds(events, gathered, took) == pytest.approx(rest)
