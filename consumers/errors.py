"""The errors that a sender can get instead of a reply.

GatewayError
├── Busy                refused before it was sent: try again in `retry_after_seconds`
│   └── EngineStopped   no engine runs here any more
├── ReplyTimeout        sent, and no reply in time: send it again with the same id, and get its reply
└── Undecidable         the engine failed on it, an error of ours: it has no reply and is in the dead letters
"""


class GatewayError(Exception):
    """There is no reply."""


class Busy(GatewayError):  # noqa: N818  what callers are told
    """Too many commands wait; this one was not sent."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class EngineStopped(Busy):
    """No engine runs here any more; a command that was already sent may have been decided or not."""


class ReplyTimeout(GatewayError):  # noqa: N818  what callers are told
    """The command was sent and no reply came in time. Sending it again with the same id has no second effect."""

    retry_after_seconds = 1.0


class Undecidable(GatewayError):  # noqa: N818  what callers are told
    """The engine failed on this command, and would fail again: an error of ours."""
