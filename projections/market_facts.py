"""The facts of a market that read models need: its category, outcomes, prices and payouts.

Each read model folds in transactions of its own, so each keeps these facts in tables of its own. How the facts follow from
the events stands here once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar, get_args

from domain.market import MarketActivated, MarketCorrected, MarketDrafted, MarketFinalized, Payout
from domain.orders import OrderAmended, OrderPlaced, RestingOrderFilled
from domain.story import StoryPublished
from projections.machine.table import Table
from projections.machine.workspace import Rows, Workspace

Resolved = MarketFinalized | MarketCorrected
"""The events that say what shares pay."""

MarketFact = (
    StoryPublished | MarketDrafted | MarketActivated | OrderPlaced | OrderAmended | RestingOrderFilled | Resolved
)
"""The events that facts follow from."""

KINDS: Final = frozenset(get_args(MarketFact))


class StoryCategory(NamedTuple):
    """The category of a story, which its markets share."""

    story_id: str
    category: str


@dataclass(slots=True)
class MarketFacts:
    """The facts of a market; lists are in the order of its outcomes.

    A draft has its initial prices. `payouts` are the fractions that a share pays, None before the market is finalized.
    A read model that needs more of a market derives its row type from this one; its own fields have defaults.
    """

    market_id: str
    category: str
    outcomes: list[str]
    prices: list[int]
    payouts: list[int] | None


Facts = TypeVar("Facts", bound=MarketFacts)


def facts_table(name: str, row: type[Facts], *, indexes: Sequence[str] = ()) -> Table[Facts]:
    """Return a table for the facts of markets, with rows of this type."""
    return Table(name, row, key=["market_id"], by="market", indexes=indexes)


def category_table(name: str) -> Table[StoryCategory]:
    """Return a table for the categories of stories."""
    return Table(name, StoryCategory, key=["story_id"], by="story")


class Categories:
    """The categories of stories while a batch is folded."""

    def __init__(self, stories: Rows[StoryCategory]) -> None:
        self._stories = stories

    def publish(self, event: StoryPublished) -> None:
        """Add the category of a story."""
        self._stories.add(StoryCategory(story_id=event.story_id, category=event.category))

    def of(self, story_id: str) -> str:
        """Return the category of a story; an empty text where the story is unknown, because its event is parked."""
        story = self._stories.get(story_id)
        return story.category if story else ""


class KnownMarkets(Generic[Facts]):
    """The facts of markets while a batch is folded, in the tables of one read model."""

    def __init__(self, workspace: Workspace, markets: Table[Facts], categories: Table[StoryCategory]) -> None:
        self.rows: Rows[Facts] = workspace.rows(markets)
        self._row = markets.row
        self._categories = Categories(workspace.rows(categories))

    def follow(self, event: MarketFact) -> None:
        """Take in an event of `KINDS`."""
        match event:
            case OrderPlaced() | OrderAmended():
                if event.execution.prices:
                    self.price(event.market_id, event.execution.prices)
            case RestingOrderFilled() | MarketActivated():
                self.price(event.market_id, event.prices)
            case StoryPublished():
                self._categories.publish(event)
            case MarketDrafted():
                self.draft(event)
            case MarketFinalized() | MarketCorrected():
                self.resolve(event)

    def draft(self, event: MarketDrafted) -> Facts:
        """Add a market. Return its row, to be changed."""
        return self.rows.add(
            self._row(
                market_id=event.market_id,
                category=self._categories.of(event.story_id),
                outcomes=list(event.outcomes),
                prices=list(event.initial_prices),
                payouts=None,
            )
        )

    def price(self, market_id: str, prices: Sequence[int]) -> Facts:
        """Set the prices of a market, unless there are none: they did not change. Return its row, to be changed."""
        market = self.rows.edit(market_id)
        if prices:
            market.prices = list(prices)
        return market

    def resolve(self, event: Resolved) -> Facts:
        """Set what a market pays. Return its row, to be changed."""
        market = self.rows.edit(event.market_id)
        market.payouts = fractions_of(event.payouts, market.outcomes)
        return market


def fractions_of(payouts: Sequence[Payout], outcomes: Sequence[str]) -> list[int]:
    """Return the fractions that the outcomes pay, in their order; an outcome that is not named pays 0."""
    named = {payout.outcome: payout.fraction for payout in payouts}
    return [named.get(outcome, 0) for outcome in outcomes]
