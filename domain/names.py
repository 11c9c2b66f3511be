"""Names that are taken: the slugs of stories and markets, and the names of accounts.

A slug or a name belongs to whoever had it first, for ever. Names of accounts are compared by their keys, which come in
with the commands and stand in the events. So the tables of Unicode decide only once whether two names are too much alike,
and a replay never asks them again.
"""

from collections.abc import Iterable
from typing import Self

from domain.account import Account, AccountOpened
from domain.ledger import BONDS, EXTERNAL, FEES, HOUSE
from domain.market import MarketDrafted
from domain.market_state import Market
from domain.story import Story, StoryPublished


class Names:
    """The slugs of stories and of markets and the keys of account names, each with the id of what has it.

    Stories and markets do not share their slugs. The names of the built-in accounts are taken from the beginning.
    """

    __slots__ = ("accounts", "markets", "stories")

    def __init__(self) -> None:
        self.stories: dict[str, str] = {}
        self.markets: dict[str, str] = {}
        self.accounts: dict[str, str] = {name: name for name in (HOUSE, FEES, BONDS, EXTERNAL)}

    @classmethod
    def of(cls, stories: Iterable[Story], markets: Iterable[Market], accounts: Iterable[Account]) -> Self:
        """Return the names that these have: they follow from the rest of the state."""
        names = cls()
        names.stories.update((story.slug, story.story_id) for story in stories)
        names.markets.update((market.terms.slug, market.market_id) for market in markets)
        names.accounts.update((account.name_key, account.account_id) for account in accounts if account.name_key)
        return names

    def learn(self, event: StoryPublished | MarketDrafted | AccountOpened) -> None:
        """Note the slug or the name of something new."""
        if isinstance(event, AccountOpened):
            _note(self.accounts, event.name_key, event.account_id)
        elif isinstance(event, MarketDrafted):
            _note(self.markets, event.slug, event.market_id)
        else:
            _note(self.stories, event.slug, event.story_id)


def _note(taken: dict[str, str], name: str, owner: str) -> None:
    assert name not in taken, "a name is given once"
    taken[name] = owner
