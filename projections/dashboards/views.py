"""The views for dashboards: SQL names and types that stay, whatever becomes of the tables behind them.

The generated part of docs/sql.md is made from this file. A view is made again whenever a read model that it reads is
exchanged (roles.py). Its SQL names tables without a schema, because the new tables stand in another schema meanwhile.

    python -m projections.dashboards.views            writes the generated part of docs/sql.md
"""

from pathlib import Path
from typing import Final, get_args

from domain.book import Side
from domain.market import Status
from projections.candles import STORED
from projections.dashboards.columns import View, count, decimal, flag, one_of, text, time
from projections.positions.cost_basis import IS_SETTLEMENT, SETTLEMENT_KINDS
from projections.positions.valuation import IS_OPEN, OPEN_POSITIONS, UNREALIZED, mark_value, positions_value_at

_POSITION: Final = "position of the event in the log"
_TRADES: Final = (
    "number of executions: one for an order that trades when it is placed, one for each fill of a resting order"
)
_PRICE: Final = "m.prices[array_position(m.outcomes, p.outcome)]"
_MARK_VALUE: Final = mark_value("p.shares", _PRICE)
_ODDS: Final = f"CASE status WHEN '{Status.FINALIZED}' THEN payouts ELSE prices END"
_PERIOD: Final = " ".join(f"WHEN {length} THEN '{name}'" for name, length in STORED.items())

STORIES: Final = View(
    "stories",
    ("stories",),
    "Every published story.",
    {
        "story_id": text("story_id", "id of the story"),
        "slug": text("slug", "short name, as in URLs"),
        "title": text("title", "title of the report"),
        "category": text("category", "category, also that of its markets"),
        "source_url": text("source_url", "URL of the report; null when none was named"),
        "published_at": time("published_at", "when the report was published"),
        "time": time("time", "when the story was published here"),
        "position": count("position", _POSITION),
    },
    "FROM stories",
)

MARKETS: Final = View(
    "markets",
    ("markets",),
    "Every market as it is now. The view `odds` has a row for each of its outcomes.",
    {
        "market_id": text("market_id", "id of the market"),
        "slug": text("slug", "short name, as in URLs"),
        "question": text("question", "question that the market asks"),
        "category": text("category", "category of the story"),
        "story_id": text("story_id", "id of the story"),
        "status": text("status", one_of(list(Status))),
        "favourite": text(
            f"(SELECT o.outcome FROM unnest(outcomes, {_ODDS}) WITH ORDINALITY o(outcome, odds, place) "
            "ORDER BY o.odds DESC, o.place LIMIT 1)",
            "outcome with the highest odds; of equal ones the first",
        ),
        "favourite_price": decimal(
            f"(SELECT max(odds) FROM unnest({_ODDS}) odds)", "odds of that outcome: its price, or its payout at the end"
        ),
        "volume": decimal("volume", "credits paid or received for shares, each trade counted once, without fees"),
        "quantity": decimal("quantity", "shares traded"),
        "trades": count("trades", "number of fills; an order may have several"),
        "traders": count("traders", "number of accounts that have traded in it"),
        "open_interest": decimal(
            "(SELECT max(held) FROM unnest(open_interest) held)",
            "most credits that the market may have to pay: the shares of the outcome of which accounts hold most; 0 once the "
            "market is finalized or voided",
        ),
        "subsidy": decimal("subsidy", "credits that the operator has put into the AMM"),
        "fee_rate": decimal("fee_rate", "fee rate: a taker pays fee_rate * shares * price * (1 - price)"),
        "opened_at": time("opened_at", "when the market was created"),
        "close_time": time("close_time", "when trading is planned to end"),
        "closed_at": time("closed_at", "when trading ended; null until then"),
        "settled": flag("settled", "true once everybody is paid out or, after a void, refunded"),
        "changed_at": time("time", "when the market last changed"),
        "position": count("position", "position of that change in the log"),
    },
    "FROM markets",
)

ODDS: Final = View(
    "odds",
    ("markets",),
    "Every outcome of every market as it is now.",
    {
        "market_id": text("m.market_id", "id of the market"),
        "slug": text("m.slug", "short name of the market"),
        "outcome": text("o.outcome", "name of the outcome"),
        "place": count("o.place", "number of the outcome within the market, from 1"),
        "odds": decimal(
            "o.odds", "probability that the market gives the outcome: its price; once finalized, its payout"
        ),
        "price": decimal("o.price", "credits for one share, from 0 to 1; once trading has ended, the last price"),
        "open_interest": decimal("o.open_interest", "shares of the outcome that accounts hold"),
        "payout": decimal(
            "m.payouts[o.place::int]", "credits that one share pays; null until the market is determined"
        ),
    },
    f"FROM markets m CROSS JOIN LATERAL unnest(m.outcomes, {_ODDS}, m.prices, m.open_interest) "
    "WITH ORDINALITY o(outcome, odds, price, open_interest, place)",
)

TICKS: Final = View(
    "ticks",
    ("markets",),
    "Every price change since the market was created. Always filter by market: the view is very large.",
    {
        "market_id": text("m.market_id", "id of the market"),
        "slug": text("m.slug", "short name of the market"),
        "outcome": text("m.outcomes[o.place]", "name of the outcome"),
        "time": time("a.time", "when the price changed"),
        "price": decimal("a.prices[o.place]", "price after the change"),
        "position": count("a.position", _POSITION),
    },
    "FROM markets m JOIN market_activity a USING (market_id) "
    "CROSS JOIN LATERAL generate_series(1, cardinality(a.prices)) o(place) "
    "WHERE a.changed & (1::int8 << (o.place - 1)) <> 0",
)

CANDLES: Final = View(
    "candles",
    ("candles",),
    "Prices and volume by minute, hour and day (UTC). A period without trades and price changes has no row.",
    {
        "market_id": text("c.market_id", "id of the market"),
        "outcome": text("o.outcome", "name of the outcome"),
        "period": text(f"CASE c.period {_PERIOD} END", one_of(list(STORED))),
        "time": time("c.start", "start of the period"),
        "open": decimal("o.open", "first price; null when the price did not change in the period"),
        "high": decimal("o.high", "highest price; null when the first one is"),
        "low": decimal("o.low", "lowest price; null when the first one is"),
        "close": decimal("o.close", "last price; null when the first one is"),
        "previous": decimal("o.previous", "price before the period; null in the first period"),
        "volume": decimal(
            "o.volume",
            "credits paid or received, under the taker's outcome or that of the resting order that the AMM filled",
        ),
        "quantity": decimal("o.quantity", "shares traded, counted in the same way"),
        "trades": count("o.trades", "number of fills, counted in the same way; an order may have several"),
    },
    "FROM candles c JOIN candles_latest_prices m USING (market_id) CROSS JOIN LATERAL unnest(m.outcomes, c.open, c.high, c.low, "
    "c.close, c.previous, c.volume, c.quantity, c.trades) "
    "o(outcome, open, high, low, close, previous, volume, quantity, trades)",
)

TRADES: Final = View(
    "trades",
    ("trades",),
    "Every fill once, from the taker's side. When the AMM fills a resting order, from the side of that order. "
    "Filter by market or account: the view is large.",
    {
        "market_id": text("market_id", "id of the market"),
        "outcome": text("outcome", "name of the outcome"),
        "account_id": text("account_id", "account that placed the order"),
        "order_id": text("order_id", "id of the order"),
        "side": text("side", one_of(get_args(Side))),
        "source": text("source", "counterparty: amm, or book for a resting order"),
        "resting_account_id": text("resting_account_id", "owner of the resting order; null when the source is amm"),
        "price": decimal("price", "credits for one share"),
        "quantity": decimal("quantity", "shares"),
        "cost": decimal("cost", "credits for all of the shares, without the fee"),
        "fee": decimal("fee", "fee; the first fill carries the fee of the whole order"),
        "price_after": decimal(
            "price_after", "AMM price after the order and the resting orders that the AMM filled because of it"
        ),
        "time": time("time", "when the fill happened"),
        "position": count("position", _POSITION),
        "number": count("number", "number of the fill within the event, from 0"),
    },
    "FROM trades",
)

POSITIONS: Final = View(
    "positions",
    ("positions",),
    "What every account holds of every outcome, at current AMM prices. Closed positions stay, with 0 shares.",
    {
        "account_id": text("p.account_id", "id of the account"),
        "market_id": text("p.market_id", "id of the market"),
        "outcome": text("p.outcome", "name of the outcome"),
        "shares": decimal("p.shares", "shares held"),
        "cost_basis": decimal("p.cost_basis", "cost of the shares held"),
        "price": decimal(_PRICE, "current price of one share"),
        "value": decimal(_MARK_VALUE, "shares * price, rounded down to a millionth"),
        "unrealized": decimal(f"{_MARK_VALUE} - p.cost_basis", "value - cost_basis"),
        "realized": decimal("p.realized", "realized profit, after fees"),
        "fees": decimal("p.fees", "fees paid"),
        "volume": decimal("p.volume", "cost of all fills, without fees"),
        "trades": count("p.trades", _TRADES),
        "time": time("p.time", "when the position last changed"),
        "position": count("p.position", "position of that change in the log"),
    },
    "FROM positions p JOIN positions_markets m USING (market_id)",
)

SETTLEMENTS: Final = View(
    "settlements",
    ("positions",),
    "What payouts, corrections and voids of markets did to positions.",
    {
        "account_id": text("account_id", "id of the account"),
        "market_id": text("market_id", "id of the market"),
        "outcome": text("outcome", "name of the outcome"),
        "kind": text(
            "kind",
            f"{one_of(SETTLEMENT_KINDS)}; a correction reverses payouts",
        ),
        "quantity": decimal("quantity", "change of the shares held"),
        "amount": decimal("amount", "change of the account's cash"),
        "realized": decimal("realized", "realized profit of the position afterwards"),
        "time": time("time", "when it happened"),
        "position": count("position", _POSITION),
    },
    f"FROM position_versions WHERE {IS_SETTLEMENT}",
)

PROFITS: Final = View(
    "profits",
    ("positions",),
    "Profit of every account by category, as the leaderboard sums it. The `roi` of the leaderboard is `pnl / buys`.",
    {
        "account_id": text("t.account_id", "id of the account"),
        "category": text("t.category", "category of the markets"),
        "realized": decimal("t.realized", "realized profit, after fees"),
        "unrealized": decimal("u.unrealized", "profit on open positions at current AMM prices"),
        "pnl": decimal("t.realized + u.unrealized", "realized + unrealized"),
        "volume": decimal("t.volume", "cost of all fills, without fees"),
        "buys": decimal("t.buys", "cost of all purchases, without fees"),
        "trades": count("t.trades", _TRADES),
    },
    f"FROM profit_totals t CROSS JOIN LATERAL (SELECT coalesce(sum({UNREALIZED}), 0) AS unrealized "
    f"FROM {OPEN_POSITIONS} WHERE h.account_id = t.account_id "
    f"AND m.category = t.category AND {IS_OPEN}) u",
)

DAILY_PROFITS: Final = View(
    "daily_profits",
    ("positions",),
    "Trading of every account by day (UTC) and category, as leaderboards of a day, week or month sum it.",
    {
        "day": time("day", "start of the day"),
        "account_id": text("account_id", "id of the account"),
        "category": text("category", "category of the markets"),
        "realized": decimal("realized", "profit realized on the day, after fees"),
        "volume": decimal("volume", "cost of the fills, without fees"),
        "buys": decimal("buys", "cost of the purchases, without fees"),
        "trades": count("trades", _TRADES),
    },
    "FROM profit_days",
)

FORECASTS: Final = View(
    "forecasts",
    ("trades",),
    "How well every account's trades forecast the payouts of finalized markets.",
    {
        "account_id": text("account_id", "id of the account"),
        "category": text("category", "category of the markets"),
        "brier": decimal(
            "div(error, nullif(weight, 0)::numeric * 1000000)",
            "Brier score: mean of (price after the trade - payout)^2, weighted by cost, rounded down; 0 is best",
        ),
        "cost": decimal("weight", "cost of the trades that count"),
    },
    "FROM trade_score_totals",
)

ACCOUNTS: Final = View(
    "accounts",
    ("accounts",),
    "Every account with its current cash.",
    {
        "account_id": text("account_id", "id of the account"),
        "name": text("name", "name of the account"),
        "available": decimal("available", "cash that the account may spend; below 0 the account is overdrawn"),
        "held": decimal("held", "cash reserved for resting orders"),
        "opened_at": time("opened_at", "when the account was opened"),
        "changed_at": time("time", "when its cash last changed"),
        "position": count("position", "position of that change in the log"),
    },
    "FROM accounts",
)

EQUITY: Final = View(
    "equity",
    ("accounts", "positions", "markets"),
    "What every account was worth after each movement of its money. Always filter by account: each row values all shares that "
    "the account held at that time.",
    {
        "account_id": text("e.account_id", "id of the account"),
        "time": time("e.time", "when the money moved"),
        "available": decimal("e.available_after", "cash that the account may spend"),
        "held": decimal("e.held_after", "cash reserved for resting orders"),
        "positions": decimal("v.positions", "its shares at the AMM prices of that time, each position rounded down"),
        "equity": decimal("e.available_after + e.held_after + v.positions", "available + held + positions"),
        "position": count("e.position", _POSITION),
    },
    # OFFSET 0: PostgreSQL would compute the value of the positions once for each column that uses it.
    f"FROM ledger e CROSS JOIN LATERAL (SELECT {positions_value_at('e.position', 'e.account_id')} AS positions OFFSET 0) v\n"
    "WHERE e.available_after IS NOT NULL",
)

LEDGER: Final = View(
    "ledger",
    ("accounts",),
    "Every movement of money. In each row the columns from `cash` to `external` sum to 0, but for cash that crosses partitions.",
    {
        "kind": text("kind", "type of the event, such as TradeSettled"),
        "account_id": text("account_id", "id of the account; null when none took part"),
        "market_id": text("market_id", "id of the market; null when none took part"),
        "order_id": text("order_id", "id of the order; null when none took part"),
        "cash": decimal("cash", "change of the account's cash"),
        "held": decimal("held", "change of the cash reserved for its orders"),
        "pool": decimal("pool", "change of the market's pool"),
        "fees": decimal("fees", "change of the operator's fees"),
        "house": decimal("house", "change of the operator's capital"),
        "bonds": decimal("bonds", "change of the bonds posted in disputes"),
        "external": decimal(
            "external", "change of the world outside: negative for a deposit, positive for a withdrawal"
        ),
        "available_after": decimal(
            "available_after", "cash of the account afterwards; null when no cash of an account moved"
        ),
        "held_after": decimal(
            "held_after", "cash reserved for its orders afterwards; null when no cash of an account moved"
        ),
        "time": time("time", "when the money moved"),
        "position": count("position", _POSITION),
    },
    "FROM ledger",
)

PROGRESS: Final = View(
    "progress",
    (),
    "How far every read model has folded the log. `tidings lag`, `/metrics` and `/v1/status` compare it with the end of the log.",
    {
        "projection": text("p.projection", "name of the read model"),
        "partition": count("p.partition", "partition of the log"),
        "position": count("p.position", "position of the last event that is folded"),
        "time": time("nullif(p.time, 0)", "time of that event; null before the first one"),
        "behind_events": count(
            "max(p.position) OVER (PARTITION BY p.partition) - p.position",
            "positions behind the read model that is furthest ahead",
        ),
        "parked": count(
            "(SELECT count(*) FROM projection_parked k WHERE k.projection = p.projection AND k.partition = p.partition)",
            "events set aside because they could not be folded, and events that wait for those",
        ),
        "version": count("p.version", "version of the read model"),
        "updated_at": time("p.updated_at", "when it last moved, by the clock of the database"),
    },
    "FROM projection_positions p",
)

VIEWS: Final = {
    view.name: view
    for view in (
        STORIES,
        MARKETS,
        ODDS,
        TICKS,
        CANDLES,
        TRADES,
        POSITIONS,
        SETTLEMENTS,
        PROFITS,
        DAILY_PROFITS,
        FORECASTS,
        ACCOUNTS,
        EQUITY,
        LEDGER,
        PROGRESS,
    )
}

PAGE: Final = Path(__file__).parents[2] / "docs" / "sql.md"
_MARK: Final = "<!-- Below: made by `python -m projections.dashboards.views`. -->\n"


def page(current: str) -> str:
    """Return the text of docs/sql.md with everything below the mark generated anew: each view with its columns."""
    sections = []
    for view in VIEWS.values():
        lines = [f"| `{name}` | {column.type} | {column.about} |" for name, column in view.columns.items()]
        table = "\n".join(["| column | type | |", "|---|---|---|", *lines])
        sections.append(f"## {view.name}\n\n{view.about}\n\n{table}\n")
    head, mark, _ = current.partition(_MARK)
    return head + mark + "\n" + "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
