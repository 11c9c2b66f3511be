"""The control run: recorded commands, decided again under the recorded terms, must leave the recorded events.

Only if they do, a run under other terms shows what the terms do, and not what an error of ours does.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from domain.account import CashWithdrawn
from domain.market import SECOND, MarketCorrected, MarketFinalized
from domain.orders import OrderAmended, OrderCanceled, OrderPlaced
from domain.partition import CommandRejected
from domain.rejections import Code
from domain.settlement import withheld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.recovered import RecoveredCommand
    from analysis.world import World
    from domain.events import Recorded
    from domain.exchange import Exchange


class ControlError(Exception):
    """The first event that was decided otherwise than it was recorded; `decided` is None if nothing more was decided."""

    def __init__(self, recorded: Recorded, decided: Recorded | None) -> None:
        super().__init__(
            f"position {recorded.position} was recorded as {recorded.event}, decided again it is {decided}"
        )
        self.recorded = recorded
        self.decided = decided


class Control:
    """Decides the commands of a log again, one after the other, and compares what they leave with the log.

    Events are equal if they have the same command, stream and fields, in the same order; the first one of each command also has
    the same time and digest. What a command left to do, and what was due, may have been done later, by the next engine. Versions
    in the partition's own stream are not compared, because bookkeeping counts there. What has been decided beyond the end of the
    log, where a batch of the engine ended in the midst of a command, is not compared either.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.hold = PayoutHold()
        self._partition = f"partition-{world.exchange.partition}"
        self._decided: deque[Recorded] = deque()
        self._last_id = ""

    def decide(self, recovered: RecoveredCommand) -> Iterator[Recorded]:
        """Decide the next command again, and yield its recorded events, each after it was found to be equal.

        Raises ControlError.
        """
        self.hold.learn(recovered, self.world.exchange)
        self.world.exchange.hold_seconds = self.hold.seconds
        deciding = self.world.decide(recovered)
        for recorded in recovered.all_events():
            decided = self._decided.popleft() if self._decided else next(deciding, None)
            if decided is None or not self._equal(recorded, decided, is_first=recorded.command_id != self._last_id):
                raise ControlError(recorded, decided)
            self._last_id = recorded.command_id
            yield recorded
        if recovered.certainty != "none":
            self._decided.extend(deciding)
            return
        # More may be due by now. The log has it later, if the engine died between the two.
        while self.world.left:
            self._decided.append(next(deciding))

    def _equal(self, recorded: Recorded, decided: Recorded, *, is_first: bool) -> bool:
        return (
            recorded.event == decided.event
            and recorded.command_id == decided.command_id
            and recorded.stream == decided.stream
            and (recorded.version == decided.version or recorded.stream == self._partition)
            and (not is_first or (recorded.time == decided.time and recorded.digest == decided.digest))
        )


_ORDERS: Final = frozenset({OrderPlaced, OrderAmended, OrderCanceled})


class PayoutHold:
    """How long payouts cannot be withdrawn: a setting of the engine, which may change and is not in the log as such.

    It follows from what the log has: from the time in each final resolution, from each withdrawal that was refused for it, and
    from each one that was not. Until the first of these it counts as none.
    """

    def __init__(self) -> None:
        self.seconds = 0

    def learn(self, recovered: RecoveredCommand, exchange: Exchange) -> None:
        """Learn from a command, before it is decided again on an exchange that has decided all before it."""
        first = recovered.events[0].event
        if type(first) is CashWithdrawn:
            account = exchange.accounts.get(first.account_id) if self.seconds else None
            if account is None or first.amount > account.cash - withheld(account, exchange.markets, recovered.time):
                self.seconds = 0
        elif type(first) is CommandRejected:
            if first.code == Code.WITHDRAWAL_HELD:
                self.seconds = self.seconds or 1
        elif type(first) not in _ORDERS:
            for recorded in recovered.events:
                event = recorded.event
                if type(event) is MarketFinalized or type(event) is MarketCorrected:
                    self.seconds = (event.held_until - recorded.time) // SECOND if event.held_until else 0
                    return
