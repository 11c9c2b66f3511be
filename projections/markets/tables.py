"""The tables of the read model `markets`: the market now, and its versions.

`market_activity` keeps a version for everything that trading changes, prices included; `market_lifecycle` keeps one for
every other event of the market's life. Each version is valid from its position on.
"""

from dataclasses import dataclass
from typing import NamedTuple

from domain.market import Status
from domain.money import Credits, Fraction, Price, Shares, Time
from projections.forms import Count, CreditsSum, Liquidity, SharesSum
from projections.machine.table import Table
from projections.market_facts import category_table
from projections.searching import MARKET_DOCUMENT


@dataclass(slots=True)
class MarketRow:
    """A market. Lists are in the order of `outcomes`; `payouts` are the fractions that a share pays, None before there are any.

    `volume` is in credits (the cost of the fills, without fees), `quantity` in shares. `trades` counts fills, not
    executions; `traders` counts the accounts that had one. `open_interest` has the shares of each outcome that accounts hold,
    none once the market is finalized or voided. `prices` are the AMM's; once trading has ended they are the last ones.
    `liquidity` is b in 1e-12 credits. `next_dispute_bond` is the smallest bond of another dispute; payouts cannot be withdrawn
    before `held_until`. `position` and `time` are those of the last change.
    """

    partition: int
    market_id: str
    story_id: str
    slug: str
    question: str
    category: str
    outcomes: list[str]
    initial_prices: list[Price]
    close_time: Time
    fee_rate: Fraction
    dispute_seconds: Count
    dispute_bond: Credits
    opened_position: int
    opened_at: Time
    prices: list[Price]
    open_interest: list[Shares]
    volume: CreditsSum
    quantity: SharesSum
    trades: Count
    traders: Count
    status: str
    subsidy: Credits
    liquidity: Liquidity
    closed_at: Time | None
    resolution_version: Count
    resolution_source: str
    payouts: list[Fraction] | None
    evidence_text: str | None
    evidence_url: str | None
    dispute_until: Time | None
    disputed_by: str | None
    dispute_reason: str | None
    next_dispute_bond: Credits
    held_until: Time | None
    void_reason: str | None
    settled: bool
    residual: Credits
    position: Count
    time: Time

    @property
    def largest_interest(self) -> Shares:
        """The open interest of the market: the most credits that it may have to pay, as only one outcome comes true."""
        return max(self.open_interest, default=0)

    @property
    def odds(self) -> list[Price]:
        """What a share is worth: the payouts once the market is finalized, else the prices. A voided market pays nothing."""
        return self.payouts if self.status == Status.FINALIZED and self.payouts is not None else self.prices

    @property
    def key(self) -> tuple[int, str]:
        """Its place in lists, newest first."""
        return self.opened_position, self.market_id


class LifecycleVersion(NamedTuple):
    """The columns of a market that lifecycle events change, valid from log position `position`."""

    partition: int
    market_id: str
    position: int
    time: int
    status: str
    subsidy: int
    liquidity: Liquidity
    closed_at: int | None
    resolution_version: int
    resolution_source: str
    payouts: list[int] | None
    evidence_text: str | None
    evidence_url: str | None
    dispute_until: int | None
    disputed_by: str | None
    dispute_reason: str | None
    next_dispute_bond: int
    held_until: int | None
    void_reason: str | None
    settled: bool
    residual: int


class ActivityVersion(NamedTuple):
    """The columns of a market that trading changes, valid from log position `position`; `trades` counts fills.

    Bit i of `changed` is set if the event changed the price of outcome i.
    """

    partition: int
    market_id: str
    position: int
    time: int
    prices: list[int]
    changed: int
    open_interest: list[int]
    volume: CreditsSum
    quantity: SharesSum
    trades: int
    traders: int


class ResolutionWording(NamedTuple):
    """A wording of the resolution source; version 1 is that of the draft."""

    market_id: str
    version: Count
    position: Count
    time: Time
    resolution_source: str


class StoryTitle(NamedTuple):
    """The title of a story, by which its markets are found."""

    story_id: str
    title: str


class MarketText(NamedTuple):
    """The texts by which a market is found from log position `position` on: a new wording makes a new row.

    `details` has the outcomes and the resolution source.
    """

    market_id: str
    position: int
    question: str
    title: str
    details: str


class MarketTrader(NamedTuple):
    """An account that has had a fill in a market."""

    account_id: str
    market_id: str


MARKETS = Table(
    "markets",
    MarketRow,
    key=["market_id"],
    by="market",
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
RESOLUTIONS = Table("market_resolutions", ResolutionWording, key=["market_id", "version"])
TRADERS = Table("market_traders", MarketTrader, key=["account_id", "market_id"], by="holding")
CATEGORIES = category_table("market_categories")
TITLES = Table("market_story_titles", StoryTitle, key=["story_id"], by="story")
TEXTS = Table("market_texts", MarketText, key=["market_id", "position"], indexes=[f"USING gin (({MARKET_DOCUMENT}))"])
