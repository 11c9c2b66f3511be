"""What carries transfers of cash between the engines of several partitions.

TransferTopic             what an engine needs
└── KafkaTransferTopic    consumers/kafka/transfer_topic.py
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from domain.transfers import Transfer


class Arrival(NamedTuple):
    """A transfer that came out of the topic, with the command that it carries along, if it does."""

    transfer: Transfer
    then: bytes
    next_offset: int


class Outgoing(NamedTuple):
    """A transfer that the log has, with the command that it carries along, if it does."""

    to_partition: int
    transfer: Transfer
    then: bytes


class TransferTopic(Protocol):
    """What carries transfers between engines. Of each partition's transfers it keeps the order in which they were sent there."""

    @property
    def partitions(self) -> int:
        """The number of partitions of the exchange."""

    @property
    def placing(self) -> Sequence[int]:
        """The partitions in which new stories and accounts are placed; all if it is empty."""

    @property
    def name(self) -> str:
        """The name under which the log says how far this partition's transfers are read; known once `rewind` was called."""

    def rewind(self, next_offsets: Mapping[str, int]) -> int:
        """Go on reading where the log says, or at the beginning; forget what was to be sent. Returns the next offset."""

    def take(self) -> Sequence[Arrival]:
        """Return what has come; never wait. Raises InDoubt when the topic cannot be read."""

    def send(self, outgoing: Outgoing) -> None:
        """Send a transfer to its partition; never wait."""

    def acknowledged(self) -> Mapping[int, int]:
        """Return, by partition, the last number that the topic has acknowledged since this was asked last."""

    def failed(self) -> Sequence[int]:
        """Return the partitions to which transfers were given up since this was asked last. None of theirs is on its way."""

    def close(self) -> None:
        """Disconnect."""
