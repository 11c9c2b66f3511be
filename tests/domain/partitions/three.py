"""Three partitions without faults, which decide what one partition decides; and the logs that they make."""

import re
from collections.abc import Iterable
from random import Random
from typing import Final, NamedTuple

import msgspec

from consumers.simulation.random_commands import RandomCommands
from domain.commands import Command
from domain.events import Recorded
from domain.exchange import Entry, Exchange
from domain.money import Time
from domain.orders import CancelOrders, PlaceOrder
from domain.partition import CommandRejected
from domain.placement import partition_of
from domain.rejections import Rejection
from domain.story import PublishStory
from domain.transfers import FundsSent, TransferFunds
from messages.commands import with_ids
from tests.domain.partitions.audits import Audits

PARTITIONS: Final = 3

_SLUG: Final = re.compile(r"\bslug='[^']*'")
"""A market's slug is unique in its partition only, so a derived one may have another number."""

_STAMP: Final = re.compile(r"\b(st|mk|or)[0-9]+_(?=[0-9a-f]{26})")


def without_stamps(text: str) -> str:
    """Return the text with the ids that one partition would have made, and without slugs."""
    return _SLUG.sub("", _STAMP.sub(r"\1_", text))


class Three:
    """Three partitions without faults. Funds are fetched from the other balances at once, to buy and to pay debts."""

    def __init__(self) -> None:
        self.exchanges = [Exchange(partition, PARTITIONS) for partition in range(PARTITIONS)]
        self.audits = Audits(PARTITIONS)
        self.logs: list[list[Recorded]] = [[] for _ in range(PARTITIONS)]
        self.time: Time = 0
        self.transfers = 0
        self.homes: dict[str, int] = {}
        self.stamps: dict[str, str] = {}

    def decide(self, time: Time, command_id: str, command: Command) -> list[str | None]:
        """Decide a command where it belongs, and return its refusals; one that cancels everywhere has three."""
        self.time = time
        for partition in range(PARTITIONS):
            self._step(partition)
        moved = self._stamped(command_id, command)
        everywhere = isinstance(moved, CancelOrders) and moved.market_id is None
        refusals = [
            self._fund_and_handle(partition, command_id, moved)
            for partition in (range(PARTITIONS) if everywhere else [self._place(moved)])
        ]
        for partition in range(PARTITIONS):
            self._step(partition)
        self._pay_debts()
        for partition in range(PARTITIONS):
            self.audits.check_all(partition)
        return refusals

    def _stamped(self, command_id: str, command: Command) -> Command:
        """Return the command with the ids that three partitions make; all accounts live in the first."""
        if isinstance(command, PublishStory):
            named = with_ids(command_id, command, int(command.story_id[-1], 16) % PARTITIONS)
            assert isinstance(named, PublishStory)
            made = [named.story_id, *[market.market_id for market in named.markets]]
            self.stamps |= dict(zip([command.story_id, *[one.market_id for one in command.markets]], made, strict=True))
            return named
        text = msgspec.json.encode(command).decode()
        for old in set(re.findall(r"\b(?:st|mk|or)_[0-9a-f]{26}\b", text)):
            text = text.replace(old, self.stamps.get(old, old))
        moved = msgspec.json.decode(text, type=type(command))
        if isinstance(moved, PlaceOrder):
            order_id = moved.order_id
            moved = with_ids(command_id, moved)  # type: ignore[assignment]
            assert isinstance(moved, PlaceOrder)
            self.stamps[order_id] = moved.order_id
        return moved

    @staticmethod
    def _place(command: Command) -> int:
        for name in ("story_id", "market_id", "order_id", "account_id"):
            if value := getattr(command, name, None):
                return partition_of(value)
        return 0

    def _fund_and_handle(self, partition: int, command_id: str, command: Command) -> str | None:
        exchange = self.exchanges[partition]
        decided = exchange.handle_if_funded(command, self.time, command_id)
        if isinstance(decided, Rejection):
            missing = int(decided.details["required"]) - int(decided.details["available"])
            self._fetch(command.account_id, partition, missing)  # type: ignore[union-attr]
            decided = exchange.handle(command, self.time, command_id)
        self._audit(partition, decided, command_id)
        first = decided[0].event
        return first.code if isinstance(first, CommandRejected) else None

    def _fetch(self, account_id: str, to: int, missing: int) -> None:
        """Move cash to a balance, as much as is missing and there is."""
        for source in range(PARTITIONS):
            account = self.exchanges[source].accounts.get(account_id)
            if source == to or missing <= 0 or account is None or account.cash <= 0:
                continue
            self.transfers += 1
            transfer = TransferFunds(account_id, to, missing, at_least=1)
            sent = self.exchanges[source].handle(transfer, self.time, f"t{self.transfers}")
            self._audit(source, sent, f"t{self.transfers}")
            event = sent[0].event
            assert isinstance(event, FundsSent)
            missing -= event.amount
            (carried,) = [one for one in self.exchanges[source].channels.outgoing[to] if one.number == event.number]
            self._audit(to, self.exchanges[to].receive(carried, self.time), carried.receipt_id)

    def _pay_debts(self) -> None:
        """Do what the collector does: pay balances below zero from others."""
        for partition, exchange in enumerate(self.exchanges):
            for account in list(exchange.accounts.values()):
                if account.cash < 0:
                    self._fetch(account.account_id, partition, -account.cash)

    def _step(self, partition: int) -> None:
        while (step := self.exchanges[partition].step(self.time)) is not None:
            self._audit(partition, step[1], step[0])

    def _audit(self, partition: int, entries: Iterable[Entry], command_id: str) -> None:
        for entry in entries:
            self.audits.apply(partition, entry, self.time, command_id)
            record(self.logs[partition], entry, self.time, command_id)


def record(log: list[Recorded], entry: Entry, time: Time, command_id: str) -> None:
    """Append an event to a log."""
    log.append(Recorded(len(log) + 1, entry.stream, entry.version, time, command_id, entry.event))


class Decided(NamedTuple):
    """A command, its refusal in one partition (None: accepted), and those in each of the three that it came to."""

    command: Command
    one: str | None
    three: set[str | None]


class Both:
    """One partition and three, which get the same random commands at the same times, and their logs."""

    def __init__(self, seed: int) -> None:
        self.one, self.three = Exchange(), Three()
        self.log: list[Recorded] = []
        self._source = RandomCommands(Random(seed), lifecycle=0.05)  # noqa: S311  a simulation, no secret

    def run(self, commands: int) -> "Both":
        """Send so many commands."""
        for _ in range(commands):
            self.decide()
        return self

    def decide(self) -> Decided:
        """Send one command."""
        while True:
            time, command_id, command = self._source.next_command(self.one)
            if getattr(command, "account_id", "") != "ac_nobody":
                break  # that there is no such account only its home can tell
        self._step(time)
        entries = self.one.handle(command, time, command_id)
        for entry in entries:
            record(self.log, entry, time, command_id)
        self._step(time)
        first = entries[0].event
        refusal = first.code if isinstance(first, CommandRejected) else None
        return Decided(command, refusal, set(self.three.decide(time, command_id, command)))

    def _step(self, time: Time) -> None:
        while (step := self.one.step(time)) is not None:
            for entry in step[1]:
                record(self.log, entry, time, step[0])
