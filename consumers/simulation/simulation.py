"""A seeded simulation: random commands, crashes and repeated deliveries, with every invariant checked at every position.

It runs the domain under a miniature of the engine: the log is a list, a repeated command is recognized by its id, and at a crash
the exchange is thrown away and made again from the log. The same seed always fails in the same way. The deliveries that made it
fail are then reduced to a short script.
"""

import time as clock
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, Literal

from consumers.simulation.random_commands import RandomCommands
from domain.account import DepositCash
from domain.commands import Command
from domain.exchange import Entry, Exchange
from domain.invariants import Audit
from domain.market import (
    CloseMarket,
    DetermineMarket,
    Evidence,
    FinalizeMarket,
    Payout,
    ResumeMarket,
    Status,
    UpholdMarket,
    VoidMarket,
)
from domain.money import MICRO, Time
from domain.partition import CommandRejected
from messages.commands import body_and_digest

CHECKS: Final = 200
"""The number of checks of the whole state in a long run; a short run has one after every 25 commands.

The part of the state that an event touches is checked after every event.
"""

SHRINK_SECONDS: Final = 60.0
"""The most time for making a failing script shorter."""

Fate = Literal["once", "twice", "reused", "lost", "crash"]
"""The fate of a delivery.

- once: it comes once.
- twice: it comes a second time.
- reused: its id comes a second time, with another body.
- lost: the process dies before its events are appended; it is then delivered again.
- crash: the process dies right after its events are appended, before it replies.
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A command as it reaches the miniature, and what happens to it."""

    time: Time
    command_id: str
    command: Command
    fate: Fate = "once"


@dataclass(frozen=True, slots=True)
class Row:
    """An event of the log; the first event of a command has the command's digest."""

    command_id: str
    time: Time
    entry: Entry
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a simulation: what it did, and the state it ended in."""

    seed: int
    commands: int
    events: int
    accepted: dict[str, int]
    rejected: dict[str, int]
    crashes: int
    repeated: int
    house: int
    state_hash: str
    seconds: float


class SimulationFailedError(AssertionError):
    """An invariant broke: the seed, the number of commands so far, and the shortest script found that breaks one too."""

    def __init__(self, seed: int, number: int, cause: Exception, script: Sequence[Delivery]) -> None:
        lines = "\n".join(f"  {delivery}" for delivery in script)
        super().__init__(
            f"seed {seed} failed at command {number}: {cause!r}\n{len(script)} deliveries are enough:\n{lines}"
        )
        self.seed, self.number, self.cause, self.script = seed, number, cause, script


@dataclass(slots=True)
class Miniature:
    """An engine reduced to what matters here: decide, append, recognize repeated commands, recover from the log."""

    exchange: Exchange = field(default_factory=Exchange)
    audit: Audit = field(default_factory=Audit)
    log: list[Row] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    crashes: int = 0
    repeated: int = 0

    def deliver(self, delivery: Delivery) -> None:
        """Deliver a command, with its fate."""
        time, command_id, command = delivery.time, delivery.command_id, delivery.command
        if delivery.fate == "lost":
            self._step(time)
            self.exchange.handle(command, time, command_id)
            self.crash()
        first = self._handle(time, command_id, command)
        if delivery.fate == "crash":
            self.crash()
        self._step(time)
        if delivery.fate in {"twice", "reused"}:
            other = DepositCash("nobody", 1) if delivery.fate == "reused" else command
            length = len(self.log)
            again = self._handle(time, command_id, other)
            self.repeated += 1
            assert again == ("reused" if delivery.fate == "reused" else "known"), "a repeated id is recognized"
            assert first == "new", "the first delivery counts"
            assert length == len(self.log), "a repeated delivery changes nothing"

    def _handle(self, time: Time, command_id: str, command: Command) -> Literal["new", "known", "reused"]:
        body, digest = body_and_digest(command)
        if command_id in self.digests:
            return "known" if self.digests[command_id] == digest else "reused"
        self._step(time)
        self.digests[command_id] = digest
        self._append(command_id, time, self.exchange.handle(command, time, command_id, body), digest)
        return "new"

    def _step(self, time: Time) -> None:
        while (step := self.exchange.step(time)) is not None:
            self._append(step[0], time, step[1])

    def _append(self, command_id: str, time: Time, entries: Sequence[Entry], digest: str | None = None) -> None:
        assert 0 < len(entries) < 4_000, "the events of a command are bounded"
        for entry in entries:
            self.log.append(Row(command_id, time, entry, digest))
            digest = None
            self.audit.apply(entry, time=time, command_id=command_id)

    def crash(self) -> None:
        """Lose everything but the log, and make it again from the log."""
        self.crashes += 1
        self.exchange = replayed(self.log)
        self.digests = {row.command_id: row.digest for row in self.log if row.digest is not None}

    def check(self) -> None:
        """Check the whole state, and that the live exchange is in the state that its events make."""
        self.audit.check_all()
        assert self.audit.exchange.state_hash() == self.exchange.state_hash(), "the replayed state is the live one"


def replayed(log: Sequence[Row], exchange: Exchange | None = None) -> Exchange:
    """Apply these events to an exchange (a new one by default) and return it."""
    exchange = exchange or Exchange()
    for row in log:
        entry = row.entry
        exchange.apply(
            entry.event, stream=entry.stream, version=entry.version, time=row.time, command_id=row.command_id
        )
    return exchange


def simulate(
    seed: int,
    commands: int,
    *,
    crashes: int = 20,
    progress: Callable[[int, int], None] | None = None,
    shrink: bool = True,
) -> Report:
    """Run random commands, with about this many crashes, and then bring every market to its end.

    Args:
        seed: the same seed does the same.
        commands: how many random commands.
        crashes: about how many crashes among them.
        progress: called after every hundred commands with (commands done, all).
        shrink: make the script of a failure as short as possible.

    Raises:
        SimulationFailedError: an invariant does not hold; the seed is in its message.
    """
    begin = clock.monotonic()
    random, chooser = Random(seed), RandomCommands(Random(seed + 1))  # noqa: S311  a simulation, no secret
    miniature, script = Miniature(), list[Delivery]()
    try:
        for number in range(commands):
            time, command_id, command = chooser.next_command(miniature.exchange)
            delivery = Delivery(time, command_id, command, _fate(random, crashes / max(commands, 1)))
            script.append(delivery)
            miniature.deliver(delivery)
            if number % max(25, commands // CHECKS) == 0:
                miniature.check()
            if progress is not None and number % 100 == 99:
                progress(number + 1, commands)
        for delivery in _end_of(miniature.exchange):
            script.append(delivery)
            miniature.deliver(delivery)
        _check_end(miniature, random)
    except Exception as cause:
        shortest = shrunk(script, type(cause)) if shrink else script[-20:]
        raise SimulationFailedError(seed, len(script), cause, shortest) from cause
    replies = [row.entry.event for row in miniature.log if row.digest is not None]
    accepted = Counter(type(event).__name__ for event in replies if not isinstance(event, CommandRejected))
    rejected = Counter(str(event.code) for event in replies if isinstance(event, CommandRejected))
    return Report(
        seed,
        commands,
        len(miniature.log),
        dict(accepted.most_common()),
        dict(rejected.most_common()),
        miniature.crashes,
        miniature.repeated,
        miniature.exchange.ledger.balances["house"],
        miniature.exchange.state_hash(),
        clock.monotonic() - begin,
    )


def _fate(random: Random, crash_rate: float) -> Fate:
    chance = random.random()
    if chance < crash_rate:
        return random.choice(["lost", "crash"])
    return "twice" if chance > 0.98 else "reused" if chance > 0.97 else "once"


def _end_of(exchange: Exchange) -> Iterator[Delivery]:
    """Yield deliveries that bring every market to its end, so that its pool must be empty."""
    time = exchange.time
    for market_id in list(exchange.markets):
        for number in range(6):
            market, time = exchange.markets[market_id], time + 1
            payouts = tuple(Payout(name, MICRO) for name in market.terms.outcomes[:1])
            command: Command
            match market.status:
                case Status.DRAFT | Status.HALTED:
                    command = (
                        VoidMarket(market_id, "the end") if market.status is Status.DRAFT else ResumeMarket(market_id)
                    )
                case Status.ACTIVE:
                    command = CloseMarket(market_id)
                case Status.CLOSED:
                    command = DetermineMarket(market_id, payouts, Evidence("the end"))
                case Status.DISPUTED:
                    command = UpholdMarket(market_id)
                case Status.DETERMINED:
                    time = max(time, market.dispute_until)
                    command = FinalizeMarket(market_id)
                case _:
                    break
            yield Delivery(time, f"end-{market_id}-{number}", command)


def _check_end(miniature: Miniature, random: Random) -> None:
    miniature.check()
    exchange, log = miniature.exchange, miniature.log
    for market_id, market in exchange.markets.items():
        assert market.status in {Status.FINALIZED, Status.VOIDED}, "every market has ended"
        assert exchange.ledger.pool(market_id) == 0, "its pool is empty"
    assert all(account.held == 0 for account in exchange.accounts.values()), "no cash is held any more"
    expected = exchange.state_hash()
    assert replayed(log).state_hash() == expected, "a replay from zero gives the same state"
    cut = random.randrange(len(log) + 1)
    assert replayed(log[cut:], replayed(log[:cut])).state_hash() == expected, "so does a replay in two parts"


# --- making a failing script shorter


def shrunk(script: Sequence[Delivery], kind: type[Exception]) -> list[Delivery]:
    """Return a part of the script that fails with the same type of error, found by leaving out ever smaller pieces."""
    shortest, size, until = list(script), len(script) // 2, clock.monotonic() + SHRINK_SECONDS
    while size and clock.monotonic() < until:
        begin = 0
        while begin < len(shortest) and clock.monotonic() < until:
            shorter = shortest[:begin] + shortest[begin + size :]
            if isinstance(failure_of(shorter), kind):
                shortest = shorter
            else:
                begin += size
        size //= 2
    plain = [replace(delivery, fate="once") for delivery in shortest]
    return plain if isinstance(failure_of(plain), kind) else shortest


def failure_of(script: Sequence[Delivery]) -> Exception | None:
    """Return the error that just these deliveries raise, or None."""
    miniature = Miniature()
    try:
        for delivery in script:
            miniature.deliver(delivery)
            miniature.check()
    except Exception as failure:  # noqa: BLE001  any error is what is looked for
        return failure
    return None
