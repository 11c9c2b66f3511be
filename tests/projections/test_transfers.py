"""Read models of the partitions of one exchange: the balances, the ledger and the transfers of each."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from domain.exchange import Exchange
from domain.ledger import TRANSIT, postings
from domain.transfers import FundsReceived, FundsSent
from projections.accounts import ACCOUNTS, BALANCES, BOOKS, LEDGER, LedgerEntry, ledger_sums
from projections.reading import read
from projections.transfers import AccountTransfer, Moved, account_transfers, moved
from tests.domain.partitions.three import PARTITIONS, Both
from tests.domain.scenario import EFFORT
from tests.projections.folding import assert_same

if TYPE_CHECKING:
    from domain.events import Recorded
    from tests.projections.folding import Copy, ReadModels

NAMES = ["accounts", "transfers", "timeline"]


def replayed(log: list[Recorded], partition: int) -> Exchange:
    """Return the exchange that a partition's log makes."""
    exchange = Exchange(partition, PARTITIONS)
    for one in log:
        exchange.apply(one.event, stream=one.stream, version=one.version, time=one.time, command_id=one.command_id)
    return exchange


@pytest.mark.parametrize("seed", range(EFFORT))
def test_each_partition_has_its_balances_and_its_ledger(read_models: ReadModels, seed: int) -> None:
    """Balances are the exchange's; each entry has the postings of its event, with what they put in transit."""
    for partition, log in enumerate(Both(seed).run(200).three.logs):
        copy = read_models.copy(partitions=PARTITIONS).fold(log, 333)
        exchange = replayed(log, partition)

        found = copy.connection.execute(f"SELECT {ACCOUNTS.column_list} FROM accounts").fetchall()
        assert {row[1]: row[2:5] for row in found} == {
            one.account_id: (one.name, one.cash, one.held) for one in exchange.accounts.values()
        }
        balances = dict(copy.connection.execute(f"SELECT name, balance FROM {BALANCES.name}").fetchall())
        books = {
            name: amount for name, amount in exchange.ledger.balances.items() if not name.startswith(("cash", "held"))
        }
        assert {name: amount for name, amount in balances.items() if amount} == {
            name: amount for name, amount in books.items() if amount
        }
        rows = copy.connection.execute(f"SELECT {LEDGER.column_list} FROM ledger ORDER BY position").fetchall()
        entries = {entry.position: entry for entry in (LedgerEntry(*row) for row in rows)}
        assert _changes(log) == {at: _change(entry) for at, entry in entries.items()}
        _check_sums(copy, log)


def _changes(log: list[Recorded]) -> dict[int, dict[str, int]]:
    """Return what each event changes, by kind of book."""
    changes: dict[int, dict[str, int]] = {}
    for recorded in log:
        for name, amount in postings(recorded.event):
            books = changes.setdefault(recorded.position, dict.fromkeys([*BOOKS, TRANSIT], 0))
            books[name.partition(":")[0]] += amount
    return changes


def _change(entry: LedgerEntry) -> dict[str, int]:
    return {book: getattr(entry, book) for book in BOOKS} | {TRANSIT: entry.transit()}


def _check_sums(copy: Copy, log: list[Recorded]) -> None:
    """The sums of all books are those of the changes up to a position, now and in the past."""
    sums: defaultdict[str, int] = defaultdict(int)
    changes = _changes(log)
    for position in range(1, len(log) + 1):
        for book, amount in changes.get(position, {}).items():
            sums[book] += amount
        if position % 97 == 0 or position == len(log):
            with read(copy.connection, ledger_sums, at=position) as as_of:
                found = ledger_sums(copy.connection, as_of)
            assert found == {**dict.fromkeys(BOOKS, 0), **sums}
            assert sum(found.values()) == 0


def test_transfers_are_listed_with_their_totals(read_models: ReadModels) -> None:
    """Each account's transfers stand there at both ends, and its totals are right at every position."""
    for log in Both(1).run(200).three.logs:
        copy = read_models.copy(NAMES, PARTITIONS).fold(log, 100)
        expected: defaultdict[str, list[AccountTransfer]] = defaultdict(list)
        totals: dict[str, Moved] = {}
        for recorded in log:
            event = recorded.event
            if not isinstance(event, FundsSent | FundsReceived):
                continue
            is_sent = isinstance(event, FundsSent)
            other = event.to_partition if isinstance(event, FundsSent) else event.from_partition
            row = AccountTransfer(
                recorded.position, recorded.time, event.account_id, is_sent, other, event.number, event.amount
            )
            expected[event.account_id].insert(0, row)
            sent, received = totals.get(event.account_id, Moved())
            totals[event.account_id] = (
                Moved(sent + event.amount, received) if is_sent else Moved(sent, received + event.amount)
            )
            with read(copy.connection, moved, at=recorded.position) as as_of:
                assert moved(copy.connection, as_of, [*totals, "nobody"]) == totals
        with read(copy.connection, account_transfers) as as_of:
            for account_id, rows in expected.items():
                found = account_transfers(copy.connection, as_of, account_id, limit=1000)
                assert found == rows
                assert account_transfers(copy.connection, as_of, account_id, limit=2, after=rows[0].key) == rows[1:3]
        assert expected


def test_batches_of_any_size_give_the_same_transfers(read_models: ReadModels) -> None:
    """However the log is cut into batches, and each read model started anew, the rows are the same."""
    log = Both(2).run(200).three.logs[1]
    whole = read_models.copy(NAMES, PARTITIONS).fold(log, 5000)

    assert_same(whole, read_models.copy(NAMES, PARTITIONS).fold(log, 7))
    pieces = read_models.copy(NAMES, PARTITIONS)
    for start in range(0, len(log), 61):
        pieces.fold(log[start : start + 61], 20)
        pieces.restart()
    assert_same(whole, pieces)
