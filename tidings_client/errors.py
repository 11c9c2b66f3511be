"""What can go wrong in a call. Every error is a `TidingsError`; one that the exchange answered with is an `ApiError`."""

from __future__ import annotations

from typing import Any, Final


class TidingsError(Exception):
    """A call has no result."""


class UnreachableError(TidingsError, OSError):
    """No exchange answered in time. A write may be done or not: the same call with the same id finds out."""


class ApiError(TidingsError):
    """The exchange answered with an error: HTTP `status`, `code` (a name that never changes), `message`, `details`.

    `position` is the place of a refusal in the log, None if the log does not have it. docs/errors.md lists the codes.
    """

    def __init__(self, status: int, code: str, message: str, details: dict[str, Any]) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = details

    @property
    def position(self) -> int | None:
        """The place of the refusal in the log, or None."""
        found = self.details.get("position")
        return found if isinstance(found, int) else None


class MalformedError(ApiError):
    """400: the request is not one that the exchange understands."""


class UnauthenticatedError(ApiError):
    """401: the key is missing, unknown, expired or revoked."""


class ForbiddenError(ApiError):
    """403: the key may not do this."""


class NotFoundError(ApiError):
    """404: there is nothing with this id, slug or name."""


class ConflictError(ApiError):
    """409: the id was used for something else, or this is not allowed in the present status."""


class RefusedError(ApiError):
    """422: a field is invalid, or the rules refuse the command; `details` has the field or the numbers that decided it."""


class UnavailableError(ApiError):
    """429 or 503 until the deadline of the call: too many requests, or a part of the exchange is not there."""


_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    400: MalformedError,
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: RefusedError,
    429: UnavailableError,
    503: UnavailableError,
}


def error_of(status: int, code: str, message: str, details: dict[str, Any]) -> ApiError:
    """Return the error for an answer with this status."""
    return _BY_STATUS.get(status, ApiError)(status, code, message, details)
