"""Refusals: a closed list of stable codes, and the value that carries a code and the numbers that decided it."""

from dataclasses import dataclass, field
from enum import StrEnum


class Code(StrEnum):
    """Why a command was refused. A published code keeps its name and meaning for ever."""

    # The command names something that does not exist.
    STORY_NOT_FOUND = "STORY_NOT_FOUND"
    MARKET_NOT_FOUND = "MARKET_NOT_FOUND"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    ORDER_NOT_OPEN = "ORDER_NOT_OPEN"
    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"

    INVITATION_NOT_FOUND = "INVITATION_NOT_FOUND"

    # It already exists.
    STORY_EXISTS = "STORY_EXISTS"
    MARKET_EXISTS = "MARKET_EXISTS"
    ACCOUNT_EXISTS = "ACCOUNT_EXISTS"

    # The market's status or the time does not allow it.
    MARKET_NOT_ACTIVE = "MARKET_NOT_ACTIVE"
    MARKET_STATUS = "MARKET_STATUS"
    CLOSE_TIME_PASSED = "CLOSE_TIME_PASSED"
    DISPUTE_WINDOW_OPEN = "DISPUTE_WINDOW_OPEN"
    DISPUTE_WINDOW_CLOSED = "DISPUTE_WINDOW_CLOSED"

    # The account may not, or has too little.
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    INSUFFICIENT_SHARES = "INSUFFICIENT_SHARES"
    ACCOUNT_OVERDRAWN = "ACCOUNT_OVERDRAWN"
    WITHDRAWAL_HELD = "WITHDRAWAL_HELD"

    # The invitation.
    INVITATION_EXISTS = "INVITATION_EXISTS"
    INVITATION_EXPIRED = "INVITATION_EXPIRED"
    INVITATION_REVOKED = "INVITATION_REVOKED"
    INVITATION_USED_UP = "INVITATION_USED_UP"

    NOT_ORDER_OWNER = "NOT_ORDER_OWNER"

    # The order's own conditions are broken.
    SLIPPAGE = "SLIPPAGE"
    FOK_NOT_FILLED = "FOK_NOT_FILLED"
    POST_ONLY_WOULD_CROSS = "POST_ONLY_WOULD_CROSS"
    REDUCE_ONLY = "REDUCE_ONLY"
    ORDER_TOO_SMALL = "ORDER_TOO_SMALL"
    ORDER_EXPIRED = "ORDER_EXPIRED"
    TOO_MANY_ORDERS = "TOO_MANY_ORDERS"
    BOOK_FULL = "BOOK_FULL"

    # An exchange of several partitions: the command belongs elsewhere, the cash is there, or nothing can be sent there now.
    # Only the first is an outcome.
    WRONG_PARTITION = "WRONG_PARTITION"
    FUNDS_NEEDED = "FUNDS_NEEDED"
    BUSY = "BUSY"

    # There are as many as there may be.
    TOO_MANY_MARKETS = "TOO_MANY_MARKETS"
    TOO_MANY_ACCOUNTS = "TOO_MANY_ACCOUNTS"

    # A field has a value that is not allowed.
    INVALID_FIELD = "INVALID_FIELD"
    INVALID_PRICE = "INVALID_PRICE"
    INVALID_PAYOUTS = "INVALID_PAYOUTS"
    BOND_TOO_SMALL = "BOND_TOO_SMALL"

    # The same command id came with another body.
    COMMAND_ID_REUSED = "COMMAND_ID_REUSED"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refusal. `details` are strings and integers (amounts in micro-units) by which a reader can check the decision."""

    code: Code
    message: str
    details: dict[str, str | int] = field(default_factory=dict)


def reject(code: Code, message: str, **details: str | int) -> Rejection:
    """Return a rejection; keyword arguments become its details."""
    return Rejection(code, message, details)


def invalid(field_name: str, problem: str, **details: str | int) -> Rejection:
    """Return the rejection of one field, which its message and details name."""
    return Rejection(Code.INVALID_FIELD, f"{field_name} {problem}", {"field": field_name, **details})
