"""Cash between partitions: every transfer that a partition sent or received. There is none of it with one partition.

What an account has in transit can only be told from the read models of all partitions: what all of them sent for it, less what
all of them received.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain.events import Recorded
from domain.money import Credits, Time
from domain.transfers import FundsReceived, FundsSent
from projections.forms import Count, CreditsSum
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.table import Big, Table
from projections.machine.workspace import Workspace
from projections.reading import AsOf, Conditions, query, whole_numbers


@dataclass(slots=True)
class TransferTotal:
    """What an account has sent from this partition, and received in it, so far."""

    account_id: str
    sent: Big = 0
    received: Big = 0


class TransferRow(NamedTuple):
    """A transfer at one end of its channel, with the account's totals at this end afterwards."""

    position: int
    time: int
    account_id: str
    is_sent: bool
    other: int
    number: int
    amount: int
    sent_after: Big
    received_after: Big


class AccountTransfer(NamedTuple):
    """A transfer that this partition sent to the partition `other`, or else received from it, as number `number`."""

    position: Count
    time: Time
    account_id: str
    is_sent: bool
    other: Count
    number: Count
    amount: Credits

    @property
    def key(self) -> tuple[int]:
        """Its place in lists, newest first."""
        return (self.position,)


class Moved(NamedTuple):
    """What an account has sent from partitions and received in partitions."""

    sent: CreditsSum = 0
    received: CreditsSum = 0


TOTALS = Table("transfer_totals", TransferTotal, key=["account_id"])
TRANSFERS = Table("transfers", TransferRow, key=["position"], indexes=["account_id, position"])

KINDS: Final = frozenset({FundsSent, FundsReceived})


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add a row for each transfer, and what it moves to the totals of its account."""
    transfers = batch.of(KINDS)
    if not transfers:
        return
    totals, append = workspace.rows(TOTALS), workspace.rows(TRANSFERS).append
    totals.prefetch(lambda: {recorded.event.account_id for recorded in transfers})  # type: ignore[union-attr]
    for recorded in transfers:
        event = recorded.event
        assert isinstance(event, FundsSent | FundsReceived), "no other kind was asked for"
        account_id = event.account_id
        if totals.get(account_id) is None:
            totals.add(TransferTotal(account_id))
        append(_transfer(event, recorded, totals.edit(account_id)))


def _transfer(event: FundsSent | FundsReceived, recorded: Recorded, total: TransferTotal) -> TransferRow:
    """Return the row of a transfer, and add it to the total."""
    if isinstance(event, FundsSent):
        other = event.to_partition
        total.sent += event.amount
    else:
        other = event.from_partition
        total.received += event.amount
    return TransferRow(
        recorded.position,
        recorded.time,
        event.account_id,
        isinstance(event, FundsSent),
        other,
        event.number,
        event.amount,
        total.sent,
        total.received,
    )


PROJECTION = Projection("transfers", 1, (TOTALS, TRANSFERS), fold, scope="account", weight=1.0)


@query("transfers")
def account_transfers(
    connection: Connection, as_of: AsOf, account_id: str, *, limit: int = 50, after: tuple[int] | None = None
) -> list[AccountTransfer]:
    """Return the transfers of an account that this partition sent or received, newest first."""
    where = Conditions("account_id = %s AND position <= %s", account_id, as_of.position)
    where.after("position", after)
    with connection.cursor(row_factory=args_row(AccountTransfer)) as cursor:
        return cursor.execute(
            f"SELECT {', '.join(AccountTransfer._fields)} FROM transfers {where.sql} ORDER BY position DESC LIMIT %s",
            [*where.values, limit],
        ).fetchall()


@query("transfers")
def moved(connection: Connection, as_of: AsOf, account_ids: Sequence[str]) -> dict[str, Moved]:
    """Return what these accounts have sent from this partition and received in it; an account without transfers is missing."""
    with whole_numbers(connection, args_row(lambda account_id, *sums: (account_id, Moved(*sums)))) as cursor:
        return dict(
            cursor.execute(
                "SELECT account_id, sent_after, received_after FROM unnest(%s::text[]) AS a(account_id) CROSS JOIN LATERAL ("
                "SELECT sent_after, received_after FROM transfers WHERE account_id = a.account_id AND position <= %s "
                "ORDER BY position DESC LIMIT 1) t",
                [list(account_ids), as_of.position],
            ).fetchall()
        )
