"""Labels: the slugs of markets and the names of accounts beside their ids. They never change, so they are remembered."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from projections import accounts
from projections.markets import markets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from psycopg import Connection

    from projections.reading import AsOf, Need

KEPT_MAX: Final = 100_000
"""The most labels of each kind that are remembered."""

NEEDS: Final[tuple[Need, ...]] = (markets.slugs, accounts.names)

COLUMNS: Final = {"market_id": "market", "account_id": "account", "resting_account_id": "resting_account"}
"""The columns with ids, and those with the labels beside them."""


class Kept:
    """The labels of one kind that were used last, by id. For any thread."""

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._labels: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()

    def of(self, ids: Collection[str], find: Callable[[list[str]], Mapping[str, str]]) -> dict[str, str]:
        """Return the labels of these ids; `find` is asked for those that are not remembered."""
        with self._lock:
            known = {each: self._labels[each] for each in ids if each in self._labels}
        unknown = [each for each in ids if each not in known]
        if unknown:
            found = find(unknown)
            known.update(found)
            with self._lock:
                self._labels.update(found)
                while len(self._labels) > self._kept_max:
                    self._labels.popitem(last=False)
        return known


class Labels:
    """The labels of the rows of one answer."""

    def __init__(self, slugs: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._of_column = {"market_id": slugs, "account_id": names, "resting_account_id": names}

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        """Put labels beside the ids of a row in JSON's types, and return it: null beside null.

        A label is empty where its read model does not know the id, because the event is parked.
        """
        for column, label in COLUMNS.items():
            if column in row:
                found = row[column]
                row[label] = None if found is None else self._of_column[column].get(found, "")
        return row


class KnownLabels:
    """All labels that one server has looked up."""

    def __init__(self) -> None:
        self._slugs = Kept()
        self._names = Kept()

    def of(self, connection: Connection[Any], as_of: AsOf, rows: Iterable[Any]) -> Labels:
        """Return the labels of the ids in these rows. Needs `NEEDS`."""
        market_ids: set[str] = set()
        account_ids: set[str] = set()
        for row in rows:
            market_ids.add(getattr(row, "market_id", None) or "")
            account_ids.add(getattr(row, "account_id", None) or "")
            account_ids.add(getattr(row, "resting_account_id", None) or "")
        return Labels(
            self._slugs.of(market_ids - {""}, lambda ids: markets.slugs(connection, as_of, ids)),
            self._names.of(account_ids - {""}, lambda ids: accounts.names(connection, as_of, ids)),
        )
