"""The digest of a command, for tests that compare commands by it."""

from messages.command_types import Command
from messages.commands import body_and_digest


def digest_of(command: Command) -> str:
    """Return the digest that the log keeps of a command."""
    return body_and_digest(command)[1]
