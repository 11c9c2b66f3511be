"""What each account has paid in a market, which a void gives back, and what one account got at the market's end."""

from psycopg import Connection
from psycopg.rows import args_row

from domain.money import Credits
from projections.positions.cost_basis import IS_SETTLEMENT
from projections.positions.positions import AccountSettlement
from projections.reading import AsOf, query, whole_numbers


@query("positions")
def paid_in(connection: Connection, as_of: AsOf, market_id: str) -> dict[str, Credits]:
    """Return what each account has paid in a market beyond what it got there, fees and payouts included: a void returns it.

    Only the positions of now can tell; `as_of` must not be of the past.
    """
    assert not as_of.past, "positions of the past keep no sums by market"
    rows = connection.execute(
        "SELECT account_id, sum(cost_basis - realized)::text FROM positions WHERE market_id = %s GROUP BY account_id",
        [market_id],
    ).fetchall()
    return {account_id: int(amount) for account_id, amount in rows}


@query("positions")
def settled_in(connection: Connection, as_of: AsOf, account_id: str, market_id: str) -> list[AccountSettlement]:
    """Return the effects of the end of a market on the account's positions there, newest first."""
    with whole_numbers(connection, args_row(AccountSettlement)) as cursor:
        return cursor.execute(
            f"SELECT {', '.join(AccountSettlement._fields)} FROM position_versions WHERE account_id = %s "
            f"AND position <= %s AND market_id = %s AND {IS_SETTLEMENT} ORDER BY position DESC, outcome DESC",
            [account_id, as_of.position, market_id],
        ).fetchall()
