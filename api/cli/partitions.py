"""`--partitions`: the partitions of the log that a command works on."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settings import Settings

_PART: Final = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", re.ASCII)


def add_partitions(parser: argparse.ArgumentParser) -> None:
    """Declare `--partitions`."""
    parser.add_argument(
        "--partitions",
        type=parse_partitions,
        metavar="0-3,7",
        help="the partitions of the log, where it has several; by default all",
    )


def parse_partitions(text: str) -> tuple[int, ...]:
    """Return the partitions that a text like `0-3,7` names, in order, each once. Raises ArgumentTypeError."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None or (match[2] is not None and int(match[1]) > int(match[2])):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of partitions such as 0-3,7")
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(found))


def chosen_partitions(options: argparse.Namespace, settings: Settings) -> Sequence[int]:
    """Return the partitions that a command works on. Raises PartitionError: the log has no such partition."""
    chosen: tuple[int, ...] | None = options.partitions
    if chosen is None:
        return range(settings.partitions)
    if chosen[-1] >= settings.partitions:
        raise PartitionError(
            f"there is no partition {chosen[-1]}: TIDINGS_PARTITIONS is {settings.partitions}, partitions are counted from 0"
        )
    return chosen


class PartitionError(ValueError):
    """The log has no such partition."""
