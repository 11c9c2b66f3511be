"""The same commands at the same times, in one partition and spread over three: the same markets, positions and totals."""

from collections.abc import Iterable
from typing import Final

import pytest

from domain.exchange import Exchange
from domain.ledger import BONDS, EXTERNAL, FEES, HOUSE
from domain.rejections import Code
from domain.state_hash import lines
from tests.domain.partitions.three import Both, without_stamps
from tests.domain.scenario import EFFORT

COMMANDS: Final = 600


def markets(exchange: Exchange) -> dict[str, list[str]]:
    """Return the lines of each market's state, by its id, as one partition would have it."""
    found: dict[str, list[str]] = {}
    block: list[str] = []
    for line in map(without_stamps, lines(exchange)):
        if not line.startswith(" "):
            block = found.setdefault(line, []) if line.startswith("market ") else []
        block.append(line)
    return found


def positions(exchanges: Iterable[Exchange]) -> dict[tuple[str, str], str]:
    """Return what each account has in each market."""
    return {
        (account.account_id, without_stamps(market_id)): repr(holding)
        for exchange in exchanges
        for account in exchange.accounts.values()
        for market_id, holding in account.holdings.items()
    }


def totals(exchanges: Iterable[Exchange]) -> dict[str, int]:
    """Return the cash of every account, what it holds, and the books of the operator, over all partitions."""
    sums: dict[str, int] = {}
    for exchange in exchanges:
        for account in exchange.accounts.values():
            for name, amount in ((account.account_id, account.cash), (f"held {account.account_id}", account.held)):
                sums[name] = sums.get(name, 0) + amount
        for name in (HOUSE, FEES, BONDS, EXTERNAL):
            sums[name] = sums.get(name, 0) + exchange.ledger.balances[name]
    return sums


@pytest.mark.parametrize("seed", range(3 * EFFORT))
def test_three_partitions_decide_as_one(seed: int) -> None:
    """Every command has the same outcome, and all markets, positions and totals are the same at its end."""
    both = Both(seed)
    one, three = both.one, both.three
    refused: set[str] = set()
    for _ in range(COMMANDS):
        command, expected, found = both.decide()
        refused |= {expected} if expected else set()
        assert found == {expected}, command
        assert totals([one]) == totals(three.exchanges), command

    assert positions([one]) == positions(three.exchanges)
    assert markets(one) == {name: state for exchange in three.exchanges for name, state in markets(exchange).items()}
    assert three.audits.in_transit() == 0
    assert three.transfers > COMMANDS / 50
    assert Code.INSUFFICIENT_FUNDS in refused
