"""The same commands at the same times, in one partition and spread over three: the same markets, positions and totals."""

import re
from collections.abc import Iterable
from random import Random
from typing import Final

import msgspec
import pytest

from consumers.simulation.random_commands import RandomCommands
from domain.commands import Command
from domain.exchange import Entry, Exchange
from domain.ledger import BONDS, EXTERNAL, FEES, HOUSE
from domain.money import Time
from domain.orders import CancelOrders, PlaceOrder
from domain.partition import CommandRejected
from domain.placement import partition_of
from domain.rejections import Code, Rejection
from domain.state_hash import lines
from domain.story import PublishStory
from domain.transfers import FundsSent, TransferFunds
from messages.commands import with_ids
from tests.domain.partitions.audits import Audits
from tests.domain.scenario import EFFORT

PARTITIONS: Final = 3
COMMANDS: Final = 600

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


def markets(exchange: Exchange) -> dict[str, list[str]]:
    """Return the lines of each market's state, by its id, as one partition would have it."""
    found: dict[str, list[str]] = {}
    block: list[str] = []
    for line in map(without_stamps, lines(exchange)):
        if not line.startswith(" "):
            block = found.setdefault(line, []) if line.startswith("market ") else []
        block.append(line)
    return found


def positions(exchanges: Iterable[Exchange]) -> dict[tuple[str, str], str]:
    """Return what each account has in each market."""
    return {
        (account.account_id, without_stamps(market_id)): repr(holding)
        for exchange in exchanges
        for account in exchange.accounts.values()
        for market_id, holding in account.holdings.items()
    }


def totals(exchanges: Iterable[Exchange]) -> dict[str, int]:
    """Return the cash of every account, what it holds, and the books of the operator, over all partitions."""
    sums: dict[str, int] = {}
    for exchange in exchanges:
        for account in exchange.accounts.values():
            for name, amount in ((account.account_id, account.cash), (f"held {account.account_id}", account.held)):
                sums[name] = sums.get(name, 0) + amount
        for name in (HOUSE, FEES, BONDS, EXTERNAL):
            sums[name] = sums.get(name, 0) + exchange.ledger.balances[name]
    return sums


@pytest.mark.parametrize("seed", range(3 * EFFORT))
def test_three_partitions_decide_as_one(seed: int) -> None:
    """Every command has the same outcome, and all markets, positions and totals are the same at its end."""
    one, three = Exchange(), Three()
    source = RandomCommands(Random(seed), lifecycle=0.05)  # noqa: S311  a simulation, no secret
    refused: set[str] = set()
    for _ in range(COMMANDS):
        time, command_id, command = source.next_command(one)
        if getattr(command, "account_id", "") == "ac_nobody":
            continue  # that there is no such account only its home can tell
        while one.step(time) is not None:
            pass
        first = one.handle(command, time, command_id)[0].event
        while one.step(time) is not None:
            pass
        expected = first.code if isinstance(first, CommandRejected) else None
        refused |= {expected} if expected else set()
        assert set(three.decide(time, command_id, command)) == {expected}, (command, first)
        assert totals([one]) == totals(three.exchanges), command

    assert positions([one]) == positions(three.exchanges)
    assert markets(one) == {name: state for exchange in three.exchanges for name, state in markets(exchange).items()}
    assert three.audits.in_transit() == 0
    assert three.transfers > COMMANDS / 50
    assert Code.INSUFFICIENT_FUNDS in refused
