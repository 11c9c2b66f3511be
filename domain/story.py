"""A story: a news report that carries markets."""

from dataclasses import dataclass
from typing import ClassVar

from domain.market import OpenMarket
from domain.money import Time
from domain.values import Value

# --- commands


class PublishStory(Value):
    """Publish a story, together with the markets it opens with; all of it happens or nothing."""

    story_id: str
    slug: str
    title: str
    body: str
    category: str
    published_at: Time
    source_url: str | None = None
    markets: tuple[OpenMarket, ...] = ()


# --- events


class StoryPublished(Value):
    """A story stands in the log. Its markets follow as events of their own."""

    TOPIC: ClassVar[str] = "StoryPublished.v1"

    story_id: str
    slug: str
    title: str
    body: str
    category: str
    published_at: Time
    source_url: str | None


# --- state


@dataclass(slots=True)
class Story:
    """What the rules need of a story: that it is there."""

    story_id: str
    slug: str
    title: str
    category: str
    published_at: Time


# --- decide and evolve


def publish_story(command: PublishStory) -> StoryPublished:
    """Return the event that puts the story into the log."""
    return StoryPublished(
        command.story_id,
        command.slug,
        command.title,
        command.body,
        command.category,
        command.published_at,
        command.source_url,
    )


def evolve_story(story: Story | None, event: StoryPublished) -> Story:
    """Return the story after the event."""
    assert story is None, "a story is published once"
    return Story(event.story_id, event.slug, event.title, event.category, event.published_at)
