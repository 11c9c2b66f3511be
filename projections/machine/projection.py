"""A read model as the projector sees it: a name, a version, tables and a fold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from psycopg import Connection

from projections.machine.batch import Batch
from projections.machine.table import Table
from projections.machine.workspace import Workspace

Fold = Callable[[Batch, Workspace], None]

Scope = Literal["story", "market", "account", "holding", "all"]


@dataclass(frozen=True)
class Projection:
    """One read model.

    Raise `version` whenever the fold or a table changes: the projector then rebuilds the read model by itself.
    `scope` says what depends on an event that cannot be folded: everything with the same story, market, account, or pair
    of account and market; "all" where later rows depend on all earlier ones.
    `weight` is the approximate number of microseconds that an event takes in Python and PostgreSQL: processes share the
    read models by it.
    """

    name: str
    version: int
    tables: tuple[Table[Any], ...]
    fold: Fold
    scope: Scope
    weight: float


class Views(Protocol):
    """SQL views over live tables, created and exchanged with them."""

    def make_views(self, connection: Connection, read_model: str, /) -> None:
        """Create the views that read a read model, if they are missing; called in the transaction that creates the tables."""

    def exchange_views(self, connection: Connection, read_model: str, /) -> None:
        """Let all views that read a read model read its new tables, which come first in the search path.

        Called in the transaction that exchanges the tables. Raises psycopg.errors.LockNotAvailable to try again later.
        """
