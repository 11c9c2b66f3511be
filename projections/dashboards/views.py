"""Views for dashboards: what anybody may read in SQL, under names and types that stay. docs/sql.md is made from this.

Amounts and prices are exact decimal numbers of credits, not the micro-units of the tables; times are `timestamptz`. Each
view belongs to the read models whose tables it names, and is made again whenever one of them is
(projections/dashboards/roles.py).
Tables are named without a schema: while a read model is being exchanged its new tables stand in another one.

    python -m projections.dashboards.views            writes the views into docs/sql.md
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from projections.candles import PERIODS
from projections.positions.profits import UNREALIZED, held_at, worth


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its type as PostgreSQL names it, the SQL that it is made of, and what it says."""

    type: str
    sql: str
    about: str


@dataclass(frozen=True, slots=True)
class View:
    """A view: the read models that it reads, what its rows are, its columns by name, and the rest of its SQL."""

    name: str
    reads: tuple[str, ...]
    about: str
    columns: dict[str, Column]
    source: str

    @property
    def query(self) -> str:
        """The query that the view is."""
        columns = ",\n    ".join(f"{column.sql} AS {name}" for name, column in self.columns.items())
        return f"SELECT {columns}\n{self.source}"


def _text(sql: str, about: str) -> Column:
    return Column("text", sql, about)


def _count(sql: str, about: str) -> Column:
    return Column("bigint", sql, about)


def _decimal(sql: str, about: str) -> Column:
    """Return a column of micro-units as a decimal number. Multiplied, not divided: a quotient may be rounded."""
    return Column("numeric", f"({sql}) * 0.000001", about)


def _time(sql: str, about: str) -> Column:
    """Return a column of microseconds since 1970 as a time, exact to the microsecond."""
    return Column(
        "timestamp with time zone", f"timestamptz '1970-01-01 00:00:00Z' + ({sql}) * interval '1 microsecond'", about
    )


def _flag(sql: str, about: str) -> Column:
    return Column("boolean", sql, about)


_POSITION: Final = "its place in the log"
_WORTH: Final = worth("p.shares", "m.prices[array_position(m.outcomes, p.outcome)]")
_PERIOD: Final = " ".join(f"WHEN {length} THEN '{name}'" for name, length in PERIODS.items())

STORIES: Final = View(
    "stories",
    ("stories",),
    "Every story, once it is published.",
    {
        "story_id": _text("story_id", "its id"),
        "slug": _text("slug", "its name in addresses"),
        "title": _text("title", "its title"),
        "category": _text("category", "its category, which is that of its markets"),
        "source_url": _text("source_url", "where it was reported"),
        "published_at": _time("published_at", "when it was reported"),
        "time": _time("time", "when it was published here"),
        "position": _count("position", _POSITION),
    },
    "FROM stories",
)

MARKETS: Final = View(
    "markets",
    ("markets",),
    "Every market as it is now. Its odds are in `odds`, a row for each outcome.",
    {
        "market_id": _text("market_id", "its id"),
        "slug": _text("slug", "its name in addresses"),
        "question": _text("question", "what is asked"),
        "category": _text("category", "the category of its story"),
        "story_id": _text("story_id", "its story"),
        "status": _text("status", "draft, active, halted, closed, determined, disputed, finalized or void"),
        "favourite": _text(
            "(SELECT o.outcome FROM unnest(outcomes, prices) WITH ORDINALITY o(outcome, price, place) "
            "ORDER BY o.price DESC, o.place LIMIT 1)",
            "the outcome with the highest price, the first of equal ones",
        ),
        "favourite_price": _decimal("(SELECT max(price) FROM unnest(prices) price)", "its price: its odds"),
        "volume": _decimal("volume", "what was paid and received for shares, in credits, without fees"),
        "quantity": _decimal("quantity", "shares traded"),
        "trades": _count("trades", "fills"),
        "traders": _count("traders", "accounts that had one"),
        "open_interest": _decimal(
            "(SELECT sum(held) FROM unnest(open_interest) held)", "shares in the hands of accounts"
        ),
        "subsidy": _decimal("subsidy", "credits that the operator has put into the market maker"),
        "fee_rate": _decimal("fee_rate", "the share of the cost that is charged as a fee"),
        "opened_at": _time("opened_at", "when it was made"),
        "close_time": _time("close_time", "when trading ends by plan"),
        "closed_at": _time("closed_at", "when it did end"),
        "settled": _flag("settled", "whether everybody has been paid out"),
        "changed_at": _time("time", "when anything of it changed last"),
        "position": _count("position", "the place in the log of that change"),
    },
    "FROM markets",
)

ODDS: Final = View(
    "odds",
    ("markets",),
    "Every outcome of every market as it is now.",
    {
        "market_id": _text("m.market_id", "its market"),
        "slug": _text("m.slug", "the market's name in addresses"),
        "outcome": _text("o.outcome", "its name"),
        "place": _count("o.place", "its place among the outcomes, from 1"),
        "price": _decimal("o.price", "credits for a share, from 0 to 1: the odds"),
        "open_interest": _decimal("o.open_interest", "shares in the hands of accounts"),
        "payout": _decimal("m.payouts[o.place::int]", "credits that a share pays; null before that is determined"),
    },
    "FROM markets m CROSS JOIN LATERAL unnest(m.outcomes, m.prices, m.open_interest) "
    "WITH ORDINALITY o(outcome, price, open_interest, place)",
)

TICKS: Final = View(
    "ticks",
    ("markets",),
    "Every change of a price, for ever. Ask for a market: there are very many.",
    {
        "market_id": _text("m.market_id", "the market"),
        "slug": _text("m.slug", "its name in addresses"),
        "outcome": _text("m.outcomes[o.place]", "the outcome"),
        "time": _time("a.time", "when its price changed"),
        "price": _decimal("a.prices[o.place]", "the price from then on"),
        "position": _count("a.position", _POSITION),
    },
    "FROM markets m JOIN market_activity a USING (market_id) "
    "CROSS JOIN LATERAL generate_series(1, cardinality(a.prices)) o(place) "
    "WHERE a.changed & (1::int8 << (o.place - 1)) <> 0",
)

CANDLES: Final = View(
    "candles",
    ("candles",),
    "Prices and volume by minute, hour and day (UTC). A period in which nothing happened has no row.",
    {
        "market_id": _text("c.market_id", "the market"),
        "outcome": _text("o.outcome", "the outcome"),
        "period": _text(f"CASE c.period {_PERIOD} END", f"one of {', '.join(PERIODS)}"),
        "time": _time("c.start", "when it begins"),
        "open": _decimal("o.open", "the first price; null where it had none in this period"),
        "high": _decimal("o.high", "the highest price"),
        "low": _decimal("o.low", "the lowest price"),
        "close": _decimal("o.close", "the last price"),
        "previous": _decimal("o.previous", "the price before the period; null in the first one"),
        "volume": _decimal("o.volume", "credits paid and received, under the outcome that the taker traded"),
        "quantity": _decimal("o.quantity", "shares traded, likewise"),
        "trades": _count("o.trades", "fills, likewise"),
    },
    "FROM candles c JOIN candles_current m USING (market_id) CROSS JOIN LATERAL unnest(m.outcomes, c.open, c.high, c.low, "
    "c.close, c.previous, c.volume, c.quantity, c.trades) "
    "o(outcome, open, high, low, close, previous, volume, quantity, trades)",
)

TRADES: Final = View(
    "trades",
    ("trades",),
    "Every fill, once, as the taker saw it. Ask for a market or an account where there are many.",
    {
        "market_id": _text("market_id", "the market"),
        "outcome": _text("outcome", "the outcome"),
        "account_id": _text("account_id", "the account whose order it was"),
        "order_id": _text("order_id", "that order"),
        "side": _text("side", "buy or sell"),
        "source": _text("source", "what it traded with: amm or book"),
        "resting_account_id": _text("resting_account_id", "whose order rested; null with the AMM"),
        "price": _decimal("price", "credits for a share"),
        "quantity": _decimal("quantity", "shares"),
        "cost": _decimal("cost", "credits for all of them, without the fee"),
        "fee": _decimal("fee", "the fee; that of an order stands on its first fill"),
        "price_after": _decimal("price_after", "the maker's price afterwards"),
        "time": _time("time", "when"),
        "position": _count("position", _POSITION),
        "number": _count("number", "its number among the fills of this position, from 0"),
    },
    "FROM trades",
)

POSITIONS: Final = View(
    "positions",
    ("positions",),
    "What every account holds of every outcome, at the maker's price of now; closed positions too (`shares` is 0).",
    {
        "account_id": _text("p.account_id", "the account"),
        "market_id": _text("p.market_id", "the market"),
        "outcome": _text("p.outcome", "the outcome"),
        "shares": _decimal("p.shares", "shares held"),
        "cost_basis": _decimal("p.cost_basis", "what they cost"),
        "price": _decimal("m.prices[array_position(m.outcomes, p.outcome)]", "the price of a share now"),
        "value": _decimal(_WORTH, "what the shares are worth at that price, rounded down to a millionth"),
        "unrealized": _decimal(f"{_WORTH} - p.cost_basis", "value less cost"),
        "realized": _decimal("p.realized", "profit that is made, after fees"),
        "fees": _decimal("p.fees", "fees paid"),
        "volume": _decimal("p.volume", "cost of all its fills"),
        "trades": _count("p.trades", "fills"),
        "time": _time("p.time", "when it changed last"),
        "position": _count("p.position", "the place in the log of that change"),
    },
    "FROM positions p JOIN positions_markets m USING (market_id)",
)

SETTLEMENTS: Final = View(
    "settlements",
    ("positions",),
    "What the ends of markets did to positions.",
    {
        "account_id": _text("account_id", "the account"),
        "market_id": _text("market_id", "the market"),
        "outcome": _text("outcome", "the outcome"),
        "kind": _text("kind", "payout, reversal (of a payout, by a correction) or void"),
        "quantity": _decimal("quantity", "the change of its shares"),
        "amount": _decimal("amount", "the change of its cash"),
        "realized": _decimal("realized", "the position's realized profit afterwards"),
        "time": _time("time", "when"),
        "position": _count("position", _POSITION),
    },
    "FROM position_versions WHERE kind IN ('payout', 'reversal', 'void')",
)

PROFITS: Final = View(
    "profits",
    ("positions",),
    "What every account has made in every category: what the leaderboard sums. `pnl` over `buys` is its `roi`.",
    {
        "account_id": _text("t.account_id", "the account"),
        "category": _text("t.category", "the category of the markets"),
        "realized": _decimal("t.realized", "profit that is made, after fees"),
        "unrealized": _decimal("u.unrealized", "profit if its shares were worth their price of now"),
        "pnl": _decimal("t.realized + u.unrealized", "both"),
        "volume": _decimal("t.volume", "cost of all its fills"),
        "buys": _decimal("t.buys", "cost of its purchases"),
        "trades": _count("t.trades", "fills"),
    },
    f"FROM profit_totals t CROSS JOIN LATERAL (SELECT coalesce(sum({UNREALIZED}), 0) AS unrealized "
    "FROM positions h JOIN positions_markets m USING (market_id) WHERE h.account_id = t.account_id "
    "AND m.category = t.category AND m.over_position IS NULL AND h.shares > 0) u",
)

DAILY_PROFITS: Final = View(
    "daily_profits",
    ("positions",),
    "What every account did on every day (UTC) in every category: what windows of the leaderboard sum.",
    {
        "day": _time("day", "when the day began"),
        "account_id": _text("account_id", "the account"),
        "category": _text("category", "the category of the markets"),
        "realized": _decimal("realized", "profit that was made, after fees"),
        "volume": _decimal("volume", "cost of its fills"),
        "buys": _decimal("buys", "cost of its purchases"),
        "trades": _count("trades", "fills"),
    },
    "FROM profit_days",
)

FORECASTS: Final = View(
    "forecasts",
    ("trades",),
    "How well every account's trades in finalized markets forecast them.",
    {
        "account_id": _text("account_id", "the account"),
        "category": _text("category", "the category of the markets"),
        "brier": _decimal(
            "div(error, nullif(weight, 0)::numeric * 1000000)",
            "mean squared error by cost: 0 is perfect; rounded down to a millionth",
        ),
        "cost": _decimal("weight", "the cost of the trades that it is over"),
    },
    "FROM trade_score_totals",
)

ACCOUNTS: Final = View(
    "accounts",
    ("accounts",),
    "Every account and its cash now.",
    {
        "account_id": _text("account_id", "its id"),
        "name": _text("name", "its name"),
        "available": _decimal("available", "cash that it may spend; below zero: overdrawn"),
        "held": _decimal("held", "cash that its resting orders hold"),
        "opened_at": _time("opened_at", "when it was opened"),
        "changed_at": _time("time", "when its cash changed last"),
        "position": _count("position", "the place in the log of that change"),
    },
    "FROM accounts",
)

EQUITY: Final = View(
    "equity",
    ("accounts", "positions", "markets"),
    "What every account had after each movement of its money. Ask for an account: each row values all its shares of then.",
    {
        "account_id": _text("e.account_id", "the account"),
        "time": _time("e.time", "when"),
        "available": _decimal("e.available_after", "cash that it may spend"),
        "held": _decimal("e.held_after", "cash that its resting orders hold"),
        "positions": _decimal("v.worth", "its shares at the maker's prices of then, each position rounded down"),
        "equity": _decimal("e.available_after + e.held_after + v.worth", "all of it"),
        "position": _count("e.position", _POSITION),
    },
    f"""FROM ledger e CROSS JOIN LATERAL (
    SELECT coalesce(sum({worth("s.shares", "a.prices[array_position(m.outcomes, s.outcome)]")}), 0) AS worth
    FROM positions k JOIN positions_markets m USING (market_id)
    CROSS JOIN LATERAL (
        SELECT outcome, shares FROM position_versions WHERE account_id = k.account_id AND market_id = k.market_id
        AND outcome = k.outcome AND position <= e.position ORDER BY position DESC LIMIT 1) s
    CROSS JOIN LATERAL (
        SELECT prices FROM market_activity WHERE market_id = k.market_id AND position <= e.position
        ORDER BY position DESC LIMIT 1) a
    WHERE {held_at("e.position")} AND k.account_id = e.account_id AND s.shares > 0) v
WHERE e.available_after IS NOT NULL""",
)

LEDGER: Final = View(
    "ledger",
    ("accounts",),
    "Every movement of money. In each row the seven changes sum to zero.",
    {
        "kind": _text("kind", "what it was"),
        "account_id": _text("account_id", "the account, if one took part"),
        "market_id": _text("market_id", "the market, likewise"),
        "order_id": _text("order_id", "the order, likewise"),
        "cash": _decimal("cash", "the change of the account's cash"),
        "held": _decimal("held", "the change of what its orders hold"),
        "pool": _decimal("pool", "the change of the market's pool"),
        "fees": _decimal("fees", "the change of the operator's fees"),
        "house": _decimal("house", "the change of the operator's capital"),
        "bonds": _decimal("bonds", "the change of the bonds of disputes"),
        "external": _decimal("external", "the change of the world outside: less for a deposit"),
        "available_after": _decimal("available_after", "the account's cash afterwards"),
        "held_after": _decimal("held_after", "what its orders hold afterwards"),
        "time": _time("time", "when"),
        "position": _count("position", _POSITION),
    },
    "FROM ledger",
)

PROGRESS: Final = View(
    "progress",
    (),
    "How far every read model is. How far the log is, the log alone knows: see `/metrics`, `/v1/status`, `tidings lag`.",
    {
        "projection": _text("p.projection", "the read model"),
        "partition": _count("p.partition", "the partition of the log"),
        "position": _count("p.position", "the place in the log up to which it is folded"),
        "time": _time("nullif(p.time, 0)", "the time of the event there; null before the first one"),
        "behind_events": _count(
            "max(p.position) OVER (PARTITION BY p.partition) - p.position", "how far it is behind the foremost one"
        ),
        "parked": _count(
            "(SELECT count(*) FROM projection_parked k WHERE k.projection = p.projection AND k.partition = p.partition)",
            "events that were set aside, and those that wait behind them",
        ),
        "version": _count("p.version", "the version of its fold"),
        "updated_at": _time("p.updated_at", "when it moved last, by the database's clock"),
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


def page(text: str) -> str:
    """Return the page with the part behind the mark made anew: every view, and every column with its type."""
    sections = []
    for view in VIEWS.values():
        lines = [f"| `{name}` | {column.type} | {column.about} |" for name, column in view.columns.items()]
        table = "\n".join(["| column | type | |", "|---|---|---|", *lines])
        sections.append(f"## {view.name}\n\n{view.about}\n\n{table}\n")
    head, mark, _ = text.partition(_MARK)
    return head + mark + "\n" + "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
