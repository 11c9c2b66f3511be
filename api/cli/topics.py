"""`tidings topics create | check`: the Kafka topics that the exchange needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.cli.command import DONE, NO, WRONG_USE, add_command, add_group, complain

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `topics` and its actions."""
    topics = add_group(commands, "topics", "Kafka topics")
    create = add_command(topics, "create", _create, "make those that are missing, check all", knows_partitions=True)
    create.add_argument(
        "--acls", action="store_true", help="print the access rules that each part of the exchange needs, and make them"
    )
    create.add_argument(
        "--principal",
        action="append",
        default=[],
        metavar="PART=NAME",
        help="the principal of a part (engine, api, orders, feed, service) on the broker; by default User:PART",
    )
    text = "name every setting of a topic that could lose data"
    add_command(topics, "check", _check, text, knows_partitions=True)


def _create(options: Namespace, settings: Settings) -> int:
    from consumers.kafka.access_rules import PRINCIPALS, access_rules, apply_access_rules

    names = dict(each.partition("=")[::2] for each in options.principal)
    if unknown := set(names) - set(PRINCIPALS):
        complain(f"{min(unknown)!r} is no part of the exchange: there are {', '.join(PRINCIPALS)}")
        return WRONG_USE
    code = _check_topics(settings, create=True)
    if options.acls and code == DONE:
        rules = access_rules(settings, names)
        for rule in rules:
            print(rule)
        apply_access_rules(settings, rules)
    return code


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
