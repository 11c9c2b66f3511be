"""What an engine needs of heartbeats, so that one engine of a log writes it and another one stands by."""

from typing import Protocol


class Heartbeats(Protocol):
    """Heartbeats between the engines of one log (consumers/kafka/heartbeats.py). They decide who claims, not who writes."""

    seconds: float
    """The time from the last heartbeat to the next."""

    def stand_by(self) -> None:
        """Begin to listen."""

    def is_my_turn(self, position: int, *, log_grew: bool) -> bool:
        """Send a heartbeat; return whether to take over now. `log_grew`: the log has just grown, so its writer lives."""

    def hold(self, epoch: int, position: int) -> None:
        """Say that this engine writes the log from now on, under this epoch."""

    def must_end(self, position: int) -> bool:
        """Send a heartbeat; return whether another engine was told to take over."""

    def is_doubted(self) -> bool:
        """Return whether somebody says, since this was asked last, that another engine has taken over."""

    def check(self) -> None:
        """Raise Fenced when another engine has taken over from this one."""

    def end(self, position: int) -> None:
        """Say that this engine has ended."""

    def close(self) -> None:
        """Listen no more."""
