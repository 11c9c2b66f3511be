"""Markets: terms, prices, trading so far, status and resolution, now and at any position."""

from collections.abc import Sequence
from typing import Any, Final, cast

from psycopg import Connection
from psycopg.rows import args_row

from domain.events import Recorded
from domain.market import (
    LifecycleEvent,
    MarketActivated,
    MarketCorrected,
    MarketDrafted,
    MarketFinalized,
    MarketVoided,
    ResolutionClarified,
    SetsBurned,
    SetsMinted,
)
from domain.money import Time
from domain.orders import OrderAmended, OrderPlaced, RestingOrderFilled
from domain.story import StoryPublished
from projections import calibration
from projections.machine.batch import EXECUTED, Batch
from projections.machine.projection import Projection
from projections.machine.row_values import copying
from projections.machine.workspace import Workspace
from projections.market_facts import Categories
from projections.markets.activity import Activity
from projections.markets.lifecycle import LIFECYCLE_EVENTS, SETS, apply, drafted
from projections.markets.tables import (
    ACTIVITY,
    CATEGORIES,
    LIFECYCLE,
    MARKETS,
    RESOLUTIONS,
    TEXTS,
    TITLES,
    TRADERS,
    ActivityVersion,
    LifecycleVersion,
    MarketRow,
    MarketText,
    ResolutionWording,
    StoryTitle,
)
from projections.reading import AsOf, Conditions, query, whole_numbers

KINDS: Final = LIFECYCLE_EVENTS | SETS | EXECUTED | {StoryPublished, MarketDrafted, RestingOrderFilled}

_lifecycle_version = copying(LifecycleVersion, MarketRow)


def fold(batch: Batch, workspace: Workspace) -> None:
    """Bring every market up to date, and keep the version that each event made."""
    activity = Activity(workspace)
    life = Life(batch, workspace, activity)
    for recorded in batch.of(KINDS):
        match recorded.event:
            case OrderPlaced() | OrderAmended() as event:
                activity.execute(event, recorded)
            case RestingOrderFilled() as event:
                activity.fill_resting(event, recorded)
            case SetsMinted() | SetsBurned() as event:
                activity.change_sets(event, recorded)
            case StoryPublished() as event:
                life.publish(event)
            case MarketDrafted() as event:
                life.draft(event, recorded)
            case _ as event:
                life.follow(cast("LifecycleEvent", event), recorded)


class Life:
    """Takes in the lifecycle events of a batch."""

    def __init__(self, batch: Batch, workspace: Workspace, activity: Activity) -> None:
        self._categories = Categories(workspace.rows(CATEGORIES))
        self._titles = workspace.rows(TITLES)
        self._partition = batch.partition
        self._workspace = workspace
        self._markets = workspace.rows(MARKETS)
        self._activity = activity

    def publish(self, event: StoryPublished) -> None:
        """Keep what the markets of a story need of it."""
        self._categories.publish(event)
        self._titles.add(StoryTitle(story_id=event.story_id, title=event.title))

    def draft(self, event: MarketDrafted, recorded: Recorded) -> None:
        """Add a market, and the first wording of its resolution source."""
        category = self._categories.of(event.story_id)
        market = self._markets.add(drafted(event, category, self._partition, recorded.position, recorded.time))
        story = self._titles.get(event.story_id)
        self._keep_wording(market, story.title if story else "")
        self._keep(market)
        self._activity.keep(market, recorded)

    def follow(self, event: LifecycleEvent, recorded: Recorded) -> None:
        """Take in what happened to a market, and keep the versions that it made."""
        market = self._markets.edit(event.market_id)
        before = market.payouts
        apply(market, event, recorded.time)
        market.position, market.time = recorded.position, recorded.time
        self._keep(market)
        match event:
            case MarketActivated():
                self._activity.activate(market, recorded)
            case MarketFinalized():
                self._forecast(market, None)
                self._activity.keep(market, recorded)
            case MarketCorrected():
                self._forecast(market, before)
            case MarketVoided():
                self._activity.keep(market, recorded)
            case ResolutionClarified():
                # The event does not name the story, so its row was not loaded for the batch.
                rows = self._workspace.query(_TITLE_OF, {"story": market.story_id}, TITLES)
                self._keep_wording(market, rows[0][0] if rows else "")
            case _:
                pass

    def _keep(self, market: MarketRow) -> None:
        self._workspace.rows(LIFECYCLE).append(_lifecycle_version(market))

    def _keep_wording(self, market: MarketRow, title: str) -> None:
        """Add the wording that holds from now on, and the texts by which the market is found."""
        self._workspace.rows(RESOLUTIONS).append(
            ResolutionWording(
                market_id=market.market_id,
                version=market.resolution_version,
                position=market.position,
                time=market.time,
                resolution_source=market.resolution_source,
            )
        )
        self._workspace.rows(TEXTS).append(
            MarketText(
                market_id=market.market_id,
                position=market.position,
                question=market.question,
                title=title,
                details=" \n".join([*market.outcomes, market.resolution_source]),
            )
        )

    def _forecast(self, market: MarketRow, before: Sequence[int] | None) -> None:
        """Add the forecasts of a market by what it pays now, without those by what it paid before."""
        assert market.closed_at is not None, "a market is closed before it is finalized"
        assert market.payouts is not None, "a finalized market pays"
        resolved = calibration.ResolvedMarket(
            category=market.category, closed_at=market.closed_at, before=before, now=market.payouts
        )
        calibration.add(self._workspace, resolved, lambda time: self._prices_at(market, time), market.position)

    def _prices_at(self, market: MarketRow, time: Time) -> Sequence[int] | None:
        """Return the prices of a closed market at a time, None where it was not trading yet. They rest from its close on."""
        assert market.closed_at is not None, "a market is closed before it is finalized"
        if time >= market.closed_at:
            return market.prices
        if time < market.opened_at:
            return None
        rows = self._workspace.query(_PRICES_AT, {"market": market.market_id, "time": time}, ACTIVITY)
        return cast("list[int]", rows[0][0]) if rows else None


_TITLE_OF: Final = "SELECT title FROM market_story_titles WHERE story_id = %(story)s"

_PRICES_AT: Final = """
    SELECT prices FROM market_activity WHERE market_id = %(market)s AND time <= %(time)s AND position >= (
        SELECT position FROM market_activity WHERE market_id = %(market)s AND changed <> 0 ORDER BY position LIMIT 1)
    ORDER BY position DESC LIMIT 1"""


PROJECTION = Projection(
    "markets",
    9,
    (MARKETS, LIFECYCLE, ACTIVITY, RESOLUTIONS, TRADERS, CATEGORIES, TITLES, TEXTS, *calibration.TABLES),
    fold,
    scope="market",
    weight=5.5,
)

_PAST_VALUES: Final = {
    **{name: f"l.{name}" for name in LifecycleVersion._fields[4:]},
    **{name: f"a.{name}" for name in ActivityVersion._fields[4:] if name != "changed"},
    "position": "greatest(l.position, a.position)",
    "time": "greatest(l.time, a.time)",
}

_PAST_COLUMNS: Final = ", ".join(f"{_PAST_VALUES.get(name, 'm.' + name)} AS {name}" for name in MARKETS.columns)

_PAST: Final = f"""(
    SELECT {_PAST_COLUMNS}
    FROM markets m
    CROSS JOIN LATERAL (SELECT * FROM market_lifecycle WHERE market_id = m.market_id AND position <= %s
        ORDER BY position DESC LIMIT 1) l
    CROSS JOIN LATERAL (SELECT * FROM market_activity WHERE market_id = m.market_id AND position <= %s
        ORDER BY position DESC LIMIT 1) a) m"""


def source(as_of: AsOf) -> tuple[str, list[int]]:
    """Return the SQL for the markets as they were, named `m`, and the values of its parameters."""
    return (_PAST, [as_of.position] * 2) if as_of.past else ("markets m", [])


def _select(connection: Connection, as_of: AsOf, where: Conditions, tail: str, values: list[Any]) -> list[MarketRow]:
    table, at = source(as_of)
    with whole_numbers(connection, args_row(MarketRow)) as cursor:
        return cursor.execute(
            f"SELECT {MARKETS.column_list} FROM {table} {where.sql} {tail}", [*at, *where.values, *values]
        ).fetchall()


@query("markets")
def get_market(connection: Connection, as_of: AsOf, ref: str) -> MarketRow | None:
    """Return the market with this id or slug, or None."""
    where = Conditions("(market_id = %s OR slug = %s)", ref, ref)
    where.add("opened_position <= %s", as_of.position)
    rows = _select(connection, as_of, where, "", [])
    return rows[0] if rows else None


@query("markets")
def story_markets(
    connection: Connection,
    as_of: AsOf,
    story_id: str,
    *,
    limit: int | None = None,
    after: tuple[int, str] | None = None,
) -> list[MarketRow]:
    """Return the markets of a story, oldest first; without a limit, all."""
    where = Conditions("opened_position <= %s", as_of.position)
    where.add("story_id = %s", story_id)
    if after is not None:
        where.add("(opened_position, market_id) > (%s, %s)", *after)
    return _select(connection, as_of, where, "ORDER BY opened_position, market_id LIMIT %s", [limit])


@query("markets")
def named(connection: Connection, as_of: AsOf, references: Sequence[str]) -> dict[str, MarketRow]:
    """Return the markets with these ids or slugs, by the reference that names them; those that nobody knows are left out."""
    where = Conditions("(market_id = ANY(%s) OR slug = ANY(%s))", [*references], [*references])
    where.add("opened_position <= %s", as_of.position)
    found: dict[str, MarketRow] = {}
    for row in _select(connection, as_of, where, "", []):
        found[row.market_id] = found[row.slug] = row
    return {each: found[each] for each in references if each in found}


@query("markets")
def by_id(connection: Connection, as_of: AsOf, market_ids: Sequence[str]) -> list[MarketRow]:
    """Return these markets, in any order."""
    where = Conditions("opened_position <= %s", as_of.position)
    where.add("market_id = ANY(%s)", list(market_ids))
    return _select(connection, as_of, where, "", [])


@query("markets")
def slugs(connection: Connection, as_of: AsOf, market_ids: Sequence[str]) -> dict[str, str]:
    """Return the slugs of these markets, by id."""
    rows = connection.execute(
        "SELECT market_id, slug FROM markets WHERE market_id = ANY(%s) AND opened_position <= %s",
        [list(market_ids), as_of.position],
    ).fetchall()
    return dict(rows)


@query("markets")
def resolutions(connection: Connection, as_of: AsOf, market_id: str) -> list[ResolutionWording]:
    """Return all wordings of the market's resolution source, oldest first."""
    with connection.cursor(row_factory=args_row(ResolutionWording)) as cursor:
        return cursor.execute(
            f"SELECT {RESOLUTIONS.column_list} FROM market_resolutions WHERE market_id = %s AND position <= %s "
            "ORDER BY version",
            [market_id, as_of.position],
        ).fetchall()


@query("markets")
def every_slug(connection: Connection[Any], _: AsOf) -> dict[str, str]:
    """Return the slug of every market that was folded, by its id."""
    return dict(connection.execute("SELECT market_id, slug FROM markets").fetchall())
