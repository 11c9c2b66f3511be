"""Results of expensive queries, kept for whoever asks the same at the same position."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

ROWS_MAX: Final = 20_000
"""The most rows that are kept, of all results together: some 10 MB."""

SECONDS_MAX: Final = 60.0
"""The longest time that a result is kept. A repair of a read model may change what it says about a position."""

ResultT = TypeVar("ResultT", bound="Sequence[Any]")


class KeptResults:
    """The results that were asked for last, by a key that names the query, its arguments and its position. For any thread.

    A result is the same for everybody who may ask; that is checked before. Nobody may change it.
    """

    def __init__(self, rows_max: int = ROWS_MAX, seconds_max: float = SECONDS_MAX) -> None:
        """Keep at most these rows, for at most this time."""
        self._rows_max = rows_max
        self._seconds_max = seconds_max
        self._results: OrderedDict[Hashable, tuple[float, Future[Any]]] = OrderedDict()
        self._rows = 0
        self._lock = Lock()

    def get(self, key: Hashable, compute: Callable[[], ResultT]) -> ResultT:
        """Return the result of this key. It is computed once, also for those who ask at the same time.

        Raises whatever `compute` raises; then nothing is kept.
        """
        with self._lock:
            since, future = self._results.get(key, (0.0, None))
            mine = future is None or monotonic() > since + self._seconds_max
            if mine:
                self._drop(key)
                future = Future()
                self._results[key] = monotonic(), future
            else:
                self._results.move_to_end(key)
        assert future is not None, "it was found or made"
        if mine:
            self._compute(key, future, compute)
        result: ResultT
        try:
            result = future.result()
        except Exception:  # noqa: BLE001  it was computed for somebody else, who may have gone
            result = compute()
        return result

    def _compute(self, key: Hashable, future: Future[Any], compute: Callable[[], Sequence[Any]]) -> None:
        try:
            result = compute()
        except BaseException as error:
            with self._lock:
                self._drop(key, future)
                future.set_exception(error)
            raise
        with self._lock:
            future.set_result(result)
            if self._results.get(key, (0.0, None))[1] is future:
                self._rows += _size(future)
            while self._rows > self._rows_max:
                self._drop(next(iter(self._results)))

    def _drop(self, key: Hashable, only: Future[Any] | None = None) -> None:
        """Forget a result, or with `only` just this one. Needs the lock."""
        found = self._results.get(key)
        if found is not None and only in {None, found[1]}:
            del self._results[key]
            self._rows -= _size(found[1])


def _size(future: Future[Any]) -> int:
    """Return what a result counts: its rows, and one for itself; nothing before it is there."""
    return len(future.result()) + 1 if future.done() and future.exception() is None else 0
