"""Reading the log for requests: in few threads, so that a log that does not answer holds up no other request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from anyio import CapacityLimiter, fail_after, to_thread
from eventsourcing.persistence import DatabaseError, InterfaceError, InternalError, OperationalError

from api.http.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventsourcing.persistence import ApplicationRecorder

T = TypeVar("T")

THREADS: Final = 4
"""The number of threads that read the log at a time. Over Kafka they share one reader anyway."""

QUEUE_SECONDS: Final = 5.0
"""The longest wait of a request for one of these threads."""


class LogReads:
    """Asks the log questions for the requests of one server."""

    def __init__(self, log: ApplicationRecorder) -> None:
        self._log = log
        self._threads = CapacityLimiter(THREADS)

    async def ask(self, question: Callable[[ApplicationRecorder], T]) -> T:
        """Return what the question finds in the log; it runs in a thread, and should hold no database connection.

        Raises:
            ApiError: LOG_LOST, when the log has lost events; UNAVAILABLE, when it cannot be reached, or earlier questions take
                too long.
        """
        try:
            with fail_after(QUEUE_SECONDS):  # ends only the wait for a thread
                return await to_thread.run_sync(question, self._log, limiter=self._threads)
        except InternalError as error:
            raise ApiError("LOG_LOST", str(error)) from error
        except (TimeoutError, DatabaseError, InterfaceError) as error:
            is_mistake = isinstance(error, DatabaseError) and not isinstance(error, OperationalError)
            if (
                is_mistake and type(error) is not DatabaseError
            ):  # PostgreSQL's client raises just that for a lost connection
                raise
            raise ApiError("UNAVAILABLE", "the log cannot be reached", retry_after_seconds=1) from error
