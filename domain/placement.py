"""Where things live in an exchange of several partitions: an id says it, and nothing ever moves.

A story's markets and orders live in the partition of the story. An account has a home, where it was opened and where cash comes
in and goes out; in other partitions it may have a balance (`domain.transfers`). With one partition no id says anything.
"""

import re
from typing import Final

from domain.rejections import Code, Rejection, reject

PARTITION_MAX: Final = 9_999
"""The highest number of a partition."""

_STAMPED: Final = re.compile(r"(?:st|mk|ac|or)([0-9]*)_")


def partition_of(name: str) -> int:
    """Return the partition that an id names: 3 for `mk3_...`, 0 for `mk_...` and for what is no such id."""
    if name[2:3] == "_":
        return 0
    stamped = _STAMPED.match(name)
    return int(stamped[1] or 0) if stamped else 0


def lives_elsewhere(name: str, partition: int, partitions: int) -> bool:
    """Return whether what has this id lives in another one of these partitions than this."""
    home = partition_of(name)
    return home != partition and home < partitions


def wrong_partition(name: str, partition: int, partitions: int) -> Rejection | None:
    """Return the refusal of a command about something of another partition, which it names; None if it came to the right one."""
    if not lives_elsewhere(name, partition, partitions):
        return None
    return reject(Code.WRONG_PARTITION, "this is decided in another partition", partition=partition_of(name))
