"""Stories, as they were published."""

from collections.abc import Sequence
from typing import NamedTuple, cast

from psycopg import Connection
from psycopg.rows import args_row

from domain.money import Time
from domain.story import StoryPublished
from projections.forms import Count
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Workspace
from projections.reading import AsOf, Conditions, query
from projections.searching import STORY_DOCUMENT, STORY_FOUND


class StoryRow(NamedTuple):
    """A story; `position` and `time` are those of its event in the log, `published_at` is the time of the report."""

    story_id: str
    slug: str
    title: str
    body: str
    category: str
    published_at: Time
    source_url: str | None
    partition: int
    position: Count
    time: Time

    @property
    def key(self) -> tuple[int, str]:
        """Its place in lists, newest first."""
        return self.position, self.story_id


STORIES = Table(
    "stories",
    StoryRow,
    key=["story_id"],
    indexes=["slug", "position", "category, position", f"USING gin (({STORY_DOCUMENT}))"],
)

KINDS = frozenset({StoryPublished})


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add every published story."""
    stories = workspace.rows(STORIES)
    for recorded in batch.of(KINDS):
        event = cast("StoryPublished", recorded.event)
        stories.append(
            StoryRow(
                story_id=event.story_id,
                slug=event.slug,
                title=event.title,
                body=event.body,
                category=event.category,
                published_at=event.published_at,
                source_url=event.source_url,
                partition=batch.partition,
                position=recorded.position,
                time=recorded.time,
            )
        )


PROJECTION = Projection("stories", 3, (STORIES,), fold, scope="story", weight=0.1)


@query("stories")
def get_story(connection: Connection, as_of: AsOf, ref: str) -> StoryRow | None:
    """Return the story with this id or slug, or None."""
    with connection.cursor(row_factory=args_row(StoryRow)) as cursor:
        return cursor.execute(
            f"SELECT {STORIES.column_list} FROM stories WHERE (story_id = %(ref)s OR slug = %(ref)s) "
            "AND position <= %(at)s",
            {"ref": ref, "at": as_of.position},
        ).fetchone()


@query("stories")
def by_id(connection: Connection, as_of: AsOf, story_ids: Sequence[str]) -> list[StoryRow]:
    """Return these stories, in any order."""
    with connection.cursor(row_factory=args_row(StoryRow)) as cursor:
        return cursor.execute(
            f"SELECT {STORIES.column_list} FROM stories WHERE story_id = ANY(%s) AND position <= %s",
            [list(story_ids), as_of.position],
        ).fetchall()


@query("stories")
def list_stories(
    connection: Connection,
    as_of: AsOf,
    *,
    category: str | None = None,
    text: str | None = None,
    limit: int = 50,
    after: tuple[int, str] | None = None,
) -> list[StoryRow]:
    """Return stories, newest first; with a `text` those that it finds."""
    where = Conditions("position <= %s", as_of.position)
    where.add_if("category = %s", category)
    where.add_if(STORY_FOUND, text)
    where.after("position, story_id", after)
    with connection.cursor(row_factory=args_row(StoryRow)) as cursor:
        return cursor.execute(
            f"SELECT {STORIES.column_list} FROM stories {where.sql} ORDER BY position DESC, story_id DESC LIMIT %s",
            [*where.values, limit],
        ).fetchall()
