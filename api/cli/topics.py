"""`tidings topics create | check`: the Kafka topics that the exchange needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.cli.command import DONE, NO, add_command, add_group, complain

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `topics` and its actions."""
    topics = add_group(commands, "topics", "Kafka topics")
    add_command(topics, "create", _create, "make those that are missing, check all")
    add_command(topics, "check", _check, "name every setting of a topic that could lose data")


def _create(_: Namespace, settings: Settings) -> int:
    return _check_topics(settings, create=True)


def _check(_: Namespace, settings: Settings) -> int:
    return _check_topics(settings, create=False)


def _check_topics(settings: Settings, *, create: bool) -> int:
    from consumers.kafka.connection_check import check_connection
    from consumers.kafka.topics import check_topics

    check_connection(settings)
    problems = check_topics(settings, create=create)
    for problem in problems:
        complain(problem)
    return NO if problems else DONE
