"""What the exchange makes of a decision: lists of events, and the events and rejections that no aggregate decides."""

from collections.abc import Sequence

from domain.commands import Command
from domain.events import Event
from domain.partition import CommandHadNoEffect, CommandRejected
from domain.rejections import Code, Rejection, reject
from domain.values import json_of


def one(decided: Event | Rejection) -> Sequence[Event] | Rejection:
    """Return the list of one event, or the rejection."""
    return decided if isinstance(decided, Rejection) else [decided]


def no_market(market_id: str) -> Rejection:
    """Return the rejection of a command to a market that does not exist."""
    return reject(Code.MARKET_NOT_FOUND, "there is no such market", market=market_id)


def no_account(account_id: str) -> Rejection:
    """Return the rejection of a command of an account that does not exist."""
    return reject(Code.ACCOUNT_NOT_FOUND, "there is no such account", account=account_id)


def no_story(story_id: str) -> Rejection:
    """Return the rejection of a command to a story that does not exist."""
    return reject(Code.STORY_NOT_FOUND, "there is no such story", story=story_id)


def rejected(command: Command, rejection: Rejection, body: bytes) -> CommandRejected:
    """Return the event of a command that was refused."""
    return CommandRejected(
        type(command).__name__,
        rejection.code,
        rejection.message,
        rejection.details,
        getattr(command, "account_id", None),
        getattr(command, "market_id", None),
        json_of(body),
    )


def no_effect(command: Command, body: bytes) -> CommandHadNoEffect:
    """Return the event of a command that changed nothing."""
    return CommandHadNoEffect(
        type(command).__name__, getattr(command, "account_id", None), getattr(command, "market_id", None), json_of(body)
    )
