"""Commands that come again long after: each gets its first reply, and holds up nobody else."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from time import sleep
from typing import TYPE_CHECKING, Any

from eventsourcing.persistence import Notification, OperationalError
from eventsourcing.popo import POPOApplicationRecorder

from consumers.engine.decider import LOOK_UPS_MAX
from consumers.engine.engine import UNRECORDED_MAX
from consumers.engine.recorded_replies import PAGE_EVENTS
from domain.partition import CommandsRead
from tests.consumers.checks import recorded
from tests.consumers.exchange_fixtures import Market, open_market, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumers.gateway import LocalGateway
    from messages.replies import Reply

OLD = 40


class SlowRecorder(POPOApplicationRecorder):
    """A log in which each look-up takes a while and is counted, and some fail."""

    def __init__(self) -> None:
        super().__init__()
        self.look_ups = self.failures = 0
        self.seconds = 0.0
        self.at_first: Callable[[], None] | None = None
        self.before_append: list[int] = []

    def select_notifications(self, *args: Any, **kwargs: Any) -> Sequence[Notification]:
        """Wait, then return the events or fail."""
        self.look_ups += 1
        if self.at_first is not None:
            at_first, self.at_first = self.at_first, None
            at_first()
        if self.failures:
            self.failures -= 1
            raise OperationalError("the log cannot be read")
        sleep(self.seconds)
        return super().select_notifications(*args, **kwargs)

    def insert_events(self, *args: Any, **kwargs: Any) -> Sequence[int] | None:
        """Note how many look-ups were made before, and append."""
        self.before_append.append(self.look_ups)
        return super().insert_events(*args, **kwargs)


@contextmanager
def forgetful() -> "Iterator[tuple[SlowRecorder, LocalGateway, Market, list[Reply]]]":
    """Run an engine that has decided `OLD` orders and has no longer any reply in memory."""
    recorder = SlowRecorder()
    with running(recorder) as (engine, gateway, _):
        market = open_market(gateway.submit_blocking)
        replies = [gateway.submit_blocking(*market.buy(f"old-{i}")) for i in range(OLD)]
        engine._replica.replies.forget()
        recorder.look_ups = 0
        yield recorder, gateway, market, replies


def test_new_commands_go_first() -> None:
    """A new order that comes after forty old ones is decided before most of these are looked up."""
    done: list[str] = []

    async def send(gateway: "LocalGateway", market: Market, name: str, account: int) -> "Reply":
        reply = await gateway.submit(*market.buy(name, account))
        done.append(name)
        return reply

    async def send_all(gateway: "LocalGateway", market: Market) -> "list[Reply]":
        old = [send(gateway, market, f"old-{i}", 0) for i in range(OLD)]
        return await asyncio.gather(*old, send(gateway, market, "new", 2))

    with forgetful() as (recorder, gateway, market, first_replies):
        recorder.seconds = 0.005
        replies = asyncio.run(send_all(gateway, market))

    assert done.index("new") < OLD / 4
    assert replies[:-1] == first_replies
    assert replies[-1].code is None


def test_a_new_command_waits_for_a_few_look_ups_at_most() -> None:
    """One that comes while the first of forty old ones is looked up is in the log after `LOOK_UPS_MAX` look-ups."""

    async def send_all(recorder: SlowRecorder, gateway: "LocalGateway", market: Market) -> "list[Reply]":
        # Downwards: the page that is read for one old command does not hold the next one.
        old = [gateway.submit(*market.buy(f"old-{i}")) for i in reversed(range(OLD))]
        loop = asyncio.get_running_loop()
        new: list[asyncio.Task[Reply]] = []

        def send_new() -> None:
            """Send a new command, and return when the engine's queue has it. The engine's own thread calls this."""

            async def send() -> None:
                new.append(asyncio.create_task(gateway.submit(*market.buy("new", 2))))
                await asyncio.sleep(0)

            asyncio.run_coroutine_threadsafe(send(), loop).result()

        recorder.at_first = send_new
        replies = await asyncio.gather(*old)
        return [*reversed(replies), await new[0]]

    with forgetful() as (recorder, gateway, market, first_replies):
        recorder.before_append.clear()
        replies = asyncio.run(send_all(recorder, gateway, market))

    assert recorder.look_ups >= OLD
    # The first look-up reads twice: it comes to the end of the log.
    assert recorder.before_append[0] <= LOOK_UPS_MAX + 1
    assert replies[:-1] == first_replies
    assert replies[-1].code is None


def test_neighbours_are_read_from_the_log_together() -> None:
    """Forty old orders that followed each other in the log take a few reads of it."""

    async def send_all(gateway: "LocalGateway", market: Market) -> "list[Reply]":
        return await asyncio.gather(*[gateway.submit(*market.buy(f"old-{i}")) for i in range(OLD)])

    with forgetful() as (recorder, gateway, market, first_replies):
        assert asyncio.run(send_all(gateway, market)) == first_replies

    assert recorder.look_ups <= 1 + 2 * OLD // PAGE_EVENTS + 1


def test_what_was_looked_up_is_remembered() -> None:
    """An old command that comes ten times is looked up once."""
    with forgetful() as (recorder, gateway, market, first_replies):
        for _ in range(10):
            assert gateway.submit_blocking(*market.buy("old-3")) == first_replies[3]

        assert recorder.look_ups == 1


def test_old_commands_move_the_mark() -> None:
    """The log says how far the commands are read although nothing happens: the next engine does not take them again."""

    async def send_all(gateway: "LocalGateway", market: Market) -> "list[Reply]":
        return await asyncio.gather(*[gateway.submit(*market.buy("old-7")) for _ in range(3 * UNRECORDED_MAX)])

    with forgetful() as (recorder, gateway, market, first_replies):
        before = len(recorded(recorder))
        replies = asyncio.run(send_all(gateway, market))

    assert all(reply == first_replies[7] for reply in replies)
    added = [each.event for each in recorded(recorder)[before:]]
    assert 1 <= len(added) <= 3
    assert all(isinstance(event, CommandsRead) for event in added)
    assert getattr(added[-1], "next", 0) > UNRECORDED_MAX


def test_a_look_up_that_fails_is_done_again() -> None:
    """The engine takes over again, and the command is still there: the mark was not beyond it."""
    with forgetful() as (recorder, gateway, market, first_replies):
        recorder.failures = 1

        assert gateway.submit_blocking(*market.buy("old-5")) == first_replies[5]
        assert recorder.look_ups > 1
