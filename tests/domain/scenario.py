"""The tests of the rules read: given these commands, when a command comes, then these events follow.

Every event is also applied by an `Audit`, which keeps a second exchange from the events alone. So every test checks the
invariants at every position, and after every command the replayed state must be the live one.
"""

import os
from typing import TypeVar

from domain.account import DepositCash, OpenAccount
from domain.commands import Command
from domain.events import Event
from domain.exchange import Entry, Exchange
from domain.invariants import Audit
from domain.market import OpenMarket
from domain.money import MICRO, Time
from domain.orders import OrderPlaced, PlaceOrder
from domain.partition import CommandRejected
from domain.rejections import Code, Rejection
from domain.story import PublishStory

E = TypeVar("E")

EFFORT = int(os.environ.get("TIDINGS_TEST_EFFORT", "1"))
"""The factor by which random tests search longer than in a normal run."""

SECOND = 1_000_000
START: Time = 1_000_000 * SECOND
CLOSE: Time = START + 1_000_000 * SECOND


class Scenario:
    """An exchange, its audit, and its log so far: (command id, time, entry)."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.audit = Audit()
        self.log: list[tuple[str, Time, Entry]] = []
        self.time = START
        self.number = 0
        self.events: list[Event] = []

    def given(self, *commands: Command) -> "Scenario":
        """Handle commands; each must be accepted."""
        for command in commands:
            self.when(command)
            assert not isinstance(self.events[-1], CommandRejected), self.events[-1]
        return self

    def when(self, command: Command, *, at: Time | None = None) -> "Scenario":
        """Handle a command, now or at a time; `events` are then its events and those of the steps that it left."""
        self.time = self.time + 1 if at is None else at
        self.number += 1
        self.step_dry()
        command_id = f"c{self.number}"
        self.events = [self._apply(command_id, entry) for entry in self.exchange.handle(command, self.time, command_id)]
        self.step_dry()
        self.audit.check_all()
        assert self.audit.exchange.state_hash() == self.exchange.state_hash(), "the replayed state is the live one"
        return self

    def step_dry(self) -> None:
        """Do everything that is due or unfinished."""
        while (step := self.exchange.step(self.time)) is not None:
            self.events += [self._apply(step[0], entry) for entry in step[1]]

    def _apply(self, command_id: str, entry: Entry) -> Event:
        self.log.append((command_id, self.time, entry))
        self.audit.apply(entry, time=self.time, command_id=command_id)
        return entry.event

    def quote(self, wish: PlaceOrder, *, at: Time | None = None) -> OrderPlaced | Rejection:
        """Return what the order would do, without what the sweep would do to it afterwards."""
        quoted = self.exchange.quote(wish, self.time if at is None else at)
        if isinstance(quoted, Rejection):
            return quoted
        placed = quoted[0]
        assert isinstance(placed, OrderPlaced)
        return placed

    def wait_until(self, time: Time) -> "Scenario":
        """Let the clock reach a time, as a timer would."""
        self.time, self.events = time, []
        self.step_dry()
        self.audit.check_all()
        return self

    # --- then

    def then(self, *kinds: type) -> "Scenario":
        """Assert that the last command left events of exactly these types, in this order."""
        assert list(kinds) == [type(event) for event in self.events]
        return self

    def rejected(self, code: Code, **details: str | int) -> "Scenario":
        """Assert that the last command was refused with this code and at least these details, and did nothing else."""
        assert [type(event) for event in self.events] == [CommandRejected], self.events
        rejection = self.events[0]
        assert isinstance(rejection, CommandRejected)
        assert code == rejection.code, rejection
        assert details == {name: rejection.details.get(name) for name in details}
        return self

    def event(self, kind: type[E], index: int = 0) -> E:
        """Return the n-th event of this type among the last command's."""
        return [event for event in self.events if isinstance(event, kind)][index]

    @property
    def placed(self) -> OrderPlaced:
        """The order that the last command placed."""
        return self.event(OrderPlaced)

    # --- the state

    def cash(self, account: str) -> int:
        """Return available cash."""
        return self.exchange.accounts[account].cash

    def shares(self, account: str, outcome: str, market: str = "m") -> int:
        """Return all shares of an outcome, reserved ones included."""
        return self.exchange.accounts[account].holding(market).shares.get(outcome, 0)

    def resting(self, order_id: str, market: str = "m") -> int:
        """Return how much of an order rests, 0 if it does not."""
        order = self.exchange.markets[market].book.orders.get(order_id)
        return order.remaining if order else 0

    def balances(self) -> dict[str, int]:
        """Return all balances of the ledger that are not 0."""
        return {name: balance for name, balance in self.exchange.ledger.balances.items() if balance}


# --- short names for commands, with the defaults of these tests


def a_market(outcomes: tuple[str, ...] = ("Yes", "No"), *, market: str = "m", **terms: object) -> tuple[Command, ...]:
    """Return the commands that publish a story with one market: subsidy 100, no fee, no dispute window."""
    fields: dict[str, object] = {"subsidy": 100 * MICRO, "close_time": CLOSE, "resolution_source": "source"}
    fields |= {"dispute_seconds": 0, **terms}
    opening = OpenMarket(market, f"s-{market}", market, "question?", outcomes, **fields)  # type: ignore[arg-type]
    return (PublishStory(f"s-{market}", f"s-{market}", "title", "body", "world", START, None, (opening,)),)


def accounts(*names: str, cash: int = 1_000 * MICRO) -> tuple[Command, ...]:
    """Return the commands that open accounts with cash."""
    return tuple(command for name in names for command in (OpenAccount(name, name.title()), DepositCash(name, cash)))


def order(account: str, side: str, outcome: str, *, market: str = "m", name: str = "", **fields: object) -> PlaceOrder:
    """Return a market order, or a limit order if `limit_price` is given; `name` is its id and its client order id."""
    kind = "limit" if fields.get("limit_price") is not None else "market"
    name = name or f"{account}-{side}-{outcome}-{sorted(fields.items())}"
    return PlaceOrder(account, market, name, name, outcome, side, kind, **fields)  # type: ignore[arg-type]


def buy(account: str, outcome: str, **fields: object) -> PlaceOrder:
    """Return an order to buy."""
    return order(account, "buy", outcome, **fields)  # type: ignore[arg-type]


def sell(account: str, outcome: str, **fields: object) -> PlaceOrder:
    """Return an order to sell."""
    return order(account, "sell", outcome, **fields)  # type: ignore[arg-type]


def given(*commands: Command) -> Scenario:
    """Start a scenario."""
    return Scenario().given(*commands)


# --- markets and accounts of many tests

YES_NO = a_market()
ABC = a_market(("A", "B", "C"))
DEEP = a_market(subsidy=1_000_000 * MICRO)
"""A market so deep that its price hardly moves in these tests."""
SHALLOW = a_market(subsidy=MICRO)
TRADERS = accounts("alice", "bob", "carol")
