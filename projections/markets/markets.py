"""Markets: terms, odds, trading so far, status and resolution; and all of it as it was at any position.

What changes with every trade, odds included (`market_activity`), and what changes with an operator's act
(`market_lifecycle`) are kept as versions, each valid from its position on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import ne
from typing import Any, Final, NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain import market as events
from domain.events import Recorded
from domain.money import Time
from domain.orders import RestingOrderFilled
from domain.story import StoryPublished
from projections import forecasts
from projections.machine.batch import EXECUTED, Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Rows, Workspace
from projections.market_facts import RESOLVED
from projections.markets.prices import signed
from projections.reading import AsOf, Conditions


@dataclass(slots=True)
class Market:
    """A market. Lists are in the order of `outcomes`; `payouts` are the fractions a share pays, None before there are any.

    `volume` is in credits (cost of the fills, without fees), `quantity` in shares, `trades` counts fills, `traders`
    accounts that had one; `open_interest` is the shares in the hands of accounts, none once the market is finalized or
    voided. `liquidity` is b in 1e-12 credits. `position` and `time` are those of the last change.
    """

    partition: int
    market_id: str
    story_id: str
    slug: str
    question: str
    category: str
    outcomes: list[str]
    initial_prices: list[int]
    close_time: int
    fee_rate: int
    dispute_seconds: int
    dispute_bond: int
    opened_position: int
    opened_at: int
    prices: list[int]
    open_interest: list[int]
    volume: int
    quantity: int
    trades: int
    traders: int
    status: str
    subsidy: int
    liquidity: int
    closed_at: int | None
    resolution_version: int
    resolution_source: str
    payouts: list[int] | None
    evidence_text: str | None
    evidence_url: str | None
    dispute_until: int | None
    disputed_by: str | None
    dispute_reason: str | None
    void_reason: str | None
    settled: bool
    residual: int
    position: int
    time: int

    @property
    def open_interest_total(self) -> int:
        """Shares of all outcomes in the hands of accounts."""
        return sum(self.open_interest)

    @property
    def key(self) -> tuple[int, str]:
        """Its place in lists, newest first."""
        return self.opened_position, self.market_id


class LifecycleVersion(NamedTuple):
    """What the operator's acts have made of a market, from this position on."""

    partition: int
    market_id: str
    position: int
    time: int
    status: str
    subsidy: int
    liquidity: int
    closed_at: int | None
    resolution_version: int
    resolution_source: str
    payouts: list[int] | None
    evidence_text: str | None
    evidence_url: str | None
    dispute_until: int | None
    disputed_by: str | None
    dispute_reason: str | None
    void_reason: str | None
    settled: bool
    residual: int


class ActivityVersion(NamedTuple):
    """What trading has made of a market, from this position on; bit i of `changed`: outcome i has another price."""

    partition: int
    market_id: str
    position: int
    time: int
    prices: list[int]
    changed: int
    open_interest: list[int]
    volume: int
    quantity: int
    trades: int
    traders: int


class Resolution(NamedTuple):
    """A wording of the resolution source; version 1 is the one at birth."""

    market_id: str
    version: int
    position: int
    time: int
    resolution_source: str


class Trader(NamedTuple):
    """An account that has had a fill in a market; as a plain pair it is its own key."""

    account_id: str
    market_id: str


class Category(NamedTuple):
    """The category of a story, which is that of its markets."""

    story_id: str
    category: str


MARKETS = Table(
    "markets",
    Market,
    key=["market_id"],
    indexes=[
        "slug",
        "story_id, opened_position",
        "status, opened_position",
        "category, opened_position",
        "opened_position",
    ],
)
LIFECYCLE = Table("market_lifecycle", LifecycleVersion, key=["market_id", "position"])
ACTIVITY = Table("market_activity", ActivityVersion, key=["market_id", "position"])
RESOLUTIONS = Table("market_resolutions", Resolution, key=["market_id", "version"])
TRADERS = Table("market_traders", Trader, key=["account_id", "market_id"])
CATEGORIES = Table("market_categories", Category, key=["story_id"])

ACTS: Final = frozenset(
    {
        events.MarketActivated,
        events.MarketHalted,
        events.MarketResumed,
        events.MarketClosed,
        events.ResolutionClarified,
        events.LiquidityAdded,
        events.MarketDetermined,
        events.MarketDisputed,
        events.DisputeUpheld,
        events.MarketFinalized,
        events.MarketCorrected,
        events.MarketReversed,
        events.MarketSettled,
        events.MarketVoided,
        events.MarketUnwound,
    }
)
VALUED: Final = frozenset({events.MarketDrafted, events.MarketActivated, events.MarketFinalized, events.MarketVoided})
SETS: Final = frozenset({events.SetsMinted, events.SetsBurned})
KINDS: Final = ACTS | SETS | EXECUTED | {StoryPublished, events.MarketDrafted, RestingOrderFilled}


def fold(batch: Batch, workspace: Workspace) -> None:
    """Bring every market up to date, and keep the version that each event made."""
    markets = workspace.load(MARKETS, lambda: batch.markets)
    traders = workspace.load_holdings(TRADERS, batch)
    cache, touched = markets.cache, markets.changed
    activity = workspace.rows(ACTIVITY).append
    event: Any
    for recorded in batch.of(KINDS):
        event = recorded.event
        kind = type(event)
        changed = 0
        if kind is StoryPublished:
            workspace.rows(CATEGORIES).put(event.story_id, Category(event.story_id, event.category))
            continue
        if kind in ACTS or kind is events.MarketDrafted:
            market = _acted(batch, workspace, recorded)
            if kind not in VALUED:
                continue
            changed = (1 << len(market.prices)) - 1 if kind is events.MarketActivated else 0
        else:
            market = cache[event.market_id]
            before = market.prices
            if not _trade(market, kind, event, traders):
                continue
            changed = _changed(before, market.prices)
        name, position, time = market.market_id, recorded.position, recorded.time
        activity(
            (
                market.partition,
                name,
                position,
                time,
                market.prices,
                signed(changed),
                market.open_interest,
                market.volume,
                market.quantity,
                market.trades,
                market.traders,
            )
        )
        market.position, market.time = position, time
        touched[name] = market


def _acted(batch: Batch, workspace: Workspace, recorded: Recorded) -> Market:
    """Take in an operator's act, keep the version that it made, and return the market."""
    event: Any = recorded.event
    kind = type(event)
    if kind is events.MarketDrafted:
        _draft(batch, workspace, recorded)
    markets = workspace.rows(MARKETS)
    market = markets.cache[event.market_id]
    paid = market.payouts if kind is events.MarketCorrected else None
    _act(market, event, recorded.time)
    if kind in RESOLVED:
        forecasts.resolve(workspace, market, lambda time: _prices_at(workspace, market, time), paid, recorded.position)
    if kind is events.ResolutionClarified:
        _keep_resolution(workspace, market, recorded)
    workspace.rows(LIFECYCLE).append(_lifecycle_version(market, recorded.position, recorded.time))
    market.position, market.time = recorded.position, recorded.time
    markets.change(market.market_id)
    return market


def _prices_at(workspace: Workspace, market: Market, time: Time) -> Sequence[int] | None:
    """Return the prices of a closed market at a time, None where it was not trading yet. Since its close they rest."""
    assert market.closed_at is not None, "a market is closed before it is finalized"
    if time >= market.closed_at:
        return market.prices
    if time < market.opened_at:
        return None
    workspace.rows(ACTIVITY).make_ready(workspace.connection)
    row = workspace.connection.execute(_PRICES_AT, {"market": market.market_id, "time": time}).fetchone()
    return row[0] if row else None


_PRICES_AT: Final = """
    SELECT prices FROM market_activity WHERE market_id = %(market)s AND time <= %(time)s AND position >= (
        SELECT position FROM market_activity WHERE market_id = %(market)s AND changed <> 0 ORDER BY position LIMIT 1)
    ORDER BY position DESC LIMIT 1"""


def _draft(batch: Batch, workspace: Workspace, recorded: Recorded) -> None:
    """Add a market, and the first wording of its resolution source."""
    event: Any = recorded.event
    category = workspace.load(CATEGORIES, lambda: batch.stories).get(event.story_id)
    market = _drafted(event, category.category if category else "", batch.partition)
    market.opened_position, market.opened_at = recorded.position, recorded.time
    workspace.rows(MARKETS).put(event.market_id, market)
    _keep_resolution(workspace, market, recorded)


def _keep_resolution(workspace: Workspace, market: Market, recorded: Recorded) -> None:
    """Add the wording that holds from now on."""
    workspace.rows(RESOLUTIONS).append(
        Resolution(
            market.market_id, market.resolution_version, recorded.position, recorded.time, market.resolution_source
        )
    )


def _changed(before: list[int], after: list[int]) -> int:
    """Return a bit for each outcome whose price is another one. Prices that did not change are the same list."""
    if before is after:
        return 0
    if all(map(ne, before, after)):
        return (1 << len(after)) - 1
    return sum(1 << i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new)


def _trade(market: Market, kind: type, event: Any, traders: Rows[Trader]) -> bool:
    """Take in what an event of trading changes; return whether it changed anything. Lists are replaced, never changed:
    a version that holds one keeps it.
    """
    interest = market.open_interest
    if kind in EXECUTED:
        execution = event.execution
        if not execution.fills:
            return False
        market.volume += execution.cost
        market.quantity += execution.filled
        market.trades += len(execution.fills)
        if execution.sets:
            interest = [shares + execution.sets for shares in interest]
        if execution.amm_shares:
            interest = list(interest)
            interest[market.outcomes.index(event.outcome)] += execution.amm_shares
        if execution.prices:
            market.prices = list(execution.prices)
        _count_trader(market, event.account_id, traders)
        for fill in execution.fills:
            if fill.account_id is not None:
                _count_trader(market, fill.account_id, traders)
    elif kind is RestingOrderFilled:
        _count_trader(market, event.account_id, traders)
        market.volume += event.cost
        market.quantity += event.quantity
        market.trades += 1
        interest = list(interest)
        interest[market.outcomes.index(event.outcome)] += event.quantity if event.side == "buy" else -event.quantity
        if event.prices:
            market.prices = list(event.prices)
    else:
        change = event.amount if kind is events.SetsMinted else -event.amount
        interest = [shares + change for shares in interest]
    market.open_interest = interest
    return True


def _count_trader(market: Market, account_id: str, traders: Rows[Trader]) -> None:
    """Count an account that trades in the market for the first time."""
    pair = (account_id, market.market_id)
    if pair not in traders.cache:
        traders.cache[pair] = traders.new[pair] = Trader(*pair)
        market.traders += 1


def _drafted(event: events.MarketDrafted, category: str, partition: int) -> Market:
    return Market(
        partition=partition,
        market_id=event.market_id,
        story_id=event.story_id,
        slug=event.slug,
        question=event.question,
        category=category,
        outcomes=list(event.outcomes),
        initial_prices=list(event.initial_prices),
        close_time=event.close_time,
        fee_rate=event.fee_rate,
        dispute_seconds=event.dispute_seconds,
        dispute_bond=event.dispute_bond,
        opened_position=0,
        opened_at=0,
        prices=list(event.initial_prices),
        open_interest=[0] * len(event.outcomes),
        volume=0,
        quantity=0,
        trades=0,
        traders=0,
        status=events.Status.DRAFT.value,
        subsidy=event.subsidy,
        liquidity=0,
        closed_at=None,
        resolution_version=1,
        resolution_source=event.resolution_source,
        payouts=None,
        evidence_text=None,
        evidence_url=None,
        dispute_until=None,
        disputed_by=None,
        dispute_reason=None,
        void_reason=None,
        settled=False,
        residual=0,
        position=0,
        time=0,
    )


def _act(market: Market, event: Any, time: int) -> None:  # noqa: C901, PLR0912  one case an event
    """Take in what an operator or a disputer did, or what followed from it."""
    match event:
        case events.MarketActivated():
            market.status, market.subsidy, market.liquidity = "active", event.subsidy, event.liquidity
            market.prices = list(event.prices)
        case events.MarketHalted():
            market.status = "halted"
        case events.MarketResumed():
            market.status = "active"
        case events.MarketClosed():
            market.status, market.closed_at = "closed", time
        case events.ResolutionClarified():
            market.resolution_version, market.resolution_source = event.version, event.resolution_source
        case events.LiquidityAdded():
            market.subsidy += event.amount
            market.liquidity = event.liquidity
        case events.MarketDetermined():
            market.status, market.dispute_until = "determined", event.dispute_until
            market.disputed_by = market.dispute_reason = None
            _resolve(market, event.payouts, event.evidence)
        case events.MarketDisputed():
            market.status, market.disputed_by, market.dispute_reason = "disputed", event.account_id, event.reason
        case events.DisputeUpheld():
            market.status, market.dispute_until = "determined", event.dispute_until
        case events.MarketFinalized():
            market.status, market.open_interest = "finalized", [0] * len(market.outcomes)
            _resolve(market, event.payouts, None)
        case events.MarketCorrected():
            market.settled, market.residual = False, 0
            _resolve(market, event.payouts, event.evidence)
        case events.MarketSettled() | events.MarketUnwound():
            market.settled, market.residual = True, event.residual
        case events.MarketVoided():
            market.status, market.void_reason, market.payouts = "voided", event.reason, None
            market.open_interest = [0] * len(market.outcomes)
        case _:
            pass


def _resolve(market: Market, payouts: tuple[events.Payout, ...], evidence: events.Evidence | None) -> None:
    fractions = {payout.outcome: payout.fraction for payout in payouts}
    market.payouts = [fractions.get(outcome, 0) for outcome in market.outcomes]
    if evidence is not None:
        market.evidence_text, market.evidence_url = evidence.text, evidence.url


def _lifecycle_version(market: Market, position: int, time: int) -> LifecycleVersion:
    return LifecycleVersion(
        market.partition,
        market.market_id,
        position,
        time,
        market.status,
        market.subsidy,
        market.liquidity,
        market.closed_at,
        market.resolution_version,
        market.resolution_source,
        market.payouts,
        market.evidence_text,
        market.evidence_url,
        market.dispute_until,
        market.disputed_by,
        market.dispute_reason,
        market.void_reason,
        market.settled,
        market.residual,
    )


PROJECTION = Projection(
    "markets",
    5,
    (MARKETS, LIFECYCLE, ACTIVITY, RESOLUTIONS, TRADERS, CATEGORIES, *forecasts.TABLES),
    fold,
    scope="market",
    weight=5.5,
)

_OF_THEN: Final = {
    **{name: f"l.{name}" for name in LifecycleVersion._fields[4:]},
    **{name: f"a.{name}" for name in ActivityVersion._fields[4:] if name != "changed"},
    "position": "greatest(l.position, a.position)",
    "time": "greatest(l.time, a.time)",
}

_COLUMNS_OF_THEN: Final = ", ".join(f"{_OF_THEN.get(name, 'm.' + name)} AS {name}" for name in MARKETS.columns)

_PAST: Final = f"""(
    SELECT {_COLUMNS_OF_THEN}
    FROM markets m
    CROSS JOIN LATERAL (SELECT * FROM market_lifecycle WHERE market_id = m.market_id AND position <= %s
        ORDER BY position DESC LIMIT 1) l
    CROSS JOIN LATERAL (SELECT * FROM market_activity WHERE market_id = m.market_id AND position <= %s
        ORDER BY position DESC LIMIT 1) a) m"""


def _select(connection: Connection, as_of: AsOf, where: Conditions, tail: str, values: list[Any]) -> list[Market]:
    source, times = (_PAST, [as_of.position] * 2) if as_of.past else ("markets m", [])
    with connection.cursor(row_factory=args_row(Market)) as cursor:
        return cursor.execute(
            f"SELECT {MARKETS.column_list} FROM {source} {where.sql} {tail}", [*times, *where.values, *values]
        ).fetchall()


def get_market(connection: Connection, as_of: AsOf, ref: str) -> Market | None:
    """Return the market with this id, or the only one with this slug, or None."""
    where = Conditions("(market_id = %s OR slug = %s)", ref, ref)
    where.add("opened_position <= %s", as_of.position)
    rows = _select(connection, as_of, where, "ORDER BY market_id <> %s LIMIT 2", [ref])
    return rows[0] if rows and (len(rows) == 1 or rows[0].market_id == ref) else None


def list_markets(
    connection: Connection,
    as_of: AsOf,
    *,
    status: str | None = None,
    story_id: str | None = None,
    category: str | None = None,
    limit: int = 50,
    after: tuple[int, str] | None = None,
) -> list[Market]:
    """Return markets, newest first."""
    where = Conditions("opened_position <= %s", as_of.position)
    where.add_if("status = %s", status)
    where.add_if("story_id = %s", story_id)
    where.add_if("category = %s", category)
    where.after("opened_position, market_id", after)
    return _select(connection, as_of, where, "ORDER BY opened_position DESC, market_id DESC LIMIT %s", [limit])


def resolutions(connection: Connection, as_of: AsOf, market_id: str) -> list[Resolution]:
    """Return all wordings of the market's resolution source, oldest first."""
    with connection.cursor(row_factory=args_row(Resolution)) as cursor:
        return cursor.execute(
            f"SELECT {RESOLUTIONS.column_list} FROM market_resolutions WHERE market_id = %s AND position <= %s "
            "ORDER BY version",
            [market_id, as_of.position],
        ).fetchall()
