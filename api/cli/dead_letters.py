"""`tidings dead-letters`: commands from Kafka that nobody understood, and events that a read model could not digest."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.cli import read_models
from messages.wire import format_time

if TYPE_CHECKING:
    from argparse import Namespace

    from consumers.kafka.dead_letters import NumberedLetter
    from settings import Settings

COMMANDS: Final = "commands"
"""What stands on the command line in the place of a read model's name."""

_SHOWN: Final = 60


def list_all(options: Namespace, settings: Settings) -> int:
    """Print what is set aside, of everything or of one read model or of the commands."""
    rows: list[dict[str, Any]] = []
    if settings.log == "kafka" and options.name in {None, COMMANDS}:
        from consumers.kafka.dead_letters import DeadLetters  # noqa: PLC0415  only where there is Kafka

        with DeadLetters(settings) as letters:
            rows += [_letter(found) for found in letters.open()]
    if options.name != COMMANDS:
        rows += read_models.parked(options.name, settings)
    if options.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        if "number" in row:
            value = row["value"][:_SHOWN] + ("..." if len(row["value"]) > _SHOWN else "")
            print(f"{COMMANDS:<12} {row['number']:>10}  offset {row['offset']}: {row['reason']}: {value!r}")
        else:
            why = row["error"] or "waits behind another"
            print(f"{row['projection']:<12} {row['position']:>10}  {row['topic']}  {why}")
    return 0


def show(options: Namespace, settings: Settings) -> int:
    """Print one of them, as it came."""
    if options.name != COMMANDS:
        return read_models.show_parked(options, settings)
    from consumers.kafka.dead_letters import DeadLetters  # noqa: PLC0415

    with DeadLetters(settings) as letters:
        try:
            print(json.dumps(_letter(letters.find(options.position)), indent=2))
        except LookupError as error:
            return _no(error)
    return 0


def retry(options: Namespace, settings: Settings) -> int:
    """Send a command again, or fold the parked events of a read model again."""
    if options.name != COMMANDS:
        return read_models.retry_parked(options, settings)
    if options.position is None:
        print("tidings: the number of the command is needed", file=sys.stderr)
        return 2
    from consumers.kafka.dead_letters import DeadLetters  # noqa: PLC0415

    with DeadLetters(settings) as letters:
        try:
            letters.retry(options.position)
        except (LookupError, ValueError) as error:
            return _no(error)
    print("sent again")
    return 0


def skip(options: Namespace, settings: Settings) -> int:
    """Go on without one, for ever."""
    if options.name != COMMANDS:
        return read_models.skip_parked(options, settings)
    from consumers.kafka.dead_letters import DeadLetters  # noqa: PLC0415

    with DeadLetters(settings) as letters:
        try:
            letters.skip(options.position, options.reason)
        except LookupError as error:
            return _no(error)
    print("skipped")
    return 0


def _no(error: Exception) -> int:
    print(f"tidings: {error}", file=sys.stderr)
    return 1


def _letter(found: NumberedLetter) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(found.letter)
    return {"number": found.number, "time": format_time(found.time), **fields}
