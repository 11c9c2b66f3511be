"""Follows the log for one webhook, in a thread: reads, sends, and notes how far it is.

The place of a webhook is a position in the database, written after the deliveries up to it have arrived. Whatever was sent
after it is sent again after a crash, with the same ids.
"""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import psycopg
import structlog
from eventsourcing.persistence import InternalError, OperationalError

from consumers.webhooks import store
from consumers.webhooks.deliveries import delivery_of
from consumers.webhooks.sender import Failure, Sender
from domain.market import MarketDrafted
from messages.channels import FollowedMarket
from messages.events import UnreadableEventError
from messages.stored import from_stored
from projections.machine.known_log import log_identity

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection

    from consumers.webhooks.deliveries import WebhookDelivery
    from consumers.webhooks.store import Webhook
    from projections.machine.log_reader import LogReader

_log: Final = structlog.get_logger("webhooks")

PAGE_DELIVERIES: Final = 64
"""The most deliveries between two notes of the place, and so the most that a crash repeats."""

PAUSE_SECONDS_MAX: Final = 600.0
"""The longest pause after a failed delivery; the first is about a second, each one twice the last."""

WAIT_SECONDS: Final = 0.5
"""The longest wait for news before the worker looks whether it should stop, and whether the webhook has changed."""

NOTE_SECONDS: Final = 1.0
"""The interval at which the place is noted while nothing in the log concerns the webhook."""


def pause_after(attempts: int) -> float:
    """Return the pause in seconds after so many failed attempts, give or take a fifth, so that webhooks spread out."""
    return min(2.0 ** min(attempts - 1, 30), PAUSE_SECONDS_MAX) * random.uniform(0.8, 1.2)  # noqa: S311  no secret


class Worker:
    """Sends to one webhook until it is removed, disabled, or `stop`."""

    def __init__(
        self,
        webhook_id: str,
        *,
        dsn: str,
        recorder: ApplicationRecorder,
        reader: LogReader,
        loop: asyncio.AbstractEventLoop,
        private: bool,
    ) -> None:
        self.webhook_id = webhook_id
        self.delivered = 0
        """Deliveries that arrived."""
        self.failed = 0
        """Rounds of deliveries of which one failed."""
        self.position = 0
        """Everything up to here is done with."""
        self._dsn = dsn
        self._recorder = recorder
        self._reader = reader
        self._loop = loop
        self._private = private
        self._markets: dict[str, FollowedMarket | None] = {}
        self._read = 0  # up to here the log was read
        self._waiting: list[WebhookDelivery] = []  # what was read and has not arrived
        self._noted = (0, 0.0)
        self._sending: Future[tuple[set[str], Failure | None]] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"webhook-{webhook_id}", daemon=True)

    @property
    def running(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, from any thread; returns at once. A request that is under way is given up, and sent again later."""
        self._stopping.set()
        if (sending := self._sending) is not None:
            sending.cancel()

    def join(self) -> None:
        """Wait until it has stopped."""
        self._thread.join()

    def _run(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True) as connection:
                    self._work(connection)
            except (psycopg.OperationalError, OperationalError) as error:
                _log.warning("webhook_waits", webhook=self.webhook_id, error=str(error), retry_seconds=pause)
            except Exception:  # noqa: BLE001  whatever it is, the other webhooks go on
                _log.exception("webhook_failed", webhook=self.webhook_id, retry_seconds=pause)
            else:
                return
            finally:
                self._reader.leave(self.webhook_id)
            self._stopping.wait(pause)
            pause = min(2 * pause, 5.0)

    def _work(self, connection: Connection[Any]) -> None:
        """Send until the webhook is removed or disabled, or `stop`."""
        found = store.find(connection, self.webhook_id)
        if found is None or found.disabled_at is not None:
            return
        if (problem := self._lost(found)) is not None:
            store.disable(connection, self.webhook_id, problem)
            _log.error("webhook_disabled", webhook=self.webhook_id, error=problem)
            return
        sender = Sender(found.url, private=self._private)
        try:
            while not self._stopping.is_set():
                webhook = store.find(connection, self.webhook_id)
                if webhook is None or webhook.disabled_at is not None or webhook.log != found.log:
                    return  # if it is still to be told something, a new worker looks where it is
                if self._must_wait(webhook):
                    self._stopping.wait(WAIT_SECONDS)
                else:
                    self._advance(connection, webhook, sender)
        finally:
            asyncio.run_coroutine_threadsafe(sender.close(), self._loop).result()

    def _lost(self, webhook: Webhook) -> str | None:
        """Return how the log differs from the one in which the webhook has its place, None if it does not."""
        try:
            end = self._recorder.max_notification_id() or 0
        except InternalError as error:  # the recorder has noticed it
            return str(error)
        if log_identity(self._recorder) != webhook.log:
            return "the log was made anew"
        return f"the log ends at {end}, before the webhook's position" if end < webhook.position else None

    @staticmethod
    def _must_wait(webhook: Webhook) -> bool:
        return webhook.next_attempt_at is not None and webhook.next_attempt_at > datetime.now(UTC)

    def _advance(self, connection: Connection[Any], webhook: Webhook, sender: Sender) -> None:
        """Read what is next if all that was read has arrived; send a page of it."""
        if webhook.position > self.position:  # at the start, and where an operator skipped something
            self.position = webhook.position
            self._read = max(self._read, webhook.position)
            self._waiting = [each for each in self._waiting if each.position > webhook.position]
        if not self._waiting:
            batch = self._reader.after(self._read, WAIT_SECONDS, self.webhook_id)
            if batch is not None:
                found = (delivery_of(each, webhook.wanted, self._market_of) for each in batch.events)
                self._waiting = [each for each in found if each is not None]
                self._read = batch.last.position
        if self._waiting:
            self._send_page(connection, webhook, sender)
        else:
            self._note_nothing(connection)

    def _note_nothing(self, connection: Connection[Any]) -> None:
        self.position = self._read
        position, noted_at = self._noted
        if position != self.position and monotonic() >= noted_at + NOTE_SECONDS:
            store.move(connection, self.webhook_id, self.position)
            self._noted = self.position, monotonic()

    def _send_page(self, connection: Connection[Any], webhook: Webhook, sender: Sender) -> None:
        page = {id_of(webhook, each): each for each in self._waiting[:PAGE_DELIVERIES]}
        secrets = store.signing_secrets(connection, self.webhook_id)
        try:
            arrived, failure = self._await(sender.send(list(page.items()), secrets))
        except CancelledError:  # by `stop`
            return
        left = [each for name, each in page.items() if name not in arrived]
        self._waiting = left + self._waiting[PAGE_DELIVERIES:]
        self.position = self._waiting[0].position - 1 if self._waiting else self._read
        self.delivered += len(arrived)
        if failure is None:
            store.note_delivered(connection, self.webhook_id, self.position)
            self._noted = self.position, monotonic()
            return
        self._note_failure(connection, webhook, failure)

    def _note_failure(self, connection: Connection[Any], webhook: Webhook, failure: Failure) -> None:
        self.failed += 1
        pause = max(pause_after(webhook.attempts + 1), failure.retry_after)
        store.note_failure(connection, self.webhook_id, self.position, failure.error, pause, gone=failure.status == 410)
        _log.warning(
            "webhook_not_delivered", webhook=self.webhook_id, error=failure.error, retry_seconds=round(pause, 1)
        )

    def _await(self, sending: Coroutine[Any, Any, tuple[set[str], Failure | None]]) -> tuple[set[str], Failure | None]:
        """Run in the loop what sends, and return what it returns. Raises CancelledError after `stop`."""
        future = self._sending = asyncio.run_coroutine_threadsafe(sending, self._loop)
        if self._stopping.is_set():
            future.cancel()
        return future.result()

    def _market_of(self, market_id: str) -> FollowedMarket | None:
        """Return a market as its first event says, None if that cannot be read; prices are not followed here."""
        if market_id not in self._markets:
            (first,) = self._recorder.select_events(f"market-{market_id}", limit=1)
            try:
                event = from_stored(1, first).event
            except UnreadableEventError:
                self._markets[market_id] = None
            else:
                assert isinstance(event, MarketDrafted), "a market begins with its draft"
                self._markets[market_id] = FollowedMarket(event.slug, event.outcomes, None)
        return self._markets[market_id]


def id_of(webhook: Webhook, delivery: WebhookDelivery) -> str:
    """Return the id of a delivery: always the same for one webhook, one log and one position."""
    return f"{webhook.webhook_id}_{webhook.log[:8]}_{delivery.position}"
