"""`tidings transfers list | repair`: cash between the partitions of an exchange, and transfers that Kafka has lost."""

from __future__ import annotations

import json
from contextlib import ExitStack
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from api.cli.command import DONE, NO, WRONG_USE, add_command, add_group, check_kafka, complain, show_progress

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from analysis.channels import ChannelsReader, ReadChannel
    from api.cli.command import Commands
    from settings import Settings

ROUNDS_MAX: Final = 20
"""The most times that transfers are sent again. While they are, the sender's engine sends new ones, which come too early."""

ARRIVE_SECONDS: Final = 15.0
"""The longest wait for the receiver in one round."""

LOOK_SECONDS: Final = 0.2
"""The time from one look at the receiver's log to the next."""


def add_commands(commands: Commands) -> None:
    """Declare `transfers` and its actions."""
    transfers = add_group(commands, "transfers", "cash between the partitions of an exchange")
    text = "what was sent, what has arrived and what is in transit, and whether all arrived as it was sent; by the logs alone"
    add_command(transfers, "list", _list, text, json=True, knows_partitions=True)
    text = "send again what a partition has sent to another one and that has not arrived: the topic has lost it"
    repair = add_command(transfers, "repair", _repair, text, knows_partitions=True)
    repair.add_argument("sender", type=int, metavar="FROM", help="partition that has sent")
    repair.add_argument("receiver", type=int, metavar="TO", help="partition in which it has not arrived")


def _open(stack: ExitStack, settings: Settings, partitions: Iterable[int]) -> ChannelsReader:
    from analysis.channels import ChannelsReader
    from analysis.replay import open_history

    return ChannelsReader(
        {
            each: stack.enter_context(open_history(settings=settings.model_copy(update={"partition": each})))
            for each in partitions
        }
    )


def _list(options: Namespace, settings: Settings) -> int:
    from domain.money import format_decimal
    from messages.wire import format_time

    if not _has_several(settings):
        return WRONG_USE
    with ExitStack() as stack:
        reader = _open(stack, settings, range(settings.partitions))
        reader.read()
    rows = [
        {
            "from": sender,
            "to": receiver,
            "sent": channel.sent,
            "received": channel.received,
            "in_transit": format_decimal(channel.in_transit),
            "since": format_time(channel.between[0].time) if channel.between else None,
        }
        for (sender, receiver), channel in sorted(reader.channels.items())
    ]
    if options.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            since = f", since {row['since']}" if row["since"] else ""
            print(
                f"{row['from']} -> {row['to']}: {row['sent']} sent, {row['received']} received, "
                f"{row['in_transit']} credits in transit{since}"
            )
    differences = [
        f"{sender} -> {receiver}: {text}"
        for (sender, receiver), channel in sorted(reader.channels.items())
        for text in channel.differences
    ]
    for difference in differences:
        complain(difference)
    return NO if differences else DONE


def _repair(options: Namespace, settings: Settings) -> int:
    if not _has_several(settings):
        return WRONG_USE
    ends = options.sender, options.receiver
    if options.sender == options.receiver or not all(0 <= each < settings.partitions for each in ends):
        complain(f"FROM and TO are two of the partitions 0 to {settings.partitions - 1}")
        return WRONG_USE
    with ExitStack() as stack:
        reader = _open(stack, settings, ends)
        reader.read()
        if ends not in reader.channels:
            print("Nothing was ever sent there.")
            return DONE
        return _send_again(settings, reader, ends)


def _send_again(settings: Settings, reader: ChannelsReader, ends: tuple[int, int]) -> int:
    """Send what has not arrived, round by round, until everything that was sent when a round began has arrived."""
    from consumers.kafka.transfer_topic import send_again

    channel, again = reader.channels[ends], 0
    for _ in range(ROUNDS_MAX):
        goal, missing = channel.sent, channel.between
        if not missing:
            break
        send_again(settings, ends[1], missing)
        again += len(missing)
        show_progress(f"{again:,} sent again")
        if not _arrives(reader, channel, channel.received, goal):
            complain(f"partition {ends[1]} takes nothing: transfer {channel.received + 1} has not arrived")
            return NO
    arrived = not channel.between
    print(f"{again:,} transfers were sent again; {channel.received:,} of {channel.sent:,} have arrived.")
    return DONE if arrived else NO


def _arrives(reader: ChannelsReader, channel: ReadChannel, before: int, goal: int) -> bool:
    """Wait until all up to a number have arrived, or for a while; return whether any have."""
    deadline = monotonic() + ARRIVE_SECONDS
    while channel.received < goal and monotonic() < deadline:
        sleep(LOOK_SECONDS)
        reader.read()
    return channel.received > before


def _has_several(settings: Settings) -> bool:
    if settings.partitions == 1:
        complain("TIDINGS_PARTITIONS is 1: there is nothing between partitions")
        return False
    check_kafka(settings)
    return True
