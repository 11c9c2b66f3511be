"""Names and the partitions that they belong to: only a reader who cares for several partitions needs this room.

Whoever publishes a story or opens an account asks partition 0 first where that is to live. Partition 0 binds the name to a
partition, for ever: everybody who asks for the name again is sent to the same one. So a name is given out by one partition alone,
which sees that it is given once; and a sender that asks again is sent to the same partition, however many there are by then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import ClassVar, Literal

from domain.rejections import Code, Rejection, invalid, reject
from domain.values import Value

Kind = Literal["story", "account"]


class AssignPartition(Value):
    """Say in which partition a story or an account with this name lives, or is to live; only partition 0 of several can.

    `name` is the slug of a story, or the name of an account. `partition` is the operator's wish.
    """

    kind: Kind
    name: str
    partition: int | None = None
    name_key: str = ""


class PartitionAssigned(Value, omit_defaults=True):
    """A story or an account with this name lives in this partition, now or once somebody makes it.

    `name_key` is what all names have in common that are bound together: `slug_root`, or the key by which names are compared.
    `wished` is true if the command named the partition.
    """

    TOPIC: ClassVar[str] = "PartitionAssigned.v1"

    kind: Kind
    name: str
    name_key: str
    partition: int
    wished: bool = False


@dataclass(slots=True)
class Assignments:
    """The partition of each key of a name that somebody has asked for.

    Empty where there is one partition, and in all partitions but the first.
    """

    stories: dict[str, int] = field(default_factory=dict)
    accounts: dict[str, int] = field(default_factory=dict)

    def of(self, kind: Kind) -> dict[str, int]:
        """Return those of stories, or those of accounts."""
        return self.stories if kind == "story" else self.accounts


def assign_partition(
    command: AssignPartition, assigned: Assignments, taken: Mapping[str, str], partitions: int, placing: Sequence[int]
) -> PartitionAssigned | Rejection:
    """Return the partition of a name, or why it cannot be the one that is wished. With one partition no name is bound.

    Args:
        command: the question.
        assigned: what was answered before.
        taken: what lives here in partition 0, by its name: some of it from the time when there was no other partition.
        partitions: the number of partitions.
        placing: the partitions in which new stories and accounts are placed; all if it is empty.
    """
    if partitions == 1:
        return invalid(
            "partition", "is not assigned: the exchange has one partition, where everything lives", maximum=0
        )
    wish, key = command.partition, command.name_key or command.name
    if wish is not None and not 0 <= wish < partitions:
        return invalid("partition", f"must be at most {partitions - 1}", given=wish, maximum=partitions - 1)
    bound = 0 if command.name in taken else assigned.of(command.kind).get(key)
    if bound is None and key in taken:
        bound = 0
    if bound is None:
        bound = _spread(command.kind, key, placing or range(partitions)) if wish is None else wish
    elif wish is not None and wish != bound:
        return invalid("partition", f"must be {bound}, where this name is given out", given=wish, partition=bound)
    return PartitionAssigned(command.kind, command.name, key, bound, wish is not None)


def name_of_elsewhere(name_key: str, name: str, assigned: Assignments) -> Rejection | None:
    """Return the refusal of an account's name that another partition gives out; None if this one, partition 0, may."""
    if not assigned.accounts.get(name_key or name):
        return None
    return reject(Code.ACCOUNT_EXISTS, "this name, or one that looks like it, belongs to another partition", name=name)


def evolve_assignments(assigned: Assignments, event: PartitionAssigned) -> None:
    """Bind the name, unless one with its key is bound: then only this very name is an older one's of partition 0."""
    assigned.of(event.kind).setdefault(event.name_key, event.partition)


def _spread(kind: Kind, key: str, placing: Sequence[int]) -> int:
    """Return one of the partitions by a hash, so that each gets its share."""
    digest = blake2b(f"{kind}:{key}".encode(), digest_size=8).digest()
    return placing[int.from_bytes(digest, "big") % len(placing)]
