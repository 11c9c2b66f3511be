"""`tidings topics create | grow | check`: the Kafka topics that the exchange needs."""

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
    text = "give the topics more partitions, for more engines; this is never undone"
    grow = add_command(topics, "grow", _grow, text, knows_partitions=True)
    grow.add_argument("partitions", type=int, metavar="N", help="number of partitions of the log from now on")
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


def _grow(options: Namespace, settings: Settings) -> int:
    from consumers.kafka.connection_check import check_connection
    from consumers.kafka.topics import grow_topics
    from domain.placement import PARTITION_MAX
    from eventsourcing_kafka import UnsafeTopic

    if settings.log != "kafka":
        complain("TIDINGS_LOG is postgres: a log in PostgreSQL has one partition")
        return WRONG_USE
    if not settings.partitions <= options.partitions <= PARTITION_MAX + 1:
        complain(
            f"N is {options.partitions}, expected {settings.partitions} (TIDINGS_PARTITIONS) to {PARTITION_MAX + 1}"
        )
        return WRONG_USE
    check_connection(settings)
    try:
        grown = grow_topics(settings, options.partitions)
    except UnsafeTopic as error:
        complain(error)
        return NO
    for name in grown:
        print(f"{name} has {options.partitions} partitions")
    print(f"Set TIDINGS_PARTITIONS={options.partitions} for every process: first for engines, one for each partition.")
    print("Start the others when all engines run with it.")
    return DONE


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
