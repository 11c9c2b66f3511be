"""An engine in this process, and what the tests of engine and gateway trade with: one story, one market, a few accounts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from eventsourcing.persistence import ApplicationRecorder

from consumers.engine.command_source import LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import RecorderLog
from consumers.gateway import LocalGateway
from consumers.kafka.command_source import KafkaCommandSource
from consumers.wiring import open_log
from domain.account import DepositCash, OpenAccount
from domain.market import OpenMarket
from domain.orders import PlaceOrder
from domain.story import PublishStory
from messages.commands import Command, order_command_id
from messages.replies import Reply
from settings import Settings

MICRO = 1_000_000
START = 1_729_764_120_000_000  # 2024-10-24T10:02:00Z
YEAR = 365 * 24 * 3600 * MICRO

Submit = Callable[[str, Command], Reply]


@contextmanager
def running(recorder: ApplicationRecorder, **options: Any) -> Iterator[tuple[Engine, LocalGateway, LocalCommandSource]]:
    """Run an engine over the recorder, with a gateway to it."""
    source = LocalCommandSource()
    engine = Engine(RecorderLog(recorder), source, **options)
    engine.start()
    try:
        engine.wait_until_ready(10)
        yield engine, LocalGateway(source, timeout_seconds=10), source
    finally:
        engine.stop()


@contextmanager
def engine_over_kafka(settings: Settings, source: KafkaCommandSource | None = None) -> Iterator[Engine]:
    """Run an engine over a log in Kafka, in a thread."""
    engine = Engine(open_log(settings), source or KafkaCommandSource(settings))
    engine.start()
    try:
        engine.wait_until_ready(30)
        yield engine
    finally:
        engine.stop()


@dataclass
class Market:
    """A market and the accounts that trade in it."""

    market_id: str
    accounts: list[str]

    def buy(self, client_order_id: str, account: int = 0, spend: int = MICRO) -> tuple[str, PlaceOrder]:
        """Return a market buy of Yes and the id of its command."""
        account_id = self.accounts[account]
        order = PlaceOrder(account_id, self.market_id, "", client_order_id, "Yes", "buy", "market", spend=spend)
        return order_command_id(account_id, client_order_id), order


def open_market(submit: Submit, accounts: int = 3, close_time: int = START + 100 * YEAR) -> Market:
    """Publish a story with one market, and open accounts with a thousand credits each."""
    opening = OpenMarket(
        "",
        "",
        "combat",
        "Will they fight?",
        ("No", "Yes"),
        1000 * MICRO,
        close_time,
        "News agencies",
        dispute_seconds=0,
    )
    story = submit("setup:story", PublishStory("", "troops", "Troops", "A body", "world", START, None, (opening,)))
    assert story.code is None, story
    ids = []
    for number in range(accounts):
        opened = submit(f"setup:account:{number}", OpenAccount("", f"Trader {number}"))
        ids.append(str(opened.result["account_id"]))
        paid = submit(f"setup:deposit:{number}", DepositCash(ids[-1], 1_000 * MICRO))
        assert paid.code is None, paid
    return Market(str(story.result["market_ids"][0]), ids)


class TickingClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = START
        self._ticks = count()

    def __call__(self) -> int:
        """Return the time."""
        return self.now
