"""What an account cannot withdraw yet of its available cash: the read models' form of `domain.settlement.withheld`."""

from typing import Final

from psycopg import Connection

from domain.money import Credits
from projections.positions.valuation import OF_POSITION
from projections.reading import AsOf, query

_NOW: Final = "positions k"
_PAST: Final = f"""
    (SELECT v.* FROM positions k CROSS JOIN LATERAL (
        SELECT account_id, market_id, realized, cost_basis FROM position_versions WHERE {OF_POSITION}
        AND position <= %(at)s ORDER BY position DESC LIMIT 1) v
    WHERE k.account_id = %(account)s AND k.opened_position <= %(at)s) k"""

# Cash that went in or out of a market is the realized profit without the cost of what is still held, and the bonds.
_WITHHELD: Final = """
    SELECT coalesce(sum(CASE WHEN m.settled THEN paid.amount ELSE greatest(f.flow + bonds.cash, 0) END), 0)::int8
    FROM (SELECT market_id, sum(realized - cost_basis) AS flow FROM {source} WHERE account_id = %(account)s
        GROUP BY market_id) f
    CROSS JOIN LATERAL (SELECT settled, held_until FROM market_lifecycle WHERE market_id = f.market_id
        AND position <= %(at)s ORDER BY position DESC LIMIT 1) m
    CROSS JOIN LATERAL (SELECT coalesce(sum(cash), 0) AS cash FROM ledger WHERE account_id = %(account)s
        AND market_id = f.market_id AND position <= %(at)s AND bonds <> 0) bonds
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount) FILTER (WHERE position = last), 0) AS amount FROM (
            SELECT v.amount, v.position, max(v.position) OVER () AS last
            FROM positions k JOIN position_versions v USING (partition, opened_position, outcome)
            WHERE k.account_id = %(account)s AND k.market_id = f.market_id AND v.kind = 'payout' AND v.position <= %(at)s
        ) payouts) paid
    WHERE NOT m.settled OR m.held_until > %(time)s"""


@query("accounts", "positions", "markets")
def withheld(connection: Connection, as_of: AsOf, account_id: str) -> Credits:
    """Return how much of the account's available cash is kept back from withdrawals where there is a hold.

    That is what it has gained in markets that can still be voided, and its payouts before `held_until` of their market. It can
    be more than the available cash.
    """
    row = connection.execute(
        _WITHHELD.format(source=_PAST if as_of.past else _NOW),
        {"account": account_id, "at": as_of.position, "time": as_of.time},
    ).fetchone()
    assert row is not None, "a sum has one row"
    return Credits(row[0])
