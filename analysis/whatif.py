"""What would have been: the commands of a log decided again under other terms, and compared with what was.

Control first: decided again under the recorded terms, every command must leave the recorded events. The comparison is
mechanical: everybody is assumed to send the same commands, at the same times, though under other terms they would not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.comparison import ComparedWorlds, OtherWorld, compare
from analysis.terms import Terms
from analysis.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from analysis.comparison import KeepWorlds
    from analysis.recovered import RecoveredCommand
    from analysis.replay import History
    from domain.events import Recorded


class UnknownMarketsError(Exception):
    """No market had these ids or slugs."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"there is no market {', '.join(names)}")


def what_if(
    history: History,
    terms: Terms,
    dsn: str,
    *,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    keep: KeepWorlds | None = None,
) -> ComparedWorlds:
    """Decide the commands of a log again, under the recorded and under other terms, and compare the two worlds.

    The database gets scratch schemas, which are gone afterwards. Memory does not grow with the log, only with the state.

    Args:
        history: the log, or an export of it.
        terms: the other terms.
        dsn: a database that `migrations` has prepared, and that may hold live read models.
        until: the last position whose command is decided, with all that it left.
        progress: told the position reached and the last one.
        keep: called with both worlds at the end, before they are dropped.

    Raises:
        ControlError: under the recorded terms another event came out. Then nothing is said of other terms.
        UnknownMarketsError: the terms name a market that never was.
        ScratchBusyError: another comparison is at work on this database.
        UnreadableEventError: the log has an event that this version does not know.
    """
    world = World(terms, history.partition, is_recorded=terms == Terms())

    def keep_known(schemas: Mapping[str, str]) -> None:
        _check_markets(world)
        if keep is not None:
            keep(schemas)

    found = compare(
        history, dsn, _OtherTerms(world), until=until, progress=progress, keep=None if keep is None else keep_known
    )
    _check_markets(world)
    return found


def _check_markets(world: World) -> None:
    if unknown := world.terms.terms.markets - world.terms.found:
        raise UnknownMarketsError(sorted(unknown))


class _OtherTerms(OtherWorld):
    """The world under other terms."""

    def decide(self, recovered: RecoveredCommand, position: int) -> Iterator[Recorded]:  # noqa: ARG002
        yield from self.world.decide(recovered)
        self.answer = self.world.answer
