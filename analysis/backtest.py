"""A strategy as one more trader among the recorded commands of a log: the same fills, the same money rules.

    from analysis.backtest import backtest, StrategyFile

    found = backtest(history, StrategyFile(Path("momentum.py"), "Momentum"), dsn)
    print(found.standing, found.result.other.books.house - found.result.same.books.house)

The recorded commands are decided again twice: as they were (the control, which must leave the recorded events), and with the
strategy's orders between them. Everybody else sends what they sent, at the same times, though with another trader they would
not. What the strategy is told comes after it was decided, so what is behind its position exists nowhere in its process.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from analysis.comparison import ComparedWorlds, OtherWorld, compare
from analysis.strategy_process import StrategyError, StrategyProcess
from analysis.world import World
from domain.account import DepositCash, OpenAccount
from domain.money import MICRO
from domain.orders import CancelOrders, OrderPlaced
from domain.partition import CommandRejected
from messages.commands import (
    Command,
    InvalidCommand,
    Submitted,
    body_and_digest,
    command_of,
    new_id,
    order_command_id,
    with_ids,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from analysis.recovered import RecoveredCommand
    from analysis.replay import History
    from domain.account import Account
    from domain.events import Recorded
    from domain.money import Credits, Time
    from projections.positions.leaderboard import Standing

OPENING_ID: Final = "backtest:account"
ACCOUNT_ID: Final = new_id("ac", OPENING_ID)
"""The account of the strategy."""


@dataclass(frozen=True)
class StrategyFile:
    """A function, or a class whose objects can be called, in a Python file; and the name and the cash of its account."""

    file: Path
    name: str
    account_name: str = "The backtest's strategy"
    cash: Credits = 1_000 * MICRO


@dataclass
class StrategyRecord:
    """What a strategy did: its orders by status, refusals by code, and its account at the end."""

    asked: int = 0
    """The number of times that it was asked."""
    orders: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    canceled: int = 0
    """The number of its cancellations, not of the orders that they took out."""
    account: Account | None = None
    equity: Credits = 0
    """Its cash at the end, with what orders hold, and its shares at the market maker's prices."""


@dataclass(frozen=True)
class BacktestResult:
    """A strategy's record, its standing by the leaderboard's definitions (None if it never traded), and both worlds."""

    record: StrategyRecord
    standing: Standing | None
    result: ComparedWorlds


def backtest(
    history: History,
    strategy: StrategyFile,
    dsn: str,
    *,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BacktestResult:
    """Run a strategy over the recorded commands of a log, and compare the world with it to the world without it.

    The database gets scratch schemas, which are gone afterwards.

    Args:
        history: the log, or an export of it.
        strategy: runs in a process of its own, which ends with the backtest.
        dsn: a database that `migrations` has prepared, and that may hold live read models.
        until: the last position whose command is decided, with all that it left.
        progress: told the position reached and the last one.

    Raises:
        StrategyError: the strategy raised an error or sent what breaks a limit; it names the position.
        ControlError: under the recorded terms another event came out. Then nothing is said of the strategy.
        ScratchBusyError: another comparison is at work on this database.
        UnreadableEventError: the log has an event that this version does not know.
    """
    with StrategyProcess(strategy.file, strategy.name, ACCOUNT_ID, history.partition) as process:
        trader = _Trader(World(partition=history.partition), strategy, process)
        result = compare(history, dsn, trader, until=until, progress=progress)
    standing = next((each for each in result.other.standings if each.account_id == ACCOUNT_ID), None)
    return BacktestResult(trader.finished(), standing, result)


class _Trader(OtherWorld):
    """The world with the strategy in it: tells the strategy what happens, and decides what it sends."""

    def __init__(self, world: World, strategy: StrategyFile, process: StrategyProcess) -> None:
        super().__init__(world)
        self.record = StrategyRecord()
        self._strategy = strategy
        self._process = process
        self._news: list[Recorded] = []
        self._numbers = count(1)

    def decide(self, recovered: RecoveredCommand, position: int) -> Iterator[Recorded]:
        """Decide a recorded command, then what the strategy sends. Its account comes before the first. Raises StrategyError."""
        if not self.world.position:
            opening = with_ids(OPENING_ID, OpenAccount("", self._strategy.account_name))
            yield from self._send(OPENING_ID, opening, recovered.time)
            yield from self._send(f"{OPENING_ID}:cash", DepositCash(ACCOUNT_ID, self._strategy.cash), recovered.time)
        yield from self._noted(self.world.decide(recovered))
        self.answer = self.world.answer
        yield from self._trade(position)

    def _trade(self, position: int) -> Iterator[Recorded]:
        """Show the strategy all that has happened, and decide what it sends, at the same time. Raises StrategyError."""
        news, self._news = self._news, []
        try:
            sent = self._process.step(position, news)
            self.record.asked += 1
            for kind, content in sent:
                yield from self._take(kind, content)
        except (StrategyError, InvalidCommand) as error:
            raise StrategyError(f"at position {position}: {error}") from error

    def finished(self) -> StrategyRecord:
        """Return the record with the account as it is now."""
        exchange = self.world.exchange
        account = self.record.account = exchange.accounts.get(ACCOUNT_ID)
        if account is not None:
            self.record.equity = account.cash + account.held
            for market_id, holding in account.holdings.items():
                market = exchange.markets[market_id]
                prices = dict(zip(market.terms.outcomes, market.displayed_prices() or (), strict=True))
                self.record.equity += sum(shares * prices[name] for name, shares in holding.shares.items()) // MICRO
        return self.record

    def _take(self, kind: str, content: Any) -> Iterator[Recorded]:
        number, time = next(self._numbers), self.world.exchange.time
        if kind == "cancel":
            self.record.canceled += 1
            yield from self._send(f"backtest:cancel:{number}", CancelOrders(ACCOUNT_ID, content or None), time)
            return
        command_id = order_command_id(ACCOUNT_ID, f"backtest-{number}")
        names = {"account_id": ACCOUNT_ID, "client_order_id": f"backtest-{number}"}
        yield from self._send(command_id, command_of("PlaceOrder", command_id, content | names), time)
        events = [each.event for each in self._news if each.command_id == command_id]
        for event in events:
            if isinstance(event, OrderPlaced):
                self.record.orders[event.execution.status] += 1
            elif isinstance(event, CommandRejected):
                self.record.refused[event.code] += 1

    def _send(self, command_id: str, command: Command, time: Time) -> Iterator[Recorded]:
        body, digest = body_and_digest(command)
        submitted = Submitted(command_id, command, digest, time, None, type(command).__name__, body)
        return self._noted(self.world.send(submitted, time))

    def _noted(self, events: Iterator[Recorded]) -> Iterator[Recorded]:
        """Keep for the strategy what happens."""
        for recorded in events:
            self._news.append(recorded)
            yield recorded
