"""A read model as the projector sees it: a name, a version, tables and a fold."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from projections.machine.batch import Batch
from projections.machine.rows import Workspace
from projections.machine.table import Table

Fold = Callable[[Batch, Workspace], None]

Scope = Literal["story", "market", "account", "holding", "all"]


@dataclass(frozen=True)
class Projection:
    """One read model.

    `version` is raised whenever the fold or a table changes: the projector then rebuilds it by itself.
    `scope` says what depends on an event that cannot be folded: what shares its story, market, account, or its pair of
    account and market; "all" where later rows depend on all earlier ones.
    `weight` is about how many microseconds of Python and PostgreSQL an event takes. Processes share the read models by it.
    """

    name: str
    version: int
    tables: tuple[Table[Any], ...]
    fold: Fold
    scope: Scope
    weight: float


SERVED_BY: Final[dict[str, tuple[str, ...]]] = {
    "prices": ("markets",),
    "leaderboard": ("positions", "trades"),
    "calibration": ("markets",),
}
"""Names that stand for the projections whose tables answer: what has queries of its own but no fold of its own."""


def folded(names: Iterable[str]) -> set[str]:
    """Return the projections that stand behind these names."""
    return {projection for name in names for projection in SERVED_BY.get(name, (name,))}
