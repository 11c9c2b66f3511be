"""The equity of accounts as JSON lines: what each was worth after each movement of its money.

The view `equity` values all that an account held, for each row again. Over a long log that takes hours. Here holdings and
prices are followed from row to row, so a row costs a multiplication for each position that its account has open.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec
from psycopg.sql import SQL

from api.export.row_lines import BLOCK_ROWS, copied, plain_text
from domain.money import MICRO, format_decimal
from projections.dashboards.past import past_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg import Connection

    from api.export.row_lines import Lines

# `past_table("positions")` looks each version up, which pays for few positions. Here it would read all of an account's each time.
_HELD: Final = """
    SELECT account_id, market_id, outcome, shares FROM positions WHERE position <= %(at)s AND shares > 0
    UNION ALL
    SELECT account_id, market_id, outcome, shares FROM (
        SELECT DISTINCT ON (account_id, market_id, outcome) account_id, market_id, outcome, v.shares
        FROM positions k JOIN position_versions v USING (account_id, market_id, outcome)
        WHERE k.position > %(at)s AND k.opened_position <= %(at)s AND v.position <= %(at)s
        ORDER BY account_id, market_id, outcome, v.position DESC) last
    WHERE shares > 0"""

_PRICES: Final = "SELECT market_id, outcomes, prices FROM positions_markets"

_PRICES_THEN: Final = f"WITH positions_markets AS ({past_table('positions_markets')}) {_PRICES}"

_CHANGES: Final = f"""
    SELECT position, 0, market_id, NULL, NULL, NULL::int8, NULL::int8, array_to_string(prices, ','), NULL
    FROM ({past_table("market_activity")}) a WHERE changed <> 0
    UNION ALL
    SELECT v.position, 1, v.account_id, v.market_id, v.outcome, v.shares, NULL, NULL, NULL
    FROM profit_totals t CROSS JOIN LATERAL (SELECT * FROM position_versions WHERE account_id = t.account_id
        AND category = t.category AND position > %(after)s AND position <= %(at)s ORDER BY position) v
    UNION ALL
    SELECT position, 2, account_id, NULL, NULL, available_after, held_after, NULL,
        to_char((timestamptz '1970-01-01 00:00:00Z' + time * interval '1 microsecond') AT TIME ZONE 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    FROM ({past_table("ledger")}) e WHERE available_after IS NOT NULL
    ORDER BY 1, 2"""


class EquityLine(msgspec.Struct):
    """A line of the table `equity`."""

    account_id: str
    time: str
    available: str
    held: str
    positions: str
    equity: str
    position: int


class FollowedHoldings:
    """What every account holds, and what it is worth. Each outcome has a number, by which its price is found fastest."""

    def __init__(self) -> None:
        self._shares: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self._numbers: dict[str, dict[str, int]] = {}
        self._prices: list[int] = []

    def know(self, market_id: str, outcomes: list[str]) -> None:
        """Take in the outcomes of a market."""
        self._numbers[market_id] = {outcome: len(self._prices) + place for place, outcome in enumerate(outcomes)}
        self._prices += [0] * len(outcomes)

    def price(self, market_id: str, prices: list[int]) -> None:
        """Take in the prices of a market, in the order of its outcomes."""
        for number, price in zip(self._numbers[market_id].values(), prices, strict=True):
            self._prices[number] = price

    def hold(self, account_id: str, market_id: str, outcome: str, shares: int) -> None:
        """Take in what an account holds of an outcome."""
        number = self._numbers[market_id][outcome]
        if shares:
            self._shares[account_id][number] = shares
        else:
            self._shares[account_id].pop(number, None)

    def value(self, account_id: str) -> int:
        """Return the mark value of what an account holds: each position rounded down."""
        prices = self._prices
        return sum([shares * prices[number] // MICRO for number, shares in self._shares[account_id].items()])


def equity_lines(connection: Connection[Any], values: Mapping[str, Any], lines: Lines) -> Iterator[bytes]:
    """Yield the rows of the movements after a position up to another one as JSON lines, and count them in `lines`."""
    holdings = _begin(connection, values)
    encode = msgspec.json.Encoder().encode_lines
    block: list[EquityLine] = []
    for row in copied(connection, SQL("COPY ({}) TO STDOUT").format(SQL(_CHANGES)), values):
        position, kind, name, market_id, outcome, first, second, prices, time = row.split("\t")
        if kind == "0":
            holdings.price(name, list(map(int, prices.split(","))))
        elif kind == "1":
            holdings.hold(name, market_id, plain_text(outcome) or "", int(first))
        else:
            block.append(_line(name, time, int(first), int(second), holdings.value(name), int(position), lines))
            if len(block) == BLOCK_ROWS:
                yield lines.note(encode(block))
                block = []
    if block:
        yield lines.note(encode(block))


def _begin(connection: Connection[Any], values: Mapping[str, Any]) -> FollowedHoldings:
    """Return what was held before the first movement."""
    holdings = FollowedHoldings()
    connection.execute("SET LOCAL enable_nestloop = off")  # the planner expects few rows of the past
    for market_id, outcomes, _ in connection.execute(SQL(_PRICES)).fetchall():
        holdings.know(market_id, outcomes)
    before = {**values, "at": values["after"]}
    for market_id, _, prices in connection.execute(SQL(_PRICES_THEN), before).fetchall():
        holdings.price(market_id, prices)
    for row in connection.execute(SQL(_HELD), before).fetchall():
        holdings.hold(*row)
    return holdings


def _line(account_id: str, time: str, available: int, held: int, value: int, position: int, lines: Lines) -> EquityLine:
    amounts = {"available": available, "held": held, "positions": value, "equity": available + held + value}
    lines.rows += 1
    for name, amount in amounts.items():
        lines.sums[name] += amount
    told = {name: format_decimal(amount) for name, amount in amounts.items()}
    return EquityLine(account_id=account_id, time=time, position=position, **told)
