"""Reads of the ledger of one account: every movement of its money, and the bonds it has posted."""

from psycopg import Connection
from psycopg.rows import args_row

from domain.money import Credits
from projections.accounts import LEDGER, LedgerEntry
from projections.reading import AsOf, Conditions, query


@query("accounts")
def statement(
    connection: Connection, as_of: AsOf, account_id: str, *, limit: int = 50, after: tuple[int] | None = None
) -> list[LedgerEntry]:
    """Return every movement of the account's money, newest first."""
    where = Conditions("account_id = %s AND position <= %s", account_id, as_of.position)
    where.add("available_after IS NOT NULL")
    where.after("position", after)
    with connection.cursor(row_factory=args_row(LedgerEntry)) as cursor:
        return cursor.execute(
            f"SELECT {LEDGER.column_list} FROM ledger {where.sql} ORDER BY position DESC LIMIT %s",
            [*where.values, limit],
        ).fetchall()


@query("accounts")
def posted_bonds(connection: Connection, as_of: AsOf, account_id: str) -> Credits:
    """Return the bonds of the account in disputes that are not answered yet. Neither its cash nor its equity has them."""
    row = connection.execute(
        "SELECT coalesce(sum(bonds), 0)::int8 FROM ledger WHERE account_id = %s AND position <= %s AND bonds <> 0",
        [account_id, as_of.position],
    ).fetchone()
    assert row is not None, "an aggregate always has a row"
    return int(row[0])
