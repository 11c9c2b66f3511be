"""Slugs of stories and markets and names of accounts: each belongs to one, whoever had it first."""

from msgspec.structs import replace

from domain.account import OpenAccount
from domain.market import MarketDrafted, OpenMarket
from domain.money import MICRO
from domain.names import Names
from domain.rejections import Code
from domain.story import PublishStory, StoryPublished
from tests.domain.scenario import CLOSE, START, Scenario, given

STORY = PublishStory("s1", "troops", "Troops", "Body", "world", START)


def opening(market_id: str, slug: str | None, derived: str = "", **terms: object) -> OpenMarket:
    """A market of two outcomes."""
    market = OpenMarket(market_id, "s1", slug, "Will they?", ("Yes", "No"), 10 * MICRO, CLOSE, "source")
    return replace(market, derived_slug=derived, **terms)


def test_a_slug_belongs_to_one_story() -> None:
    """The refusal names the slug and the story that has it."""
    scenario = given(STORY)

    scenario.when(replace(STORY, story_id="s2")).rejected(Code.STORY_EXISTS, slug="troops", story="s1")

    assert list(scenario.exchange.stories) == ["s1"]


def test_a_slug_belongs_to_one_market() -> None:
    """Even after the market has ended. A story may have the slug of a market."""
    scenario = given(STORY, opening("m1", "combat"))

    scenario.when(opening("m2", "combat")).rejected(Code.MARKET_EXISTS, slug="combat", market="m1")
    scenario.given(replace(STORY, story_id="s2", slug="combat"))


def test_a_story_with_a_market_that_is_refused_is_not_published() -> None:
    """All of a request happens, or nothing: neither the story nor its other market."""
    scenario = given(STORY, opening("m1", "combat"))

    scenario.when(
        replace(STORY, story_id="s2", slug="other", markets=(opening("m2", "free"), opening("m3", "combat")))
    ).rejected(Code.MARKET_EXISTS, slug="combat", market="m1")

    scenario.given(replace(STORY, story_id="s3", slug="other"), opening("m4", "free"))


def test_names_with_the_same_key_belong_to_one_account() -> None:
    """The refusal names the name that was asked for and the account that has it."""
    scenario = given(OpenAccount("a1", "Ada", "ada"))

    scenario.when(OpenAccount("a2", "ADA", "ada")).rejected(Code.ACCOUNT_EXISTS, name="ADA", account="a1")


def test_the_names_of_built_in_accounts_are_taken() -> None:
    """Nobody shall take an account for the operator's own book."""
    for name in ("house", "fees", "bonds", "external"):
        Scenario().when(OpenAccount("a1", name.title(), name)).rejected(Code.ACCOUNT_EXISTS, account=name)


def test_a_derived_slug_gets_the_first_free_number() -> None:
    """The event has the slug, so nobody derives it again."""
    scenario = given(STORY, replace(STORY, story_id="s2", slug="troops-3"))

    slugs = []
    for number in range(3, 8):
        scenario.given(replace(STORY, story_id=f"s{number}", slug=None, derived_slug="troops"))
        slugs.append(scenario.event(StoryPublished).slug)

    assert slugs == ["troops-2", "troops-4", "troops-5", "troops-6", "troops-7"]


def test_a_given_slug_goes_before_a_derived_one_in_the_same_request() -> None:
    """The markets of a story have different slugs, whatever order they stand in."""
    markets = (opening("m1", None, "will-they"), opening("m2", None, "will-they"), opening("m3", "will-they"))
    scenario = given(replace(STORY, markets=markets))

    drafted = [scenario.event(MarketDrafted, index) for index in range(3)]

    assert [(each.market_id, each.slug) for each in drafted] == [
        ("m1", "will-they-2"), ("m2", "will-they-3"), ("m3", "will-they"),
    ]  # fmt: skip


def test_the_names_that_are_taken_follow_from_the_rest_of_the_state() -> None:
    """So a snapshot need not hold them."""
    exchange = given(STORY, opening("m1", "combat"), OpenAccount("a1", "Ada", "ada")).exchange

    names = Names.of(exchange.stories.values(), exchange.markets.values(), exchange.accounts.values())

    assert (names.stories, names.markets) == ({"troops": "s1"}, {"combat": "m1"})
    assert names.accounts["ada"] == "a1"
    assert [getattr(names, kind) for kind in Names.__slots__] == [
        getattr(exchange.names, kind) for kind in Names.__slots__
    ]
