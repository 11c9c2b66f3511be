"""Read models of three partitions, merged, against those of one partition that decided the same commands at the same times."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, get_args

import pytest

from domain.account import AccountOpened
from domain.ledger import postings
from domain.money import MICRO
from domain.transfers import FundsReceived, FundsSent
from messages.vectors import PositionVector
from projections import accounts, statements
from projections.calibration import calibration
from projections.machine.store import connect
from projections.merged import accounts as merged_accounts
from projections.merged import standings
from projections.merged.accounts import whole_account, whole_positions, whole_profit
from projections.merged.cut import cut
from projections.merged.lists import Keys, newest_first
from projections.merged.standings import whole_calibration, whole_leaderboard
from projections.positions import leaderboard, positions
from projections.reading import NotYetProjected, UnknownProjection, read
from projections.times import DAY
from projections.trades import trades
from tests.domain.partitions.three import PARTITIONS, Both, without_stamps
from tests.domain.scenario import EFFORT
from tests.projections.by_hand import Story

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from domain.events import Recorded
    from projections.merged.cut import ExchangeCut
    from projections.reading import AsOf
    from tests.projections.folding import ReadModels

ALL = range(PARTITIONS)
NEEDS = (*merged_accounts.NEEDS, *standings.NEEDS, trades.account_fills, statements.statement)
CATEGORIES = (None, "world", "politics")


@pytest.fixture
def both(request: pytest.FixtureRequest, read_models: ReadModels) -> Both:
    """The logs of one partition, folded into the schema `copy1`, and of three, each folded into its own."""
    made = Both(getattr(request, "param", 1)).run(300)
    read_models.copy().fold(made.log, 5000)
    read_models.partitions(made.three.logs)
    return made


@pytest.fixture
def connection(read_models: ReadModels) -> Iterator[Connection[Any]]:
    """A connection to both."""
    with connect(read_models.dsn) as opened:
        yield opened


def accounts_of(both: Both) -> list[str]:
    """Return the ids of all accounts."""
    return [one.event.account_id for one in both.log if isinstance(one.event, AccountOpened)]


def one_says(connection: Connection[Any], as_of: AsOf, account_ids: list[str]) -> dict[str, Any]:
    """Return what the read models of one partition say."""
    said: dict[str, Any] = {"calibration": [calibration(connection, as_of, category=one) for one in CATEGORIES]}
    for account_id in account_ids:
        row = accounts.get_account(connection, as_of, account_id)
        said[account_id] = row and (row.name, row.available, row.held, row.positions_value, row.equity, row.opened_at)
        if row is not None:
            assert accounts.get_account(connection, as_of, row.name) == row
        said[f"profit {account_id}"] = leaderboard.profit(connection, as_of, account_id)
        held = positions.account_positions(connection, as_of, account_id, closed=True)
        said[f"positions {account_id}"] = sorted(map(_position, held))
    for sort in leaderboard.SORTS:
        for window in get_args(leaderboard.Window):
            for category in CATEGORIES:
                said[f"{sort} {window} {category}"] = leaderboard.leaderboard(
                    connection, as_of, sort=sort, window=window, category=category
                )
    return said


def three_say(all_of_it: ExchangeCut, account_ids: list[str]) -> dict[str, Any]:
    """Return the same of three partitions."""
    said: dict[str, Any] = {"calibration": [whole_calibration(all_of_it, category=one) for one in CATEGORIES]}
    for account_id in account_ids:
        row = whole_account(all_of_it, account_id)
        said[account_id] = row and (row.name, row.available, row.held, row.positions_value, row.equity, row.opened_at)
        if row is not None:
            assert whole_account(all_of_it, row.name) == row
            assert (row.in_transit, sum(one.available for one in row.balances)) == (0, row.available)
        said[f"profit {account_id}"] = whole_profit(all_of_it, account_id)
        held = whole_positions(all_of_it, account_id, closed=True)
        assert [one.key for one in held] == sorted(one.key for one in held)
        if len(held) > 2:
            assert whole_positions(all_of_it, account_id, closed=True, limit=2, after=held[0].key) == held[1:3]
        said[f"positions {account_id}"] = sorted(map(_position, held))
    for sort in leaderboard.SORTS:
        for window in get_args(leaderboard.Window):
            for category in CATEGORIES:
                lines = whole_leaderboard(all_of_it, sort=sort, window=window, category=category)
                said[f"{sort} {window} {category}"] = lines
                if len(lines) > 2:
                    rest = whole_leaderboard(
                        all_of_it, sort=sort, window=window, category=category, limit=1, after=lines[1].key
                    )
                    assert rest == lines[2:3]
    return said


def _position(row: positions.Position) -> tuple[Any, ...]:
    """Return all of a position but its place in a log."""
    return (
        without_stamps(row.market_id), row.outcome, row.shares, row.cost_basis, row.realized, row.fees, row.volume,
        row.buys, row.time, row.price,
    )  # fmt: skip


@pytest.mark.parametrize("both", range(2 * EFFORT), indirect=True)
def test_three_partitions_say_what_one_says(both: Both, connection: Connection[Any]) -> None:
    """Accounts, profits, positions, leaderboards, calibration: now, and at times of the past."""
    account_ids = accounts_of(both)
    chosen = Random(1).sample(both.log, 3)  # noqa: S311  repeatable
    for time in [None, *(one.time for one in chosen)]:
        connection.execute("SET search_path = copy1")
        with read(connection, *_of_one(), time=time) as as_of:
            expected = one_says(connection, as_of, account_ids)
        with cut(connection, ALL, *NEEDS, time=time) as all_of_it:
            assert all_of_it.time == as_of.time
            found = three_say(all_of_it, account_ids)
        for name, answer in expected.items():
            assert answer == found[name], (time, name)
    assert any(expected[f"pnl all {category}"] for category in CATEGORIES)


def _of_one() -> tuple[Any, ...]:
    return accounts.get_account, leaderboard.leaderboard, calibration, positions.account_positions


def test_a_total_is_right_at_every_cut(both: Both, connection: Connection[Any]) -> None:
    """At any positions, consistent or not, an account has what deposits, trades and payouts made, wherever it is."""
    random = Random(2)  # noqa: S311  repeatable
    logs = both.three.logs
    seen = Counter[bool]()
    for _ in range(15):
        vector = PositionVector((partition, random.randrange(1, len(log) + 1)) for partition, log in enumerate(logs))
        with cut(connection, ALL, *merged_accounts.NEEDS, at=vector) as all_of_it:
            assert all_of_it.positions == vector
            for account_id in accounts_of(both):
                row = whole_account(all_of_it, account_id)
                if row is None:
                    continue
                parts = [log[: vector.of(partition)] for partition, log in enumerate(logs)]
                assert row.available + row.held + row.in_transit == sum(_made(part, account_id) for part in parts)
                assert row.in_transit >= 0
                seen[row.available < sum(one.available for one in row.balances)] += 1
                seen[row.in_transit > 0] += 1
    assert seen[True] > 5


def _made(log: list[Recorded], account_id: str) -> int:
    """Return the cash that events other than transfers have made of an account."""
    return sum(
        amount
        for one in log
        if not isinstance(one.event, FundsSent | FundsReceived)
        for name, amount in postings(one.event)
        if name in {f"cash:{account_id}", f"held:{account_id}"}
    )


def test_lists_are_merged_by_time_and_continue(both: Both, connection: Connection[Any]) -> None:
    """The pages of any size are the whole list, ordered by time, partition and position; each row comes once."""
    for account_id in accounts_of(both)[:3]:
        with cut(connection, ALL, *NEEDS) as all_of_it:
            whole = _pages(all_of_it, account_id, 10_000)
            assert whole == _pages(all_of_it, account_id, 7)
        places = [(row.time, partition, row.position) for partition, row in whole]
        assert places == sorted(places, reverse=True)
        assert len(set(places)) == len(places)
        connection.execute("SET search_path = copy1")
        with read(connection, statements.statement) as as_of:
            of_one = statements.statement(connection, as_of, account_id, limit=10_000)
        of_three = [row for _, row in whole if not row.transit()]
        assert Counter((row.time, row.kind, row.cash, row.held) for row in of_one) == Counter(
            (row.time, row.kind, row.cash, row.held) for row in of_three
        )


def _pages(all_of_it: ExchangeCut, account_id: str, limit: int) -> list[tuple[int, accounts.LedgerEntry]]:
    """Return a statement over all partitions, read page after page."""
    rows: list[tuple[int, accounts.LedgerEntry]] = []
    after: Keys | None = None
    while True:
        page = newest_first(
            all_of_it,
            lambda connection, as_of, most, key: statements.statement(
                connection, as_of, account_id, limit=most, after=key
            ),
            time_of=lambda row: row.time,
            key_of=lambda row: row.key,
            limit=limit,
            after=after,
        )
        rows += page.rows
        if page.next is None:
            return rows
        assert len(page.rows) == limit
        after = page.next


def test_what_is_ahead_or_missing_is_refused(both: Both, connection: Connection[Any]) -> None:
    """A vector that one partition has not reached, and a partition that nobody has ever folded."""
    heads = PositionVector((partition, len(log)) for partition, log in enumerate(both.three.logs))
    with cut(connection, ALL, *NEEDS, least=heads) as all_of_it:
        assert all_of_it.positions == heads
    ahead = heads | PositionVector({2: heads.of(2) + 1})
    with pytest.raises(NotYetProjected) as refused, cut(connection, ALL, *NEEDS, least=ahead):
        pass
    assert refused.value.reached == heads.of(2)
    with pytest.raises(NotYetProjected), cut(connection, ALL, *NEEDS, at=ahead):
        pass
    with pytest.raises(UnknownProjection), cut(connection, range(PARTITIONS + 1), *NEEDS):
        pass


def test_a_window_begins_at_one_time_in_all_partitions(read_models: ReadModels, connection: Connection[Any]) -> None:
    """Where nothing has happened since the window began, nobody has gained in it; over all time the gain is there."""
    quiet, busy = Story("ac_a", "ac_b"), Story("ac1_c")
    quiet.trade("ac_a", "buy", 10 * MICRO, 5 * MICRO, 600_000)
    quiet.trade("ac_b", "buy", 10 * MICRO, 7 * MICRO, 800_000)
    busy.time += 2 * DAY
    busy.trade("ac1_c", "buy", 10 * MICRO, 5 * MICRO, 600_000)
    read_models.partitions([quiet.log, busy.log])

    with cut(connection, range(2), *NEEDS) as both_of_it:
        of_day = whole_leaderboard(both_of_it, window="day")
        of_all = whole_leaderboard(both_of_it)

    assert [(line.rank, line.name) for line in of_day] == [(1, "ac1_c")]
    assert [(line.rank, line.name) for line in of_all] == [(1, "ac_a"), (2, "ac1_c"), (2, "ac_b")]
