"""Follows the log for one webhook, in a task: reads, sends, and notes how far it is.

The place of a webhook is a position in the database, written after the deliveries up to it have arrived. Whatever was sent
after it is sent again after a crash, with the same ids.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog
from eventsourcing.persistence import InternalError, PersistenceError

from consumers.webhooks import store
from consumers.webhooks.deliveries import delivery_of
from consumers.webhooks.sender import Failure, Sender
from domain.market import MarketDrafted
from messages.channels import FollowedMarket
from messages.events import UnreadableEventError
from messages.stored import from_stored
from projections.machine.background import DATABASE_FAULTS
from projections.machine.known_log import log_identity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from eventsourcing.persistence import ApplicationRecorder
    from psycopg import Connection

    from consumers.webhooks.deliveries import WebhookDelivery
    from consumers.webhooks.shared import Shared
    from consumers.webhooks.store import Webhook

_log: Final = structlog.get_logger("webhooks")

PAGE_DELIVERIES: Final = 64
"""The most deliveries between two notes of the place, and so the most that a crash repeats."""

PAUSE_SECONDS_MAX: Final = 600.0
"""The longest pause after a failed delivery; the first is about a second, each one twice the last."""

NOTE_SECONDS: Final = 1.0
"""The interval at which the place is noted while nothing in the log concerns the webhook."""

CROWDED_SECONDS: Final = 0.1
"""The pause of a webhook that must wait until slower ones have taken a large batch of the log."""


def pause_after(attempts: int) -> float:
    """Return the pause in seconds after so many failed attempts, give or take a fifth, so that webhooks spread out."""
    return min(2.0 ** min(attempts - 1, 30), PAUSE_SECONDS_MAX) * random.uniform(0.8, 1.2)  # noqa: S311  no secret


class Worker:
    """Sends to one webhook until it is removed, disabled, or canceled. It waits in the event loop, and asks in threads."""

    def __init__(self, webhook_id: str, shared: Shared) -> None:
        self.webhook_id = webhook_id
        self.delivered = 0
        """Deliveries that arrived."""
        self.failed = 0
        """Rounds of deliveries of which one failed."""
        self.position = 0
        """Everything up to here is done with."""
        self._shared = shared
        self._markets: dict[str, FollowedMarket | None] = {}
        self._read = 0  # up to here the log was read
        self._waiting: list[WebhookDelivery] = []  # what was read and has not arrived
        self._noted = (0, 0.0)
        self._woken = asyncio.Event()
        self._look_again = False

    def wake(self, *, changed: bool) -> None:
        """Have it go on, because the log has news, or because its row may have `changed`."""
        self._look_again = self._look_again or changed
        self._woken.set()

    async def run(self) -> None:
        """Send until the webhook is removed or disabled. Waits while the database or the log is away."""
        pause = 0.1
        while True:
            try:
                await self._work()
            except (*DATABASE_FAULTS, PersistenceError) as error:
                _log.warning("webhook_waits", webhook=self.webhook_id, error=str(error), retry_seconds=pause)
            else:
                return
            finally:
                self._shared.reader.leave(self.webhook_id)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    async def _work(self) -> None:
        webhook = found = await self._shared.ask(self._begin)
        if found is None:
            return
        sender = Sender(found.url, private=self._shared.private)
        try:
            # Where its log is another one, a new worker looks where it is.
            while webhook is not None and webhook.disabled_at is None and webhook.log == found.log:
                self._woken.clear()
                seconds = self._must_wait(webhook)
                if seconds is None:
                    page, secrets = await self._shared.ask(self._next_page, webhook)
                    if page:
                        arrived, failure = await sender.send(list(page.items()), secrets)
                        webhook = await self._shared.ask(self._note, webhook, page, arrived, failure)
                        continue
                    seconds = self._idle_seconds()
                if not self._look_again:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(
                            seconds
                        ):  # unlike `wait_for`, it never takes a cancellation for itself
                            await self._woken.wait()
                if self._look_again:
                    self._look_again = False
                    webhook = await self._shared.ask(store.find, self.webhook_id)
        finally:
            await sender.close()

    def _begin(self, connection: Connection[Any]) -> Webhook | None:
        """Return the webhook; None if there is nothing to send to it. Disable it where its place is not in this log."""
        found = store.find(connection, self.webhook_id)
        if found is None or found.disabled_at is not None:
            return None
        if (problem := self._lost(self._shared.recorder, found)) is not None:
            store.disable(connection, self.webhook_id, problem)
            _log.error("webhook_disabled", webhook=self.webhook_id, error=problem)
            return None
        return found

    @staticmethod
    def _lost(recorder: ApplicationRecorder, webhook: Webhook) -> str | None:
        """Return how the log differs from the one in which the webhook has its place, None if it does not."""
        try:
            end = recorder.max_notification_id() or 0
        except InternalError as error:  # the recorder has noticed it
            return str(error)
        if log_identity(recorder) != webhook.log:
            return "the log was made anew"
        return f"the log ends at {end}, before the webhook's position" if end < webhook.position else None

    @staticmethod
    def _must_wait(webhook: Webhook) -> float | None:
        """Return for how many seconds nothing may be sent, None if that is allowed now."""
        if webhook.next_attempt_at is None:
            return None
        left = (webhook.next_attempt_at - datetime.now(UTC)).total_seconds()
        return left if left > 0 else None

    def _idle_seconds(self) -> float | None:
        """Return how long to wait, with nothing to send, for news that nobody may announce; None: for ever."""
        if self._read < self._shared.head:
            return CROWDED_SECONDS
        position, noted_at = self._noted
        return None if position == self.position else max(0.0, noted_at + NOTE_SECONDS - monotonic())

    def _next_page(self, connection: Connection[Any], webhook: Webhook) -> tuple[dict[str, WebhookDelivery], list[str]]:
        """Return what is to be sent next, by id, and the secrets that sign; read on if all that was read has arrived."""
        if webhook.position > self.position:  # at the start, and where an operator skipped something
            self.position = webhook.position
            self._read = max(self._read, webhook.position)
            self._waiting = [each for each in self._waiting if each.position > webhook.position]
        reader, name = self._shared.reader, self.webhook_id
        while not self._waiting and self._read < self._shared.head:
            batch = reader.kept(self._read) or reader.after(self._read, 0.0, name)
            if batch is None:
                break
            found = (delivery_of(each, webhook.wanted, self._market_of) for each in batch.events)
            self._waiting = [each for each in found if each is not None]
            self._read = batch.last.position
            self._note_nothing(connection)
        reader.leave(name)
        if not self._waiting:
            self._note_nothing(connection)
            return {}, []
        page = {id_of(webhook, each): each for each in self._waiting[:PAGE_DELIVERIES]}
        return page, store.signing_secrets(connection, name)

    def _note_nothing(self, connection: Connection[Any]) -> None:
        if self._waiting:
            return
        self.position = self._read
        position, noted_at = self._noted
        if position != self.position and monotonic() >= noted_at + NOTE_SECONDS:
            store.move(connection, self.webhook_id, self.position)
            self._noted = self.position, monotonic()

    def _note(
        self,
        connection: Connection[Any],
        webhook: Webhook,
        page: Mapping[str, WebhookDelivery],
        arrived: AbstractSet[str],
        failure: Failure | None,
    ) -> Webhook | None:
        """Note what has arrived and what has not; return the webhook as it is then."""
        left = [each for name, each in page.items() if name not in arrived]
        self._waiting = left + self._waiting[len(page) :]
        self.position = self._waiting[0].position - 1 if self._waiting else self._read
        self.delivered += len(arrived)
        if failure is None:
            store.note_delivered(connection, self.webhook_id, self.position)
            self._noted = self.position, monotonic()
        else:
            self.failed += 1
            pause = max(pause_after(webhook.attempts + 1), failure.retry_after)
            gone = failure.status == 410
            store.note_failure(connection, self.webhook_id, self.position, failure.error, pause, gone=gone)
            _log.warning(
                "webhook_not_delivered", webhook=self.webhook_id, error=failure.error, retry_seconds=round(pause, 1)
            )
        return store.find(connection, self.webhook_id)

    def _market_of(self, market_id: str) -> FollowedMarket | None:
        """Return a market as its first event says, None if that cannot be read; prices are not followed here."""
        if market_id not in self._markets:
            (first,) = self._shared.recorder.select_events(f"market-{market_id}", limit=1)
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
