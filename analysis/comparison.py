"""Two worlds beside each other: the recorded one and another, decided command by command, and compared at their end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from analysis.control import Control
from analysis.measures import FillChange, WorldMeasures, fills_lost, measures
from analysis.recovered import recovered_commands
from analysis.replay import PROGRESS_EVENTS
from analysis.scratch import ScratchFold, scratch_schemas
from analysis.world import World
from domain.market import AddLiquidity
from domain.orders import PlaceOrder
from domain.partition import CommandRejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.recovered import Certainty, RecoveredCommand
    from analysis.replay import History
    from domain.events import Event, Recorded

SAME: Final = "same"
OTHER: Final = "other"

KeepWorlds = Callable[[Mapping[str, str]], None]
"""Is told the schema of each world by its name, `same` and `other`. It has all read models, and the log of the world."""


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
class ComparedWorlds:
    """Both worlds at their end: `same` is the recorded one.

    `fills_lost` are the orders that have fills in the first only, `fills_gained` those that have them in the other only.
    """

    position: int
    counts: CommandCounts
    same: WorldMeasures
    other: WorldMeasures
    fills_lost: list[FillChange]
    fills_gained: list[FillChange]


class OtherWorld(ABC):
    """A world beside the recorded one. `answer` is the first event that the last recorded command left in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answer: Event | None = None

    @abstractmethod
    def decide(self, recovered: RecoveredCommand, position: int) -> Iterator[Recorded]:
        """Decide a recorded command, and yield all that happens as it is applied.

        `position` is that of the command's last event in the log.
        """


def compare(
    history: History,
    dsn: str,
    beside: OtherWorld,
    *,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    keep: KeepWorlds | None = None,
) -> ComparedWorlds:
    """Decide the commands of a log again as they were, and in another world, and compare the two.

    The database gets scratch schemas, which are gone afterwards. Memory does not grow with the log, only with the state.

    Args:
        history: the log, or an export of it.
        dsn: a database that `migrations` has prepared, and that may hold live read models.
        beside: the other world, in which nothing has happened yet.
        until: the last position whose command is decided, with all that it left.
        progress: told the position reached and the last one.
        keep: called with both worlds at the end, before they are dropped.

    Raises:
        ControlError: under the recorded terms another event came out. Then nothing is said of the other world.
        ScratchBusyError: another comparison is at work on this database.
        UnreadableEventError: the log has an event that this version does not know.
    """
    end = history.end() if until is None else min(until, history.end())
    control, counts, position = Control(World(partition=history.partition, is_recorded=True)), CommandCounts(), 0
    whole = keep is not None
    with scratch_schemas(dsn, SAME, OTHER) as (same, other), ExitStack() as stack:
        same_fold = stack.enter_context(closing(ScratchFold(dsn, same, history.partition, whole=whole)))
        other_fold = stack.enter_context(closing(ScratchFold(dsn, other, history.partition, whole=whole)))
        for recovered in recovered_commands(history.events()):
            if recovered.events[0].position > end:
                break
            before = position // PROGRESS_EVENTS
            for recorded in control.decide(recovered):
                same_fold.add(recorded)
                position = recorded.position
            beside.world.exchange.hold_seconds = control.hold.seconds
            for decided in beside.decide(recovered, position):
                other_fold.add(decided)
            then, now = control.world.answer, beside.answer
            counts.note(recovered, then, now)
            _note_refused(recovered, then, same_fold)
            _note_refused(recovered, now, other_fold)
            if progress is not None and position // PROGRESS_EVENTS != before:
                progress(position, end)
        same_fold.finish()
        other_fold.finish()
        if keep is not None:
            keep({SAME: same, OTHER: other})
        return ComparedWorlds(
            position,
            counts,
            measures(dsn, same, same_fold.folded),
            measures(dsn, other, other_fold.folded),
            fills_lost(dsn, same, other),
            fills_lost(dsn, other, same),
        )


def code_of(event: Event | None) -> str:
    """Return the code of a refusal; "" for any other event."""
    return str(event.code) if isinstance(event, CommandRejected) else ""


def _note_refused(recovered: RecoveredCommand, answer: Event | None, fold: ScratchFold) -> None:
    if isinstance(answer, CommandRejected) and recovered.submitted is not None:
        command = recovered.submitted.command
        if isinstance(command, PlaceOrder):
            fold.add_refused(command.order_id, str(answer.code))
