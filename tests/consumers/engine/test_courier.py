"""Three engines in this process, and queues between them that fail: the protocol of transfers with the program's own engine."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from threading import Lock
from time import monotonic, sleep
from typing import Any

import pytest
from eventsourcing.popo import POPOApplicationRecorder
from msgspec.structs import replace

from consumers.engine.clock import system_clock
from consumers.engine.command_source import CommandReply, LocalCommand, LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import Append, InDoubt, RecorderLog
from consumers.engine.metrics import EngineCollector
from consumers.engine.transfer_topic import Arrival, Outgoing
from domain.account import DepositCash, OpenAccount
from domain.assignments import AssignPartition
from domain.commands import Command
from domain.exchange import Entry
from domain.market import OpenMarket
from domain.orders import SplitSets
from domain.partition import CommandsRead
from domain.story import PublishStory
from domain.transfer_rules import OUTGOING_MAX
from domain.transfers import FundsCarried, FundsSent, Transfer, TransferFunds
from messages.commands import body_and_digest, dump_command, with_ids
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


def test_a_command_travels_with_its_funds() -> None:
    """It lacks funds where its market is; the transfer brings both, and one batch there has receipt, outcome and mark."""
    with three() as world:
        wish = SplitSets(world.account, world.markets[2], 30 * MICRO)
        needed = world.ask(2, "wish", wish, top_up=True)
        assert (needed.code, needed.details["required"]) == ("FUNDS_NEEDED", "30.000000")
        then = dump_command("wish", wish, top_up=True)
        sent = world.ask(0, "t1", TransferFunds(world.account, 2, 30 * MICRO, share=MICRO // 4), then=then)
        assert sent.result == {
            "account_id": world.account,
            "to_partition": 2,
            "number": 1,
            "amount": "250.000000",
        }

        wait_for(lambda: "wish" in world.sources[2].carried)
        done = world.sources[2].carried["wish"]
        assert done.code is None
        assert world.ask(2, "wish", wish, top_up=True) == done
        wait_for(lambda: isinstance(world.log(0)[-2].event, FundsCarried))

    kinds = [type(row.event).__name__ for row in world.log(2)]
    first = kinds.index("BalanceOpened")
    assert kinds[first:] == [
        "BalanceOpened",
        "FundsReceived",
        "SetsSplit",
        "SetsMinted",
        "CommandsRead",
        "CommandsRead",
    ]
    assert [row.event for row in world.log(2)[-2:]][1] == CommandsRead("transfers-2", 1)
    assert world.engines[0].exchange.channels.outgoing == {}
    assert world.audit().in_transit() == 0


def test_the_first_engine_says_where_new_things_live() -> None:
    """In one of the partitions that take new ones. The first answer holds, also for another engine of the same log."""
    with three() as world:
        question = AssignPartition("story", "election-2024")
        first = world.ask(0, "assign:1", question)
        assert first.result["partition"] in {1, 2}
        assert world.ask(0, "assign:1", question) == first
        assert world.ask(0, "assign:2", AssignPartition("story", "election")).result == first.result
        assert world.ask(1, "assign:1", question).details == {"partition": 0}


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_nothing_comes_twice(seed: int) -> None:
    """Appends end in doubt, records come twice or are given up: in the end every balance is what was sent to it."""
    with three(seed) as world:
        random = Random(seed)  # noqa: S311  a simulation, no secret
        world.between.faults = 0.3
        for number in range(60):
            sender, receiver = random.sample(range(PARTITIONS), 2)
            amount = random.randrange(1, 50 * MICRO)
            world.ask(sender, f"t{number}", TransferFunds(world.account, receiver, amount, at_least=1))
        world.between.faults = 0.0
        wait_for(lambda: world.audit().in_transit() == 0)

    audits = world.audit()
    assert audits.total(world.account) == 1_000 * MICRO
    sent = [
        row.event for partition in range(PARTITIONS) for row in world.log(partition) if type(row.event) is FundsSent
    ]
    assert len(sent) > 5
    assert sum(map(len, world.between.records)) > len(sent), "some came twice"
    assert sum(engine.measures.doubts for engine in world.engines) > 0


def test_a_channel_that_carries_nothing_fills_up() -> None:
    """Then transfers to that partition are refused, and leave nothing; others go on. Once it carries again, the same ones do."""
    with three() as world:
        world.between.dead.add(2)
        one, other = TransferFunds(world.account, 2, 1), TransferFunds(world.account, 1, 1)
        for number in range(OUTGOING_MAX - 1):
            world.send(0, f"t{number}", one)
        assert world.ask(0, "last", one).code is None
        end = len(world.log(0))
        refused = world.ask(0, "more", one)
        assert (refused.code, refused.details) == ("BUSY", {"to_partition": 2, "maximum": OUTGOING_MAX})
        assert world.ask(0, "t0", one).code is None, "its outcome stands"
        assert len(world.log(0)) == end
        assert world.ask(0, "other", other).code is None

        world.between.dead.clear()
        wait_for(lambda: world.ask(0, "more", one).code is None)
        wait_for(lambda: world.engines[2].exchange.channels.received == {0: OUTGOING_MAX + 1})


def numbers(engine: Engine) -> dict[str, dict[str, float]]:
    """Return an engine's metrics of transfers, by the other partition."""
    return {
        family.name.removeprefix("tidings_engine_transfers_"): {
            sample.labels.get("to") or sample.labels.get("from", ""): sample.value for sample in family.samples
        }
        for family in EngineCollector(engine).collect()
    }


def test_metrics_tell_where_cash_is() -> None:
    """What waits to be carried and since when, and what is in transit, as a sum over all engines."""
    with three() as world:
        world.between.dead.add(2)
        for number in range(3):
            assert world.ask(0, f"t{number}", TransferFunds(world.account, 2, MICRO)).code is None
        assert world.ask(0, "other", TransferFunds(world.account, 1, 5 * MICRO)).code is None
        wait_for(lambda: world.engines[1].exchange.channels.received == {0: 1})
        found = [numbers(engine) for engine in world.engines]
        assert found[0]["sent"] == {"1": 1, "2": 3}
        assert found[0]["waiting"]["2"] == 3
        assert found[0]["waiting_seconds"].keys() >= {"2"}
        assert 0 <= found[0]["waiting_seconds"]["2"] < 60
        assert found[1]["received"] == {"0": 1}
        assert sum(each["tidings_engine_transit_credits"][""] for each in found) == 3
        assert found[1]["tidings_engine_clock_ahead_seconds"] == {"": 0.0}

        world.between.dead.clear()
        wait_for(lambda: sum(numbers(each)["tidings_engine_transit_credits"][""] for each in world.engines) == 0)
        assert numbers(world.engines[0])["missing"] == {}


def test_a_clock_that_is_ahead_is_told() -> None:
    """A transfer from the future moves the receiver's time, and shows."""
    with three() as world:
        later = system_clock() + 3_600 * MICRO
        world.between.records[0].append(Outgoing(0, Transfer(1, 1, world.account, MICRO, later, "x1"), b""))
        world.sources[0].wake()
        wait_for(lambda: world.engines[0].exchange.channels.received == {1: 1})
        assert world.engines[0].exchange.time >= later
        assert 3_500 < numbers(world.engines[0])["tidings_engine_clock_ahead_seconds"][""] <= 3_600


def test_a_channel_that_has_lost_a_record_stands_still_alone() -> None:
    """What comes too early is left out, loudly; other channels go on, and so does this one when the record comes after all."""
    with three() as world:
        lost, early, other = (Transfer(1, n, world.account, MICRO, START, f"x{n}") for n in (1, 2, 1))
        for one in (early, replace(other, from_partition=2)):
            world.between.records[0].append(Outgoing(0, one, b""))
        world.sources[0].wake()
        wait_for(lambda: world.engines[0].exchange.channels.received == {2: 1})
        assert numbers(world.engines[0])["missing"] == {"1": 1.0}
        for one in (lost, early):
            world.between.records[0].append(Outgoing(0, one, b""))
        world.sources[0].wake()
        wait_for(lambda: world.engines[0].exchange.channels.received == {1: 2, 2: 1})
        assert numbers(world.engines[0])["missing"] == {}
