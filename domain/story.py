"""A story: a news report that carries markets."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from domain.market import OpenMarket
from domain.money import Time
from domain.rejections import Code, Rejection, reject
from domain.slugs import free_slug
from domain.values import Value

STORY_MARKETS_MAX: Final = 50
"""The most markets that a story may be published with."""

STORY_ALL_MARKETS_MAX: Final = 1_000
"""The most markets of a story, those included that were opened later."""

# --- commands


class PublishStory(Value):
    """Publish a story together with its first markets: all of it happens, or nothing.

    Without a `slug` the story gets `derived_slug`, with a number after it if that one is taken.
    """

    story_id: str
    slug: str | None
    title: str
    body: str
    category: str
    published_at: Time
    source_url: str | None = None
    markets: tuple[OpenMarket, ...] = ()
    derived_slug: str = ""


# --- events


class StoryPublished(Value, omit_defaults=True):
    """A story was published. Its markets follow as events of their own.

    `unnamed` lists the fields that the command did not name: then `slug` was derived from the title.
    """

    TOPIC: ClassVar[str] = "StoryPublished.v1"

    story_id: str
    slug: str
    title: str
    body: str
    category: str
    published_at: Time
    source_url: str | None
    unnamed: tuple[Literal["slug"], ...] = ()


# --- state


@dataclass(slots=True)
class Story:
    """The state of a story. The rules only need to know that it exists, and the number of its markets.

    That number follows from the markets, so the hash of the state, which is made of the `repr`, leaves it out.
    """

    story_id: str
    slug: str
    title: str
    category: str
    published_at: Time
    markets: int = field(default=0, repr=False)


# --- decide and evolve


def publish_story(
    command: PublishStory, stories: Collection[str], slugs: Mapping[str, str]
) -> StoryPublished | Rejection:
    """Return the event that publishes the story, or why it is refused.

    `stories` are the ids that exist, `slugs` has the id of each story by its slug.
    """
    if command.story_id in stories:
        return reject(Code.STORY_EXISTS, "a story with this id already exists", story=command.story_id)
    if len(command.markets) > STORY_MARKETS_MAX:
        return reject(Code.INVALID_FIELD, f"markets must be at most {STORY_MARKETS_MAX}", field="markets")
    slug = command.slug
    if slug is None:
        assert command.derived_slug, "whoever sends no slug derives one"
        slug = free_slug(command.derived_slug, slugs)
    elif slug in slugs:
        return reject(Code.STORY_EXISTS, "another story has this slug", slug=slug, story=slugs[slug])
    return StoryPublished(
        command.story_id,
        slug,
        command.title,
        command.body,
        command.category,
        command.published_at,
        command.source_url,
        () if command.slug else ("slug",),
    )


def too_many_markets(story: Story) -> Rejection | None:
    """Return why no more market may be opened for the story, or None."""
    if story.markets < STORY_ALL_MARKETS_MAX:
        return None
    text = "the story has the maximum number of markets"
    return reject(Code.TOO_MANY_MARKETS, text, story=story.story_id, maximum=STORY_ALL_MARKETS_MAX)


def evolve_story(story: Story | None, event: StoryPublished) -> Story:
    """Return the story after the event."""
    assert story is None, "a story is published once"
    return Story(event.story_id, event.slug, event.title, event.category, event.published_at)
