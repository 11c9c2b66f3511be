"""The ledger, against the postings of the events in simulated logs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from domain.account import AccountOpened
from domain.ledger import postings
from projections.accounts import BOOKS, LEDGER
from projections.reading import AsOf
from projections.statements import posted_bonds
from projections.verify import ledger_differences
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from tests.projections.folding import ReadModels


@pytest.mark.parametrize("seed", range(3))
def test_ledger_rows_are_the_postings(read_models: ReadModels, seed: int) -> None:
    """Each entry has the postings of its event and the balances afterwards, and all books sum to zero."""
    log = simulate(seed, 800)
    copy = read_models.copy(["accounts"]).fold(log, 333)
    expected = {}
    balances: defaultdict[str, int] = defaultdict(int)
    for recorded in log:
        lines = postings(recorded.event)
        if not lines:
            continue
        sums = dict.fromkeys(BOOKS, 0)
        for name, amount in lines:
            balances[name] += amount
            sums[name.partition(":")[0]] += amount
        after = None
        if sums["cash"] or sums["held"]:
            account = recorded.event.account_id  # type: ignore[union-attr]
            after = (balances[f"cash:{account}"], balances[f"held:{account}"])
        expected[recorded.position] = (*sums.values(), *(after or (None, None)))
    found = {
        row[1]: (*row[7:14], *row[14:])
        for row in copy.connection.execute(f"SELECT {LEDGER.column_list} FROM ledger").fetchall()
    }

    as_of = AsOf(log[-1].position, log[-1].time, past=False)
    opened = [each.event.account_id for each in log if isinstance(each.event, AccountOpened)]
    bonds = [posted_bonds(copy.connection, as_of, account_id) for account_id in opened]
    assert min(bonds) >= 0
    assert sum(bonds) == balances["bonds"]
    assert expected == found
    assert not list(ledger_differences(log))
