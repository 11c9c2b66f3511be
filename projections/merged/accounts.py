"""Accounts of several partitions: a balance in each, what is on its way between them, and all of their positions."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.money import Credits, Time
from projections.accounts import ValuedAccount, get_account
from projections.forms import Count
from projections.merged.cut import ExchangeCut
from projections.merged.lists import in_order
from projections.positions.leaderboard import Profit, profit
from projections.positions.positions import Position, account_positions
from projections.transfers import Moved, moved

NEEDS = (get_account, moved, profit, account_positions)
"""What the functions of this module ask."""


@dataclass(frozen=True, slots=True)
class PartitionBalance:
    """The cash of an account in one partition."""

    partition: Count
    available: Credits
    held: Credits


@dataclass(frozen=True, slots=True)
class WholeAccount:
    """An account over all partitions.

    `in_transit` was sent by one partition and is not received by another one. A cut may also see more received than sent; that
    is taken off `available`, so that the total is right at every cut.
    """

    account_id: str
    name: str
    available: Credits
    held: Credits
    in_transit: Credits
    positions_value: Credits
    opened_at: Time
    time: Time
    balances: tuple[PartitionBalance, ...]

    @property
    def equity(self) -> Credits:
        """Its cash, wherever it is, and the mark value of its positions."""
        return self.available + self.held + self.in_transit + self.positions_value

    @property
    def overdrawn(self) -> bool:
        """True if a reversed payout has left one of its balances below zero."""
        return any(balance.available < 0 for balance in self.balances)


def whole_account(cut: ExchangeCut, ref: str) -> WholeAccount | None:
    """Return the account with this id or name, or None. Only its home knows whether it exists, and its name."""
    found = cut.each(lambda connection, as_of, _: get_account(connection, as_of, ref))
    home = next((row for row in found.values() if row is not None and row.name), None)
    if home is None:
        return None
    account_id = home.account_id
    if account_id != ref:
        found = cut.each(lambda connection, as_of, _: get_account(connection, as_of, account_id))
    balances = {partition: row for partition, row in found.items() if row is not None}
    sums = cut.each(lambda connection, as_of, _: moved(connection, as_of, [account_id]).get(account_id, Moved()))
    return _whole(home, balances, sum(each.sent - each.received for each in sums.values()))


def _whole(home: ValuedAccount, balances: dict[int, ValuedAccount], transit: Credits) -> WholeAccount:
    rows = balances.values()
    return WholeAccount(
        account_id=home.account_id,
        name=home.name,
        available=sum(row.available for row in rows) + min(0, transit),
        held=sum(row.held for row in rows),
        in_transit=max(0, transit),
        positions_value=sum(row.positions_value for row in rows),
        opened_at=home.opened_at,
        time=max(row.time for row in rows),
        balances=tuple(PartitionBalance(partition, row.available, row.held) for partition, row in balances.items()),
    )


def whole_profit(cut: ExchangeCut, account_id: str) -> Profit:
    """Return the profit of an account over all time and all partitions."""
    found = cut.each(lambda connection, as_of, _: profit(connection, as_of, account_id)).values()
    return Profit(*(sum(each[column] for each in found) for column in range(len(Profit._fields))))


def whole_positions(
    cut: ExchangeCut,
    account_id: str,
    *,
    closed: bool = False,
    limit: int | None = None,
    after: tuple[str, str] | None = None,
) -> Sequence[Position]:
    """Return the account's positions in all partitions by market and outcome, as `account_positions` does of one."""
    found = cut.each(
        lambda connection, as_of, _: account_positions(
            connection, as_of, account_id, closed=closed, limit=limit, after=after
        )
    )
    return in_order(found, lambda row: row.key, limit)
