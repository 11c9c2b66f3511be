"""Results that are kept: each is computed once, few are kept, and failures are not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING

import pytest

from api.http.kept_results import KeptResults
from projections.positions import leaderboard as leaderboards

if TYPE_CHECKING:
    from tests.api.conftest import Exchange


def test_those_who_ask_at_the_same_time_wait_for_one_computation() -> None:
    """Eight threads ask while the first one computes: they all get its result."""
    kept, calls, may_end = KeptResults(), count(), threading.Event()

    def compute() -> list[int]:
        assert may_end.wait(10)
        return [next(calls)]

    with ThreadPoolExecutor(8) as threads:
        found = [threads.submit(kept.get, "board", compute) for _ in range(8)]
        may_end.set()
        assert [each.result() for each in found] == [[0]] * 8
    assert kept.get("board", compute) == [0]
    assert kept.get("another", compute) == [1]


def test_whoever_waits_for_a_computation_that_fails_computes_alone() -> None:
    """The first one's client has gone, and its statement is canceled: the others get their results all the same."""
    kept, began, may_fail = KeptResults(), threading.Event(), threading.Event()

    def canceled() -> list[int]:
        began.set()
        assert may_fail.wait(10)
        raise TimeoutError

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(kept.get, "board", canceled)
        assert began.wait(10)
        second = threads.submit(kept.get, "board", lambda: [7])
        may_fail.set()
        assert second.result() == [7]
        with pytest.raises(TimeoutError):
            first.result()


def test_few_rows_are_kept_and_those_that_were_asked_for_last() -> None:
    """Beyond the bound the result that nobody has asked for longest goes."""
    kept, calls = KeptResults(rows_max=30), count()

    def ask(key: str) -> int:
        return kept.get(key, lambda: [next(calls)] * 9)[0]

    assert [ask(key) for key in "abc"] == [0, 1, 2]
    assert ask("a") == 0
    assert ask("d") == 3
    assert [ask("a"), ask("c"), ask("d")] == [0, 2, 3]
    assert ask("b") == 4
    assert kept.get("large", lambda: [0] * 100) == [0] * 100, "larger than the bound: answered, not kept"
    assert ask("b") == 5


def test_failures_and_old_results_are_not_kept() -> None:
    """After an error the next one computes again; so does whoever comes after the longest time."""
    kept, calls = KeptResults(seconds_max=0.0), count()
    with pytest.raises(ZeroDivisionError):
        kept.get("board", lambda: [1 // 0])

    assert kept.get("board", lambda: [next(calls)]) == [0]
    assert kept.get("board", lambda: [next(calls)]) == [1]


def test_a_leaderboard_is_computed_once_for_a_position(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same question at the same position gets the same answer without a query; a trade, or another question, asks anew."""
    market, trader = exchange.market(), exchange.trader("100")
    computed: list[int] = []
    usual = leaderboards.leaderboard._function

    def counted(*arguments: object, **terms: object) -> list[leaderboards.Standing]:
        computed.append(1)
        return usual(*arguments, **terms)  # type: ignore[arg-type]

    monkeypatch.setattr(leaderboards.leaderboard, "_function", counted)
    first = trader.place(market["market_id"], quantity="20")["position"]
    board = [exchange.api.data("/leaderboard", as_of_position=first, min_position=first) for _ in range(3)]
    assert board[0] == board[1] == board[2]
    assert len(computed) == 1
    exchange.api.data("/leaderboard", as_of_position=first, sort="volume")
    assert len(computed) == 2

    second = trader.place(market["market_id"], side="sell", quantity="20")["position"]
    later = exchange.api.data("/leaderboard", as_of_position=second, min_position=second)
    assert (len(computed), later != board[0]) == (3, True)
    assert exchange.api.data("/leaderboard", as_of_position=first) == board[0]
