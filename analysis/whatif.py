"""What would have been: the commands of a log decided again under other terms, and compared with what was.

Control first: decided again under the recorded terms, every command must leave the recorded events. The comparison is
mechanical: everybody is assumed to send the same commands, at the same times, though under other terms they would not.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from analysis.control import Control
from analysis.measures import FillChange, WorldMeasures, fills_lost, measures
from analysis.recovered import recovered_commands
from analysis.replay import PROGRESS_EVENTS
from analysis.scratch import ScratchFold, scratch_schemas
from analysis.terms import Terms
from analysis.world import World
from domain.market import AddLiquidity
from domain.orders import PlaceOrder
from domain.partition import CommandRejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.recovered import Certainty, RecoveredCommand
    from analysis.replay import History
    from domain.events import Event

SAME: Final = "same"
OTHER: Final = "other"


class AnswerChange(NamedTuple):
    """How often a type of command was answered in one way and is now in another: a code, or "" where it was accepted."""

    type: str
    then: str
    now: str


@dataclass
class CommandCounts:
    """What is known of the commands, and how the other world answers them.

    `certainties` counts commands by what is known of them, `lost` those that are lost by type and code. `changes` counts
    the commands that are answered otherwise. `liquidity_added` counts the commands that add liquidity: their amounts stay.
    """

    certainties: Counter[Certainty] = field(default_factory=Counter)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    changes: Counter[AnswerChange] = field(default_factory=Counter)
    liquidity_added: int = 0

    def note(self, recovered: RecoveredCommand, then: Event | None, now: Event | None) -> None:
        """Count a command that both worlds have decided, with the first event that it left in each."""
        if recovered.certainty == "none":
            return
        self.certainties[recovered.certainty] += 1
        if recovered.certainty == "lost":
            self.lost[recovered.type, code_of(recovered.events[0].event)] += 1
        if recovered.submitted is not None and isinstance(recovered.submitted.command, AddLiquidity):
            self.liquidity_added += 1
        if (before := code_of(then)) != (after := code_of(now)):
            self.changes[AnswerChange(recovered.type, before, after)] += 1


@dataclass(frozen=True)
class WhatIf:
    """Both worlds at their end: `same` under the recorded terms, `other` under others.

    `fills_lost` are the orders that have fills in the first only, `fills_gained` those that have them in the other only.
    """

    position: int
    counts: CommandCounts
    same: WorldMeasures
    other: WorldMeasures
    fills_lost: list[FillChange]
    fills_gained: list[FillChange]


class UnknownMarketsError(Exception):
    """No market had these ids or slugs."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"there is no market {', '.join(names)}")


def code_of(event: Event | None) -> str:
    """Return the code of a refusal; "" for any other event."""
    return str(event.code) if isinstance(event, CommandRejected) else ""


def what_if(
    history: History,
    terms: Terms,
    dsn: str,
    *,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> WhatIf:
    """Decide the commands of a log again, under the recorded and under other terms, and compare the two worlds.

    The database gets scratch schemas, which are gone afterwards. Memory does not grow with the log, only with the state.

    Args:
        history: the log, with digests.
        terms: the other terms.
        dsn: a database that `migrations` has prepared, and that may hold live read models.
        until: the last position whose command is decided, with all that it left.
        progress: told the position reached and the last one.

    Raises:
        ControlError: under the recorded terms another event came out. Then nothing is said of other terms.
        UnknownMarketsError: the terms name a market that never was.
        ScratchBusyError: another comparison is at work on this database.
        UnreadableEventError: the log has an event that this version does not know.
    """
    end = history.end() if until is None else min(until, history.end())
    with scratch_schemas(dsn, SAME, OTHER) as (same, other), ExitStack() as stack:
        worlds = _Worlds(
            Control(World(partition=history.partition, is_recorded=True)),
            stack.enter_context(closing(ScratchFold(dsn, same, history.partition))),
            World(terms, history.partition, is_recorded=terms == Terms()),
            stack.enter_context(closing(ScratchFold(dsn, other, history.partition))),
        )
        for recovered in recovered_commands(history.events()):
            if recovered.events[0].position > end:
                break
            before = worlds.position // PROGRESS_EVENTS
            worlds.decide(recovered)
            if progress is not None and worlds.position // PROGRESS_EVENTS != before:
                progress(worlds.position, end)
        if unknown := terms.markets - worlds.other.terms.found:
            raise UnknownMarketsError(sorted(unknown))
        worlds.same_fold.finish()
        worlds.other_fold.finish()
        return WhatIf(
            worlds.position,
            worlds.counts,
            measures(dsn, same, worlds.same_fold.folded),
            measures(dsn, other, worlds.other_fold.folded),
            fills_lost(dsn, same, other),
            fills_lost(dsn, other, same),
        )


@dataclass
class _Worlds:
    """Both worlds, with the folds that take their events."""

    control: Control
    same_fold: ScratchFold
    other: World
    other_fold: ScratchFold
    counts: CommandCounts = field(default_factory=CommandCounts)
    position: int = 0

    def decide(self, recovered: RecoveredCommand) -> None:
        """Decide a command in both worlds. Raises ControlError."""
        for recorded in self.control.decide(recovered):
            self.same_fold.add(recorded)
            self.position = recorded.position
        self.other.exchange.hold_seconds = self.control.hold.seconds
        for decided in self.other.decide(recovered):
            self.other_fold.add(decided)
        then, now = self.control.world.answer, self.other.answer
        self.counts.note(recovered, then, now)
        _note_refused(recovered, then, self.same_fold)
        _note_refused(recovered, now, self.other_fold)


def _note_refused(recovered: RecoveredCommand, answer: Event | None, fold: ScratchFold) -> None:
    if isinstance(answer, CommandRejected) and recovered.submitted is not None:
        command = recovered.submitted.command
        if isinstance(command, PlaceOrder):
            fold.add_refused(command.order_id, str(answer.code))
