# /// script
# requires-python = ">=3.11"
# dependencies = ["marimo", "duckdb>=2.0.1,<3"]
# ///
"""A marimo notebook that opens an export of `tidings export`: `uvx --with duckdb marimo run docs/analysis_notebook.py -- x`."""

import marimo

app = marimo.App(width="medium", app_title="An exchange, from its export")


@app.cell
def open_export():
    import html
    import sys
    from pathlib import Path

    import duckdb
    import marimo as mo

    given = [word for word in sys.argv[1:] if (Path(word) / "manifest.json").exists()]
    folder = Path(given[0] if given else "x")
    if not (folder / "manifest.json").exists():
        raise SystemExit(f"{folder} has no export: run `tidings export {folder}` first")
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")

    def ask(query):
        """Return the rows of a query, in which {x} is the folder of the export."""
        return database.execute(query.replace("{x}", str(folder).replace("'", "''"))).fetchall()

    ((end, last),) = ask("SELECT max(position), max(time) FROM '{x}/events/**/*.parquet'")
    mo.md(f"# An exchange, from its export\n\n`{folder}`: {end:,} events up to {last}.")
    return ask, html, mo


@app.cell
def charts(html, mo):
    COLORS = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f"]
    WIDTH, HEIGHT = 720, 240

    def scaled(value, low, high, length):
        return length * (float(value) - low) / ((high - low) or 1)

    def lines(title, series, marks=(), low=0.0, high=1.0, steps=True):
        """Return a chart: for each name a list of (x, y), and marks as (x, text)."""
        xs = [x for points in series.values() for x, _ in points] + [x for x, _ in marks]
        first, last = min(xs), max(xs)
        parts = []
        for number, (name, points) in enumerate(series.items()):
            color = COLORS[number % len(COLORS)]
            path = ""
            for x, y in points:
                at = scaled(x, first, last, WIDTH)
                up = HEIGHT - scaled(y, low, high, HEIGHT)
                path += f"H{at:.1f}V{up:.1f}" if path and steps else f"{'L' if path else 'M'}{at:.1f} {up:.1f}"
            parts.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
            parts.append(
                f'<text x="{WIDTH + 8}" y="{14 + 16 * number}" fill="{color}" font-size="12">{html.escape(name)}</text>'
            )
        for number, (x, text) in enumerate(marks):
            at = scaled(x, first, last, WIDTH)
            parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{HEIGHT}" stroke="#888" stroke-dasharray="2 3"/>'
            )
            parts.append(
                f'<text x="{at + 3:.1f}" y="{HEIGHT - 6 - 13 * (number % 4)}" font-size="11" fill="#666">{html.escape(text)}</text>'
            )
        return framed(title, parts)

    def bars(title, rows):
        """Return a chart of (name, amount): losses to the left, gains to the right."""
        most = max((abs(float(amount)) for _, amount in rows), default=1) or 1
        parts = [f'<line x1="360" x2="360" y1="0" y2="{22 * len(rows)}" stroke="#888"/>']
        for number, (name, amount) in enumerate(rows):
            length = 180 * abs(float(amount)) / most
            left = 360 - length if amount < 0 else 360
            color = "#dc2626" if amount < 0 else "#059669"
            y = 22 * number
            parts.append(f'<rect x="{left:.1f}" y="{y + 3}" width="{length:.1f}" height="15" fill="{color}"/>')
            parts.append(f'<text x="0" y="{y + 15}" font-size="12" fill="currentColor">{html.escape(str(name))}</text>')
            parts.append(f'<text x="560" y="{y + 15}" font-size="12" fill="currentColor">{amount:,.2f}</text>')
        return framed(title, parts, 22 * len(rows))

    def framed(title, parts, height=HEIGHT):
        return mo.Html(
            f'<figure><figcaption>{html.escape(title)}</figcaption><svg role="img" aria-label="{html.escape(title)}" '
            f'viewBox="-4 -4 {WIDTH + 180} {height + 12}" width="100%">{"".join(parts)}</svg></figure>'
        )

    return bars, lines


@app.cell
def prices(ask, lines, mo):
    """Prices of each market, with what happened to it."""
    _views = [mo.md("## Prices, and what happened")]
    for _market_id, _slug, _question in ask(
        "SELECT market_id, slug, question FROM '{x}/markets.parquet' ORDER BY opened_at, slug"
    ):
        _series = {}
        for _outcome, _time, _price in ask(
            f"SELECT outcome, epoch(time), price FROM '{{x}}/ticks/*.parquet' WHERE market_id = '{_market_id}' ORDER BY position"
        ):
            _series.setdefault(_outcome, []).append((_time, _price))
        _marks = ask(
            "SELECT epoch(time), type FROM '{x}/events/**/*.parquet' "
            f"WHERE market_id = '{_market_id}' AND stream LIKE 'market-%' AND type IN ('ResolutionClarified', 'MarketHalted', "
            "'MarketResumed', 'MarketClosed', 'MarketDetermined', 'MarketDisputed', 'MarketFinalized', 'MarketCorrected', "
            "'MarketVoided', 'LiquidityAdded') ORDER BY position"
        )
        if _series:
            _views.append(lines(f"{_slug}: {_question}", _series, _marks))
    mo.vstack(_views)
    return


@app.cell
def calibration(ask, lines, mo):
    """What outcomes cost at the close of their market against how often they came true."""
    _rows = ask(
        "SELECT avg(price)::DOUBLE, avg(payout)::DOUBLE FROM '{x}/odds.parquet' JOIN '{x}/markets.parquet' USING (market_id) "
        "WHERE status = 'finalized' GROUP BY least(floor(price * 10), 9) ORDER BY 1"
    )
    _series = {"perfect": [(0.0, 0.0), (1.0, 1.0)]} | ({"this exchange": _rows} if _rows else {})
    mo.vstack([mo.md("## Calibration"), lines("paid, by the price at the close", _series, steps=False)])
    return


@app.cell
def profits(ask, bars, mo):
    """Who made whose losses: profit by account; what all made together, the market maker lost."""
    _rows = ask(
        "SELECT name, sum(pnl) AS pnl FROM '{x}/profits.parquet' JOIN '{x}/accounts.parquet' USING (account_id) "
        "GROUP BY 1 ORDER BY 2 DESC LIMIT 20"
    )
    mo.vstack([mo.md("## Who made whose losses"), bars("profit by account, the first 20", _rows)])
    return


@app.cell
def maker(ask, bars, mo):
    """What the market maker's capital made of each market that has ended; it can lose the subsidy at most."""
    _rows = ask(
        "SELECT slug, sum(house) AS made FROM '{x}/ledger/*.parquet' JOIN '{x}/markets.parquet' USING (market_id) "
        "WHERE settled GROUP BY 1 ORDER BY 2"
    )
    mo.vstack([mo.md("## What the market maker lost"), bars("result of the market maker, by market", _rows)])
    return


@app.cell
def flow(ask, lines, mo):
    """Orders by day: how many were placed, and how many commands were refused."""
    _series = {}
    for _kind, _day, _count in ask(
        "SELECT CASE type WHEN 'OrderPlaced' THEN 'orders' ELSE 'refused' END, epoch(date_trunc('day', time)), count(*) "
        "FROM '{x}/events/**/*.parquet' WHERE type IN ('OrderPlaced', 'CommandRejected') GROUP BY 1, 2 ORDER BY 1, 2"
    ):
        _series.setdefault(_kind, []).append((_day, _count))
    _most = max((count for points in _series.values() for _, count in points), default=1)
    mo.vstack(
        [mo.md("## The flow of orders"), lines("orders by day", _series, high=_most) if _series else mo.md("none")]
    )
    return


if __name__ == "__main__":
    app.run()
