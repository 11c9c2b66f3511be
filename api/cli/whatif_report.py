"""The comparison of two worlds as text for people and as JSON. For `tidings whatif`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from api.http.serializers import serialize
from domain.money import MICRO, format_decimal
from messages.events import public_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analysis.comparison import ComparedWorlds
    from analysis.control import ControlError
    from analysis.measures import FillChange, MarketMeasures, WorldMeasures
    from analysis.terms import Terms
    from projections.positions.leaderboard import Standing

ROWS_MAX: Final = 20
"""The most markets and accounts in the text; JSON has all that are compared."""

MECHANICAL: Final = "mechanical: traders are assumed to send the same commands; they would not"


def whatif_json(found: ComparedWorlds, terms: Terms) -> dict[str, Any]:
    """Return the comparison in JSON's types: amounts as decimal strings."""
    return {"terms": terms_json(terms)} | comparison_json(found)


def comparison_json(found: ComparedWorlds) -> dict[str, Any]:
    """Return what compares two worlds, in JSON's types."""
    counts = found.counts
    return {
        "position": found.position,
        "commands": {
            "exact": counts.certainties["exact"],
            "by_effect": counts.certainties["effect"],
            "without_body": counts.certainties["lost"],
            "without_body_by_code": [
                {"type": kind, "code": code, "commands": number} for (kind, code), number in counts.lost.most_common()
            ],
            "adding_liquidity": counts.liquidity_added,
        },
        "control": {"equal": True, "events": found.same.events},
        "same": serialize(found.same),
        "other": serialize(found.other),
        "fills_lost": [serialize(change) for change in found.fills_lost],
        "fills_gained": [serialize(change) for change in found.fills_gained],
        "answers": [
            {"type": change.type, "then": change.then or None, "now": change.now or None, "commands": number}
            for change, number in counts.changes.most_common()
        ],
    }


def control_failed(error: ControlError) -> dict[str, Any]:
    """Return the first difference of the control run in JSON's types."""
    decided = None if error.decided is None else public_event(error.decided)
    return {"control": {"equal": False, "recorded": public_event(error.recorded), "decided": decided}}


def terms_json(terms: Terms) -> dict[str, Any]:
    """Return the terms in JSON's types, None where they stay as they were."""
    amounts = {"fee_rate": terms.fee_rate, "subsidy": terms.subsidy, "tick": terms.tick}
    return {
        **{name: None if value is None else format_decimal(value) for name, value in amounts.items()},
        "dispute_seconds": terms.dispute_seconds,
        "markets": sorted(terms.markets) or None,
    }


# --- text


def whatif_text(found: ComparedWorlds, terms: Terms) -> str:
    """Return the comparison as text: amounts with two decimals."""
    lines = [f"what if {_terms_text(terms)}, up to position {found.position:,}", ""]
    return "\n".join(lines + comparison_lines(found))


def comparison_lines(found: ComparedWorlds) -> list[str]:
    """Return the lines that compare two worlds."""
    lines = list(_sums(found.same, found.other))
    lines += ["", *_markets(found.same.markets, found.other.markets)]
    lines += ["", *_accounts(found.same.standings, found.other.standings)]
    lines += ["", *_orders(found)]
    counts = found.counts
    why = ", ".join(f"{number:,} {kind} {code}" for (kind, code), number in counts.lost.most_common())
    known = f"{counts.certainties['exact']:,} exact, {counts.certainties['effect']:,} by effect"
    lines += [
        "",
        f"commands: {known}, {counts.certainties['lost']:,} without body{f' ({why})' if why else ''}",
        f"control: {found.same.events:,} of {found.same.events:,} events equal",
        MECHANICAL,
    ]
    return lines


def _terms_text(terms: Terms) -> str:
    named = {
        "fee rate": None if terms.fee_rate is None else _short(terms.fee_rate),
        "subsidy": None if terms.subsidy is None else _money(terms.subsidy),
        "tick": None if terms.tick is None else _short(terms.tick),
        "dispute window": None if terms.dispute_seconds is None else f"{terms.dispute_seconds:,} s",
    }
    changed = " and ".join(f"{name} {value}" for name, value in named.items() if value is not None)
    markets = "all markets" if not terms.markets else ", ".join(sorted(terms.markets))
    return f"{changed or 'nothing changed'} of {markets}"


def _sums(same: WorldMeasures, other: WorldMeasures) -> Iterator[str]:
    yield f"{'':<28}{'then':>16}{'now':>16}{'change':>16}"
    amounts = [
        ("house, without fees", same.books.house, other.books.house),
        ("fees", same.books.fees, other.books.fees),
        ("bonds of open disputes", same.books.bonds, other.books.bonds),
        ("cash of accounts", same.books.cash + same.books.held, other.books.cash + other.books.held),
        ("in pools of markets", same.books.pool, other.books.pool),
        ("volume", same.volume, other.volume),
    ]
    for name, then, now in amounts:
        yield f"{name:<28}{_money(then):>16}{_money(now):>16}{_money(now - then):>16}"
    for name, then, now in (("fills", same.trades, other.trades), ("events", same.events, other.events)):
        yield f"{name:<28}{then:>16,}{now:>16,}{now - then:>16,}"
    for title, before, after in (
        ("Brier score at close", same.brier, other.brier),
        ("log score at close", same.log_score, other.log_score),
    ):
        change = "" if before is None or after is None else format_decimal(after - before)
        yield f"{title:<28}{_score(before):>16}{_score(after):>16}{change:>16}"


def _markets(same: Sequence[MarketMeasures], other: Sequence[MarketMeasures]) -> Iterator[str]:
    """Yield a line for each market: what it brings the house at worst, its bound, its volume, its price at the end."""
    now = {market.market_id: market for market in other}
    yield (
        f"{'market':<24}{'outcome':<16}{'house':>11}{'now':>11}{'bound':>11}{'now':>11}{'volume':>11}{'now':>11}"
        f"{'price':>8}{'now':>8}"
    )
    for market in same[:ROWS_MAX]:
        at = _shown_outcome(market)
        columns = [market] + ([now[market.market_id]] if market.market_id in now else [])
        house, bound, volume = (
            [_money(one.worst) for one in columns],
            [_money(-one.subsidy) for one in columns],
            [_money(one.volume) for one in columns],
        )
        prices = [f"{format_decimal(one.prices[at])[:5]:>8}" for one in columns]
        cells = [f"{(*pair, '-')[place]:>11}" for pair in (house, bound, volume) for place in (0, 1)]
        yield f"{market.slug[:23]:<24}{market.outcomes[at][:15]:<16}{''.join(cells)}{''.join(prices)}"
    yield from _more(len(same), "markets")


def _shown_outcome(market: MarketMeasures) -> int:
    """Return the number of the outcome that pays most, or that has the highest price until something is paid."""
    values = market.payouts or market.prices
    return values.index(max(values))


def _accounts(same: Sequence[Standing], other: Sequence[Standing]) -> Iterator[str]:
    now = {standing.account_id: standing for standing in other}
    yield f"{'account':<28}{'profit':>16}{'now':>16}{'change':>16}{'rank':>8}{'now':>8}"
    for standing in same[:ROWS_MAX]:
        after = now.get(standing.account_id)
        if after is None:
            yield f"{standing.name[:27]:<28}{_money(standing.pnl):>16}{'-':>16}{'':>16}{standing.rank:>8}{'-':>8}"
            continue
        change = _money(after.pnl - standing.pnl)
        yield (
            f"{standing.name[:27]:<28}{_money(standing.pnl):>16}{_money(after.pnl):>16}{change:>16}"
            f"{standing.rank:>8}{after.rank:>8}"
        )
    yield from _more(len(same), "accounts")


def _more(rows: int, what: str) -> Iterator[str]:
    if rows > ROWS_MAX:
        yield f"... and {rows - ROWS_MAX:,} more {what}: see --json"


def _orders(found: ComparedWorlds) -> Iterator[str]:
    yield f"orders with fills then and none now: {_reasons(found.fills_lost)}"
    yield f"orders with fills now and none then: {_reasons(found.fills_gained)}"
    changes = [
        f"{number:,} {change.type} {change.then or 'accepted'} -> {change.now or 'accepted'}"
        for change, number in found.counts.changes.most_common()
    ]
    yield f"commands with another answer: {', '.join(changes) or 'none'}"
    if found.counts.liquidity_added:
        yield f"liquidity was added {found.counts.liquidity_added:,} times: these amounts stay as they were"


def _reasons(changes: Iterable[FillChange]) -> str:
    changes = list(changes)
    total = sum(change.orders for change in changes)
    why = ", ".join(f"{change.orders:,} {change.reason}" for change in changes)
    return f"{total:,}{f' ({why})' if why else ''}"


def _money(micros: int) -> str:
    """Return an amount with two decimals, rounded half away from zero."""
    cents, sign = (abs(micros) + MICRO // 200) // (MICRO // 100), "-" if micros < 0 else ""
    return f"{sign if cents else ''}{cents // 100:,}.{cents % 100:02}"


def _short(micros: int) -> str:
    return format_decimal(micros).rstrip("0").rstrip(".")


def _score(value: int | None) -> str:
    return "-" if value is None else format_decimal(value)
