"""Opening markets: those of a new story, and one more in a story that exists. All that a command names are opened, or none."""

from collections.abc import Container, Mapping, Sequence

from domain import market_decisions
from domain.events import Event
from domain.market import OpenMarket
from domain.money import Time
from domain.names import Names
from domain.rejections import Code, Rejection, reject
from domain.slugs import market_slugs
from domain.story import PublishStory, Story, publish_story, too_many_markets


def publish_with_markets(
    command: PublishStory, stories: Mapping[str, Story], markets: Container[str], names: Names, time: Time
) -> Sequence[Event] | Rejection:
    """Return the events of a story and its markets, or why it is refused."""
    published = publish_story(command, stories, names.stories)
    if isinstance(published, Rejection):
        return published
    opened = _open_all(command.markets, markets, names, time)
    return opened if isinstance(opened, Rejection) else [published, *opened]


def open_another(
    command: OpenMarket, story: Story, markets: Container[str], names: Names, time: Time
) -> Sequence[Event] | Rejection:
    """Return the events of a market of a story that exists, or why it is refused."""
    if refusal := too_many_markets(story):
        return refusal
    return _open_all([command], markets, names, time)


def _open_all(
    openings: Sequence[OpenMarket], markets: Container[str], names: Names, time: Time
) -> Sequence[Event] | Rejection:
    slugs = market_slugs(openings, names.markets)
    if isinstance(slugs, Rejection):
        return slugs
    events: list[Event] = []
    for opening, slug in zip(openings, slugs, strict=True):
        if opening.market_id in markets:
            return reject(Code.MARKET_EXISTS, "a market with this id already exists", market=opening.market_id)
        opened = market_decisions.open_market(opening, slug, time)
        if isinstance(opened, Rejection):
            return opened
        events += opened
    return events
