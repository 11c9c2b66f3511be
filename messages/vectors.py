"""Positions in several logs: a position for each partition, as people, programs and JSON write it.

With one partition a position is a plain number everywhere, and nobody meets this.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from domain.placement import PARTITION_MAX

POSITION_MAX: Final = 2**63 - 1
"""The highest position."""

_ITEM: Final = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,19})", re.ASCII)
_PROBLEM: Final = "must be positions by partition, such as 3:1042,0:17, each partition once, or a plain number"


class PositionVector:
    """A position for each of some partitions; for others it says 0: nothing of their logs.

    Vectors are in a partial order: `a <= b` if `a` is not ahead of `b` in any partition. `a | b` is the least vector that is
    behind neither. Vectors that say the same of every partition are equal.
    """

    __slots__ = ("_positions",)

    def __init__(self, positions: Mapping[int, int] | Iterable[tuple[int, int]] = ()) -> None:
        self._positions: dict[int, int] = dict(sorted(dict(positions).items()))

    @classmethod
    def parse(cls, text: str, partition: int = 0) -> "PositionVector":
        """Return the vector that a text like `3:1042,0:17` says; a plain number is the position of `partition`.

        Raises ValueError, with a message for people.
        """
        found: dict[int, int] = {}
        items = text.split(",")
        for item in items:
            match = _ITEM.fullmatch(item)
            if match is None or (match[1] is None and len(items) > 1):
                raise ValueError(_PROBLEM)
            at, position = partition if match[1] is None else int(match[1]), int(match[2])
            if at in found or at > PARTITION_MAX or position > POSITION_MAX:
                raise ValueError(_PROBLEM)
            found[at] = position
        return cls(found)

    def of(self, partition: int) -> int:
        """Return the position of a partition."""
        return self._positions.get(partition, 0)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Iterate over the partitions that are named, in order, and their positions."""
        return iter(self._positions.items())

    def __str__(self) -> str:
        """Return it as `parse` takes it: `0:17,3:1042`."""
        return ",".join(f"{partition}:{position}" for partition, position in self)

    def __repr__(self) -> str:
        return f"PositionVector({self._positions})"

    def as_json(self) -> dict[str, int]:
        """Return it as an object of JSON: `{"0": 17, "3": 1042}`."""
        return {str(partition): position for partition, position in self}

    def __le__(self, other: "PositionVector") -> bool:
        return all(position <= other.of(partition) for partition, position in self)

    def __or__(self, other: "PositionVector") -> "PositionVector":
        return PositionVector(
            (partition, max(self.of(partition), other.of(partition)))
            for partition in self._positions.keys() | other._positions.keys()
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositionVector) and self <= other and other <= self

    def __hash__(self) -> int:
        return hash(frozenset(item for item in self if item[1]))
