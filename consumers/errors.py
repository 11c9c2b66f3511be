"""What can become of a command instead of a reply.

GatewayError
├── Busy                refused before it was sent: try again in `retry_after_seconds`
│   └── EngineStopped   there is no engine here any more
├── ReplyTimeout      sent, and no answer in time: send it again with the same id, and get its one outcome
└── Undecidable         the engine failed on it, an error of ours: it has no outcome and is in the dead letters
"""


class GatewayError(Exception):
    """There is no reply."""


class Busy(GatewayError):  # noqa: N818  what callers are told
    """As many commands wait as may; this one was not sent."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class EngineStopped(Busy):
    """No engine runs here any more; a command that was sent already may have an outcome or not."""


class ReplyTimeout(GatewayError):  # noqa: N818  what callers are told
    """The command was sent and no reply came in time. Sent again with the same id, it has no second effect."""

    retry_after_seconds = 1.0


class Undecidable(GatewayError):  # noqa: N818  what callers are told
    """The engine failed on this command and would again: an error of ours."""
