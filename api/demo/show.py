"""The result of the demo: the story with its odds, a chart of one market's prices, the leaderboard; as text or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TextIO

from tidings_client import plain

if TYPE_CHECKING:
    from api.demo.play import Play
    from tidings_client import Client

CHART_ROWS: Final = 9
CHART_COLUMNS: Final = 70


def collect(client: Client, play: Play) -> dict[str, Any]:
    """Return the result of the play as of its last write, in JSON's types.

    `prices` has the price history by market and outcome, with at most one point every four hours; `opening` the opening
    prices; `ledger_sum` the sum over all books of the ledger, which is 0.
    """
    detailed = [plain(client.get_story(story.story_id).data) for story in client.list_stories()]
    markets = [market for story in detailed for market in story.pop("markets")]
    prices = {}
    for market in markets:
        prices[market["slug"]] = {
            row["outcome"]: plain(
                client.get_prices_history(market["market_id"], outcome=row["outcome"], fidelity=240).data.history
            )
            for row in market["outcomes"]
        }
    ledger = plain(client.get_ledger().data)
    return {
        "position": client.position,
        "seed": play.seed,
        "orders": play.orders,
        "refused": play.refused,
        "stories": detailed,
        "markets": markets,
        "opening": play.opening,
        "prices": prices,
        "leaderboard": plain(client.get_leaderboard().first().data),
        "ledger": ledger["books"],
        "ledger_sum": ledger["sum"],
    }


def show(result: dict[str, Any], out: TextIO) -> None:
    """Print a result for people."""
    story = result["stories"][0]
    print(f"\n{story['title']}\n{story['category']}, {story['published_at'][:10]}\n", file=out)
    for market in result["markets"]:
        print(f"  {market['question']}  [{market['status']}]", file=out)
        opening = result["opening"][market["slug"]]
        for row in market["outcomes"]:
            bar = "#" * round(float(row["price"]) * 30)
            paid = f"  pays {row['payout'][:4]}" if row["payout"] else ""
            start, now = (f"{float(price):6.1%}" for price in (opening[row["outcome"]], row["price"]))
            print(f"    {row['outcome']:<26}{start} -> {now}  {bar}{paid}", file=out)
        print(f"    volume {float(market['volume']):,.0f}, {market['traders']} traders\n", file=out)
    first = result["markets"][0]
    outcome = max(first["outcomes"], key=lambda row: row["payout"] or "")["outcome"]
    print(f"{first['question']} The odds of {outcome}, over time:\n", file=out)
    for line in chart([float(point["p"]) for point in result["prices"][first["slug"]][outcome]]):
        print(f"  {line}", file=out)
    print("\nLeaderboard\n", file=out)
    print(f"  {'':>4} {'account':<12} {'profit':>10} {'realized':>10} {'unrealized':>11} {'volume':>10}", file=out)
    for row in result["leaderboard"]:
        numbers = [float(row[name]) for name in ("pnl", "realized", "unrealized", "volume")]
        print(
            f"  {row['rank']:>4} {row['account']:<12} {numbers[0]:>10.2f} {numbers[1]:>10.2f} {numbers[2]:>11.2f} "
            f"{numbers[3]:>10.2f}",
            file=out,
        )
    print(
        f"\n{result['orders']} orders, log position {result['position']}, ledger sum {result['ledger_sum']}", file=out
    )


def chart(prices: list[float]) -> list[str]:
    """Return the lines of a chart of prices, the oldest on the left, with its axes."""
    if not prices:
        return ["(no trades)"]
    columns = [prices[i * len(prices) // CHART_COLUMNS] for i in range(CHART_COLUMNS)]
    lowest, highest = min(columns), max(columns)
    span = max(highest - lowest, 0.01)
    rows = [round((price - lowest) / span * (CHART_ROWS - 1)) for price in columns]
    lines = []
    for level in range(CHART_ROWS - 1, -1, -1):
        label = f"{lowest + span * level / (CHART_ROWS - 1):5.0%}" if level % 2 == 0 else " " * 5
        lines.append(f"{label} |" + "".join("*" if row == level else " " for row in rows).rstrip())
    lines.append(" " * 6 + "+" + "-" * CHART_COLUMNS)
    return lines
