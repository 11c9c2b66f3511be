"""`tidings dead-letters list | show | retry | skip`: what was set aside because nothing could be done with it.

There are two kinds: commands from Kafka that could not be understood, which go by the name `commands` and a number, and
events that a read model could not fold, which go by the read model's name and their position (`api.cli.parked_events`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from api.cli import parked_events
from api.cli.command import DONE, NO, WRONG_USE, add_command, add_group, add_json, check_kafka, complain, needs_kafka
from api.cli.read_models import is_unknown

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands, Run
    from consumers.kafka.dead_letters import NumberedLetter
    from settings import Settings

COMMANDS: Final = "commands"
"""The name that stands for commands from Kafka where otherwise a read model is named."""

_VALUE_CHARACTERS: Final = 60
"""The most characters of a command in a listing."""


def add_commands(commands: Commands) -> None:
    """Declare `dead-letters` and its actions."""
    text = "what was set aside: commands from Kafka that are not understood, events that a read model cannot fold"
    actions = add_group(commands, "dead-letters", text)
    listing = add_command(actions, "list", _checked(_list), "all of them")
    listing.add_argument("name", nargs="?", help="only those of this read model, or of the `commands`")
    add_json(listing)
    show = add_command(actions, "show", _checked(_show), "one of them, as it came")
    retry = add_command(actions, "retry", _checked(_retry), "a command: send it again; a read model: fold all again")
    skip = add_command(actions, "skip", _checked(_skip), "go on without one, for ever")
    for action in (show, retry, skip):
        action.add_argument("name", help="the read model, or `commands`")
    for action in (show, skip):
        action.add_argument("position", type=int, help="its position, or number")
    retry.add_argument("position", type=int, nargs="?", help="number of the command")
    skip.add_argument("--reason", required=True, help="kept with it")


def _checked(run: Run) -> Run:
    """Return the command preceded by a check that its name is `commands`, with the log in Kafka, or a read model."""

    def checked(options: Namespace, settings: Settings) -> int:
        if options.name == COMMANDS and settings.log != "kafka":
            return needs_kafka("dead-letters of commands")
        if options.name not in {None, COMMANDS} and is_unknown(options.name):
            return WRONG_USE
        check_kafka(settings)
        return run(options, settings)

    return checked


def _list(options: Namespace, settings: Settings) -> int:
    """Print what is set aside: everything, or what belongs to one read model or to the commands."""
    rows: list[dict[str, Any]] = []
    if settings.log == "kafka" and options.name in {None, COMMANDS}:
        from consumers.kafka.dead_letters import DeadLetters

        with DeadLetters(settings) as letters:
            rows += [_letter_json(found) for found in letters.open()]
    if options.name != COMMANDS:
        rows += parked_events.listed(options.name, settings)
    if options.json:
        print(json.dumps(rows))
        return DONE
    for row in rows:
        if "number" in row:
            value = row["value"][:_VALUE_CHARACTERS] + ("..." if len(row["value"]) > _VALUE_CHARACTERS else "")
            print(f"{COMMANDS:<12} {row['number']:>10}  offset {row['offset']}: {row['reason']}: {value!r}")
        else:
            why = row["error"] or "waits behind another"
            print(f"{row['projection']:<12} {row['position']:>10}  {row['topic']}  {why}")
    return DONE


def _show(options: Namespace, settings: Settings) -> int:
    """Print one of them, as it came."""
    if options.name != COMMANDS:
        return parked_events.show(options.name, options.position, settings)
    from consumers.kafka.dead_letters import DeadLetters

    with DeadLetters(settings) as letters:
        try:
            print(json.dumps(_letter_json(letters.find(options.position)), indent=2))
        except LookupError as error:
            return _no(error)
    return DONE


def _retry(options: Namespace, settings: Settings) -> int:
    """Send a command again, or fold the parked events of a read model again."""
    if options.name != COMMANDS:
        return parked_events.retry(options.name, settings)
    if options.position is None:
        complain("the number of the command is needed")
        return WRONG_USE
    from consumers.kafka.dead_letters import DeadLetters

    with DeadLetters(settings) as letters:
        try:
            letters.retry(options.position)
        except (LookupError, ValueError) as error:
            return _no(error)
    print("sent again")
    return DONE


def _skip(options: Namespace, settings: Settings) -> int:
    """Go on without one, for ever."""
    if options.name != COMMANDS:
        return parked_events.skip(options.name, options.position, options.reason, settings)
    from consumers.kafka.dead_letters import DeadLetters

    with DeadLetters(settings) as letters:
        try:
            letters.skip(options.position, options.reason)
        except LookupError as error:
            return _no(error)
    print("skipped")
    return DONE


def _no(error: Exception) -> int:
    complain(error)
    return NO


def _letter_json(found: NumberedLetter) -> dict[str, Any]:
    import msgspec

    from messages.wire import format_time

    fields: dict[str, Any] = msgspec.to_builtins(found.letter)
    return {"number": found.number, "time": format_time(found.time), **fields}
