"""The traces that the log's records belong to, for the transactions that fold them."""

from collections.abc import Sequence
from typing import Protocol


class FoldTraces(Protocol):
    """Follows sampled commands into the read models. May be called from any thread."""

    def note(self, position: int, headers: Sequence[tuple[str, bytes]]) -> None:
        """Note the headers of the log's record whose last event has this position."""

    def folded(self, names: Sequence[str], after: int, position: int, seconds: float) -> None:
        """Note that a transaction has just ended, and what it folded in this time: the events up to a position.

        Args:
            names: the read models.
            after: the position after which it began.
            position: the position of its last event.
            seconds: how long it took.
        """
