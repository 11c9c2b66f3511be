"""The library's recorder in PostgreSQL, with subscriptions that miss no event while they begin."""

from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import Subscription
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresSubscription
from psycopg.sql import SQL, Identifier


class LogSubscription(PostgresSubscription):
    """Yields every event of the log, also one that is appended while the subscription begins.

    The library reads what is there, and listens in another thread. An event between the two would wait for the next one.
    """

    def _listen(self) -> None:
        try:
            with self._recorder.datastore.get_connection() as connection:
                connection.execute(SQL("LISTEN {}").format(Identifier(self._recorder.channel_name)))
                self._has_been_notified.set()  # so it reads once more: nobody heard of what came before
                while not self._has_been_stopped and not self._thread_error:
                    for _ in connection.notifies(timeout=0.1, stop_after=1):
                        self._has_been_notified.set()
        except BaseException as error:  # noqa: BLE001  the reader of the subscription gets it
            if self._thread_error is None:
                self._thread_error = error
            self.stop()


class LogRecorder(PostgresApplicationRecorder):
    """The library's recorder with such subscriptions."""

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[Any]:
        """Return a subscription to the events after a position."""
        return LogSubscription(recorder=self, gt=gt, topics=topics)
