"""What each account has paid in a market: what a void gives back."""

from psycopg import Connection

from domain.money import Credits
from projections.reading import AsOf, query


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
