"""A model of the protocol between partitions: real exchanges, and around them logs, topics, engines and a gateway that fail.

Three partitions run by random steps. Appends end in doubt, engines die or are paused and wake late, records are lost, come again
or lose their acknowledgement, replies are lost, the gateway forgets, clocks differ. After each event that the log holds the
audits of the partition and of all channels are made. A world can leave out one of the ten rules; then an audit must break.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal

from msgspec.structs import replace

from consumers.simulation.simulation import Row
from domain.commands import Command
from domain.exchange import Entry, Exchange
from domain.money import Time
from domain.partition import CommandRejected, CommandsRead
from domain.rejections import Code, Rejection
from domain.transfers import FundsCarried, FundsSent, Transfer
from tests.domain.partitions.audits import Audits

PARTITIONS: Final = 3
SECOND: Final = 1_000_000
BATCH: Final = 3
"""The most records of a topic in one batch."""

Rule = Literal[
    "carry only what counts",
    "carry again after a take-over",
    "note as carried only what was acknowledged",
    "carry in order",
    "numbers come from the state",
    "pass over known numbers",
    "receipt and mark are one batch",
    "what lacks funds leaves nothing",
    "a command keeps its id",
    "a receipt is not before its sending",
]


@dataclass(frozen=True, slots=True)
class Sent:
    """A command as it is sent: `top_up` asks for no outcome where funds lack, `then` is a command for the destination."""

    command_id: str
    command: Command
    top_up: bool = False
    then: "Sent | None" = None


@dataclass(frozen=True, slots=True)
class Carried:
    """A record of the topic `transfers`."""

    transfer: Transfer
    then: Sent | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply: the refusal, or None if the command was accepted."""

    command_id: str
    refusal: str | None
    details: dict[str, str | int] = field(default_factory=dict)


class Log:
    """A partition's log. A batch of a writer before the last claim is void."""

    def __init__(self) -> None:
        self.epoch = 0
        self.rows: list[Row] = []

    def claim(self) -> int:
        """Begin a new epoch."""
        self.epoch += 1
        return self.epoch


class World:
    """Three partitions, what is between them, and the audits of it all. `without` names the rule that is left out."""

    def __init__(self, seed: int, without: Rule | None = None) -> None:
        self.random = Random(seed)  # noqa: S311  a simulation, no secret
        self.without = without
        self.now: Time = 1_000_000 * SECOND
        self.skew = [self.random.randrange(-2 * SECOND, 2 * SECOND) for _ in range(PARTITIONS)]
        self.logs = [Log() for _ in range(PARTITIONS)]
        self.commands: list[list[Sent]] = [[] for _ in range(PARTITIONS)]
        self.transfers: list[list[Carried]] = [[] for _ in range(PARTITIONS)]
        self.late: list[tuple[int, int, list[Row]]] = []
        self.counters: list[dict[int, int]] = [{} for _ in range(PARTITIONS)]
        self.audits = Audits(PARTITIONS)
        self.answers: list[Answer] = []
        self.faults = 0.15
        self.engines = [Engine(self, partition) for partition in range(PARTITIONS)]
        self.paused: list[Engine] = []

    def follows(self, rule: Rule) -> bool:
        """Return whether the protocol of this world has the rule."""
        return self.without != rule

    def fails(self) -> bool:
        """Return whether something goes wrong now."""
        return self.random.random() < self.faults

    def append(self, partition: int, epoch: int, rows: list[Row]) -> bool:
        """Append a batch, and audit it. Returns whether it counts."""
        log = self.logs[partition]
        if epoch != log.epoch:
            return False
        log.rows += rows
        for row in rows:
            self.audits.apply(partition, row.entry, row.time, row.command_id)
        self.audits.check_all(partition)
        return True

    def step(self) -> None:
        """Let one thing happen."""
        random = self.random
        self.now += random.randrange(SECOND // 2)
        if self.late and random.random() < 0.3:
            partition, epoch, rows = self.late.pop(random.randrange(len(self.late)))
            self.append(partition, epoch, rows)
        if self.paused and random.random() < 0.2:
            engine = random.choice(self.paused)
            if not engine.step():
                self.paused.remove(engine)
        partition = random.randrange(PARTITIONS)
        engine = self.engines[partition]
        if random.random() < self.faults / 4:
            self.paused.append(engine)  # its successor takes over while it sleeps
            alive = False
        else:
            alive = random.random() >= self.faults / 4 and engine.step()
        if not alive:
            self.engines[partition] = Engine(self, partition)

    def answer(self, answer: Answer) -> None:
        """Send a reply, which may be lost."""
        if not self.fails():
            self.answers.append(answer)

    def is_quiet(self) -> bool:
        """Return whether the engines have nothing left to do."""
        return all(engine.is_quiet() for engine in self.engines)


class Engine:
    """The writer of a partition from one take-over to its end. `step` returns False when it has ended."""

    def __init__(self, world: World, partition: int) -> None:
        self.world, self.partition = world, partition
        self.log = world.logs[partition]
        self.epoch = self.log.claim()
        self.exchange = Exchange(partition, PARTITIONS)
        self.marks = {"commands": 0, "transfers": 0}
        self.known: dict[str, tuple[str | None, Answer]] = {}
        for row in self.log.rows:
            self._replay(row)
        self.thens: dict[str, Sent] = {}
        self.to_carry: dict[int, list[Transfer]] = {}
        if world.follows("carry again after a take-over"):
            self.to_carry = {to: list(outgoing) for to, outgoing in self.exchange.channels.outgoing.items()}
        if not world.follows("numbers come from the state"):
            self.exchange.channels.sent.update(world.counters[partition])
        self.acknowledged: dict[int, int] = {}
        self.batch: list[Row] = []
        self.batches: list[list[Row]] = []
        self.replies: list[Answer] = []

    def _replay(self, row: Row) -> None:
        entry, event = row.entry, row.entry.event
        self.exchange.apply(event, stream=entry.stream, version=entry.version, time=row.time, command_id=row.command_id)
        if isinstance(event, CommandsRead):
            self.marks[event.source] = event.next
        elif row.digest is not None:
            self.known[row.command_id] = row.digest, _answer_of(row.command_id, entry)

    def is_quiet(self) -> bool:
        """Return whether all is read, appended, carried and noted."""
        topics = self.world.commands[self.partition], self.world.transfers[self.partition]
        read = (self.marks["commands"], self.marks["transfers"]) == tuple(map(len, topics))
        return read and not (self.batches or self.batch or self.exchange.channels.outgoing)

    # --- one step

    def step(self) -> bool:
        """Decide, append or carry. Returns False when the engine has ended: in doubt, or fenced."""
        channels = [to for to, transfers in self.to_carry.items() if transfers]
        if channels and self.world.random.random() < 0.5:
            self._carry(self.world.random.choice(channels))
            return True
        if self.batches:
            return self._append()
        self._decide_some()
        return True

    def _decide_some(self) -> None:
        world = self.world
        for to_partition, number in self.acknowledged.items():
            entry = self.exchange.emit_partition_event(FundsCarried(to_partition, number), self._clock(), "")
            self.batch.append(Row("", self.exchange.time, entry))
        self.acknowledged.clear()
        arrived = world.transfers[self.partition][self.marks["transfers"] :][:BATCH]
        if arrived and not world.follows("receipt and mark are one batch"):
            self._mark("transfers", len(arrived))
            self._end_batch()
        for carried in arrived:
            self._receive(carried)
        if arrived and world.follows("receipt and mark are one batch"):
            self._mark("transfers", len(arrived))
        commands = world.commands[self.partition][self.marks["commands"] :][:BATCH]
        for sent in commands:
            self._decide(sent)
        if commands:
            self._mark("commands", len(commands))
        self._end_batch()

    def _end_batch(self) -> None:
        if self.batch:
            self.batches.append(self.batch)
            self.batch = []

    def _mark(self, source: str, count: int) -> None:
        self.marks[source] += count
        self.batch.append(Row("", self.exchange.time, self.exchange.commands_read(source, self.marks[source])))

    def _clock(self) -> Time:
        return max(self.world.now + self.world.skew[self.partition], self.exchange.time)

    def _receive(self, carried: Carried) -> None:
        world, transfer = self.world, carried.transfer
        if not world.follows("pass over known numbers"):
            number = self.exchange.channels.received.get(transfer.from_partition, 0) + 1
            transfer = replace(transfer, number=number)
        time = self._clock()
        if world.follows("a receipt is not before its sending"):
            time = max(time, transfer.time)
        else:
            transfer = replace(transfer, time=0)
        self.batch += [Row(transfer.receipt_id, time, entry) for entry in self.exchange.receive(transfer, time)]
        if carried.then is not None:
            self._decide(carried.then)

    def _decide(self, sent: Sent) -> None:
        world, command_id, digest = self.world, sent.command_id, repr(sent.command)
        if command_id in self.known:
            before, answer = self.known[command_id]
            self.replies.append(answer if before == digest else Answer(command_id, Code.COMMAND_ID_REUSED))
            return
        time = self._clock()
        if sent.top_up and world.follows("what lacks funds leaves nothing"):
            decided = self.exchange.handle_if_funded(sent.command, time, command_id)
            if isinstance(decided, Rejection):
                self.replies.append(Answer(command_id, decided.code, decided.details))
                return
        else:
            decided = self.exchange.handle(sent.command, time, command_id)
        self.batch += [Row(command_id, time, entry, digest if not n else None) for n, entry in enumerate(decided)]
        answer = _answer_of(command_id, decided[0])
        self.known[command_id] = digest, answer
        self.replies.append(answer)
        if sent.then is not None:
            self.thens[command_id] = sent.then
        if not world.follows("carry only what counts"):
            self._take_up(decided)

    def _take_up(self, entries: list[Entry]) -> None:
        """Note what is to be carried."""
        for event in [entry.event for entry in entries]:
            if isinstance(event, FundsSent):
                outgoing = self.exchange.channels.outgoing[event.to_partition]
                self.to_carry.setdefault(event.to_partition, []).extend(
                    transfer for transfer in outgoing if transfer.number == event.number
                )

    # --- append

    def _append(self) -> bool:
        world, rows = self.world, self.batches.pop(0)
        for event in [row.entry.event for row in rows]:
            if isinstance(event, FundsSent):
                world.counters[self.partition][event.to_partition] = event.number
        if world.fails():
            fate = world.random.choice(["in the log", "not in the log", "late"])
            if fate == "in the log":
                world.append(self.partition, self.epoch, rows)
            elif fate == "late":
                world.late.append((self.partition, self.epoch, rows))
            return False
        if not world.append(self.partition, self.epoch, rows):
            return False
        if world.follows("carry only what counts"):
            self._take_up([row.entry for row in rows])
        if not self.batches:
            for reply in self.replies:
                world.answer(reply)
            self.replies.clear()
        return True

    # --- carry

    def _carry(self, to: int) -> None:
        world, waiting = self.world, self.to_carry[to]
        index = 0 if world.follows("carry in order") else world.random.randrange(len(waiting))
        transfer = waiting[index]
        arrives, acknowledged = not world.fails(), not world.fails()
        if arrives:
            then = self.thens.get(transfer.transfer_id)
            world.transfers[to].append(Carried(transfer, then))
        if arrives and acknowledged:
            del waiting[index]
        if (arrives and acknowledged) or not world.follows("note as carried only what was acknowledged"):
            self.acknowledged[to] = max(transfer.number, self.acknowledged.get(to, 0))


def _answer_of(command_id: str, entry: Entry) -> Answer:
    event = entry.event
    return Answer(command_id, event.code if isinstance(event, CommandRejected) else None)
