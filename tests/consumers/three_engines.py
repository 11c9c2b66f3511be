"""Three engines in this process, and queues between them that fail."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from threading import Lock
from time import monotonic, sleep
from typing import Any

from eventsourcing.popo import POPOApplicationRecorder

from consumers.engine.command_source import CommandReply, LocalCommand, LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import Append, InDoubt, RecorderLog
from consumers.engine.transfer_topic import Arrival, Outgoing
from domain.account import DepositCash, OpenAccount
from domain.commands import Command
from domain.exchange import Entry
from domain.market import OpenMarket
from domain.story import PublishStory
from messages.commands import body_and_digest, with_ids
from messages.replies import Reply
from tests.consumers.checks import recorded
from tests.consumers.exchange_fixtures import MICRO, START, YEAR
from tests.domain.partitions.audits import Audits, audit_logs

PARTITIONS = 3


@dataclass
class Between:
    """The topic `transfers` of all partitions."""

    random: Random
    faults: float = 0.0
    records: list[list[Outgoing]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    sources: dict[int, LocalCommandSource] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)


class LocalTransferTopic:
    """One partition's view of it: a record may come twice, or be given up."""

    def __init__(self, between: Between, partition: int) -> None:
        self._between, self._partition = between, partition
        self._next = 0
        self._acknowledged: dict[int, int] = {}
        self._failed: set[int] = set()
        self.partitions, self.placing = PARTITIONS, (1, 2)
        self.name = f"transfers-{partition}"

    def rewind(self, next_offsets: Mapping[str, int]) -> int:
        """Read on where the log says."""
        self._next = next_offsets.get(self.name, 0)
        self._acknowledged.clear()
        self._failed.clear()
        return self._next

    def take(self) -> Sequence[Arrival]:
        """Return two at most."""
        records = self._between.records[self._partition][self._next :][:2]
        first, self._next = self._next, self._next + len(records)
        return [Arrival(one.transfer, one.then, number) for number, one in enumerate(records, first + 1)]

    def send(self, outgoing: Outgoing) -> None:
        """Send it, or give it up; a given up one may have arrived."""
        between, to = self._between, outgoing.to_partition
        if to in self._failed:
            return
        if to in between.dead:
            self._failed.add(to)
            return
        with between.lock:
            chance = between.random.random()
            if chance > between.faults / 2:
                between.records[to].append(outgoing)
                between.sources[to].wake()
            if chance < between.faults:
                self._failed.add(to)
            else:
                self._acknowledged[to] = outgoing.transfer.number

    def acknowledged(self) -> Mapping[int, int]:
        """Return the last numbers."""
        found, self._acknowledged = self._acknowledged, {}
        return found

    def failed(self) -> Sequence[int]:
        """Return those with a transfer that was given up."""
        found, self._failed = self._failed, set()
        return sorted(found)

    def close(self) -> None:
        """Do nothing."""


class FaultyLog(RecorderLog):
    """A log whose appends end in doubt now and then, in the log or not."""

    def __init__(self, recorder: POPOApplicationRecorder, between: Between) -> None:
        super().__init__(recorder)
        self._between = between

    def begin(self, events: Sequence[Any]) -> Append:
        """Append the events, or do not, and say that it is unknown."""
        with self._between.lock:
            chance = self._between.random.random()
        if chance < self._between.faults / 2:
            raise InDoubt("nobody knows; it is not in the log")
        append = super().begin(events)
        if chance < self._between.faults:
            raise InDoubt("nobody knows; it is in the log")
        return append


class Source(LocalCommandSource):
    """A queue that keeps the replies to commands that transfers have carried along."""

    def __init__(self) -> None:
        super().__init__()
        self.carried: dict[str, Reply] = {}

    def send_replies(self, replies: Sequence[CommandReply]) -> None:
        """Send them."""
        super().send_replies([pair for pair in replies if isinstance(pair[0], LocalCommand)])
        self.carried |= {reply.command_id: reply for sent, reply in replies if not isinstance(sent, LocalCommand)}


class Three:
    """Three engines, their logs and their queues; the first is the home of an account, each has a market."""

    def __init__(self, seed: int = 0) -> None:
        self.between = Between(Random(seed))  # noqa: S311  a simulation, no secret
        self.recorders = [POPOApplicationRecorder() for _ in range(PARTITIONS)]
        self.sources = [Source() for _ in range(PARTITIONS)]
        self.between.sources.update(enumerate(self.sources))
        self.engines = [self._engine(partition) for partition in range(PARTITIONS)]
        self.account, self.markets = "", [""] * PARTITIONS
        self._numbers = count()

    def _engine(self, partition: int) -> Engine:
        return Engine(
            FaultyLog(self.recorders[partition], self.between),
            self.sources[partition],
            partition=partition,
            transfers=LocalTransferTopic(self.between, partition),
        )

    def ask(self, partition: int, command_id: str, command: Command, **wishes: Any) -> Reply:
        """Send a command to a partition, and wait for its reply."""
        return self.send(partition, command_id, command, **wishes).result(20)

    def send(self, partition: int, command_id: str, command: Command, **wishes: Any) -> Future[Reply]:
        """Send a command to a partition; return its reply to come."""
        named = with_ids(command_id, command, partition)
        body, digest = body_and_digest(named)
        future: Future[Reply] = Future()
        name = type(command).__name__
        self.sources[partition].put(
            LocalCommand(command_id, named, digest, None, None, name, body, **wishes, waiter=(None, future))
        )
        return future

    def open(self) -> None:
        """Open the markets and the account, and put cash in."""
        opening = OpenMarket("", "", None, "Will it?", ("No", "Yes"), MICRO, START + 100 * YEAR, "source")
        for partition in range(PARTITIONS):
            story = PublishStory("", None, "Title", "body", "world", START, None, (opening,))
            self.markets[partition] = self.ask(partition, "story", story).result["market_ids"][0]
        self.account = self.ask(0, "open", OpenAccount("", "Ada")).result["account_id"]
        assert self.ask(0, "paid", DepositCash(self.account, 1_000 * MICRO)).code is None

    def log(self, partition: int) -> list[Any]:
        """Return the events of a partition's log."""
        return recorded(self.recorders[partition])

    def audit(self) -> Audits:
        """Audit all logs."""
        return audit_logs(
            [
                [(Entry(row.stream, row.version, row.event), row.time, row.command_id) for row in self.log(partition)]
                for partition in range(PARTITIONS)
            ]
        )


@contextmanager
def three(seed: int = 0) -> Iterator[Three]:
    """Run three engines."""
    world = Three(seed)
    for engine in world.engines:
        engine.start()
    try:
        world.open()
        yield world
    finally:
        world.between.faults = 0.0
        for engine in world.engines:
            engine.stop()


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    """Wait until something holds."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "it never came to pass"
        sleep(0.01)
