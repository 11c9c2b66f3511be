"""Server-assigned ids: they follow from the id of the command that creates something, and from the partition where it lives.

Every order gets one, so this module is compiled (`local/compile.py`).
"""

import hashlib

from msgspec.structs import replace

from domain.account import OpenAccount
from domain.assignments import AssignPartition
from domain.invitations import AcceptInvitation, CreateInvitation
from domain.market import OpenMarket
from domain.orders import PlaceOrder
from domain.placement import partition_of
from domain.slugs import slug_root
from domain.story import PublishStory
from messages.command_types import Command
from messages.names import derived_slug, name_key


def new_id(prefix: str, command_id: str, number: int = 0, partition: int = 0) -> str:
    """Return the id of what a command creates: `or_` and 26 hex digits of a hash of the command's id; `or3_` in partition 3.

    Prefixes: `st` stories, `mk` markets, `ac` accounts, `or` orders, `iv` invitations, which have no partition. `number` tells
    apart what one command creates of a kind (the markets of a story). A command makes the same ids in a partition wherever and
    however often it is sent.
    """
    text = f"{command_id}#{number}" if number else command_id
    stamped = f"{prefix}{partition}" if partition else prefix
    # 104 bits: nobody finds two command ids whose hashes collide.
    return f"{stamped}_{hashlib.blake2b(text.encode(), digest_size=13).hexdigest()}"


def with_ids(command_id: str, command: Command, partition: int = 0) -> Command:
    """Return the command with its server-assigned fields: ids, derived slugs, and the key of an account's name.

    A new story or account gets an id of this partition; a market is where its story is, and an order where its market is.
    """
    match command:
        case PlaceOrder():
            return replace(command, order_id=new_id("or", command_id, partition=partition_of(command.market_id)))
        case OpenAccount():
            account_id = new_id("ac", command_id, partition=partition)
            return replace(command, account_id=account_id, name_key=name_key(command.name))
        case AssignPartition():
            key = slug_root(command.name) if command.kind == "story" else name_key(command.name)
            return replace(command, name_key=key)
        case CreateInvitation():
            return replace(command, invitation_id=new_id("iv", command_id))
        case AcceptInvitation():
            account_id = new_id("ac", command_id, partition=partition)
            return replace(command, account_id=account_id, name_key=name_key(command.name))
        case OpenMarket():
            market_id = new_id("mk", command_id, partition=partition_of(command.story_id))
            return _named_market(command, command.story_id, market_id)
        case PublishStory():
            story_id = new_id("st", command_id, partition=partition)
            slug = derived_slug(command.title, "story", story_id) if command.slug is None else ""
            markets = tuple(
                _named_market(market, story_id, new_id("mk", command_id, number, partition))
                for number, market in enumerate(command.markets)
            )
            return replace(command, story_id=story_id, derived_slug=slug, markets=markets)
        case _:
            return command


def _named_market(market: OpenMarket, story_id: str, market_id: str) -> OpenMarket:
    slug = derived_slug(market.question, "market", market_id) if market.slug is None else ""
    return replace(market, story_id=story_id, market_id=market_id, derived_slug=slug)
