"""Turns of costly reads: no more at a time than there are places, fair by subject, half of the time free while others wait."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from time import monotonic

from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.costly_turns import CostlyTurns, places_for

READ_SECONDS = 0.1


async def read(turns: CostlyTurns, subject: str, began: list[tuple[str, float]], seconds: float) -> None:
    """Note when the turn of a read begins."""
    async with turns.turn(subject):
        began.append((subject, monotonic()))
        await asyncio.sleep(seconds)


def test_subjects_take_turns() -> None:
    """Ten reads of one subject delay each other, and nobody else by more than one of them."""
    began: list[tuple[str, float]] = []

    async def all_read() -> None:
        turns = CostlyTurns(1)
        subjects = [*["ann"] * 10, "bob", "cy", "bob"]
        await asyncio.gather(*(read(turns, subject, began, 0) for subject in subjects))

    asyncio.run(all_read())
    assert [subject for subject, _ in began] == ["ann", "ann", "bob", "cy", "ann", "bob", *["ann"] * 7]


def test_a_place_rests_while_others_wait() -> None:
    """As long as its read took."""
    began: list[tuple[str, float]] = []

    async def two_reads() -> None:
        turns = CostlyTurns(1)
        await asyncio.gather(*(read(turns, subject, began, READ_SECONDS) for subject in ("ann", "bob")))

    asyncio.run(two_reads())
    assert began[1][1] - began[0][1] >= 2 * READ_SECONDS


def test_whoever_reads_alone_need_not_wait() -> None:
    """The next read begins before the event loop does anything else."""

    async def read_again() -> None:
        turns, turned = CostlyTurns(1), asyncio.Event()
        for _ in range(3):
            turned.clear()
            asyncio.get_running_loop().call_soon(turned.set)
            async with turns.turn("ann"):
                assert not turned.is_set()
                await asyncio.sleep(0.01)

    asyncio.run(read_again())


@given(places=st.integers(1, 3), seed=st.integers())
@settings(max_examples=20, deadline=None)
def test_no_place_is_lost_or_made(places: int, seed: int) -> None:
    """Whoever is canceled, waiting or reading: at most so many read at a time, all get their turn, and all places are free."""
    chance, reading, most = Random(seed), 0, 0  # noqa: S311  repeatable

    async def read_something(turns: CostlyTurns, subject: str) -> None:
        nonlocal reading, most
        async with turns.turn(subject):
            reading += 1
            most = max(most, reading)
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(chance.random() / 1000)
            reading -= 1

    async def some_are_canceled() -> None:
        turns = CostlyTurns(places)
        tasks = [asyncio.create_task(read_something(turns, chance.choice("abc"))) for _ in range(30)]
        for task in chance.sample(tasks, 10):
            await asyncio.sleep(chance.random() / 2000)
            task.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.01)  # the last rests
            async with asyncio.TaskGroup() as group:
                held = asyncio.Barrier(places)

                async def hold() -> None:
                    async with turns.turn("d"):
                        await held.wait()

                for _ in range(places):
                    group.create_task(hold())

    asyncio.run(some_are_canceled())
    assert most <= places


@given(chosen=st.integers(0, 100), threads=st.integers(2, 100))
def test_one_thread_is_left_to_other_reads(chosen: int, threads: int) -> None:
    """On a machine of any size, whatever was chosen."""
    assert 1 <= places_for(chosen, threads) < threads
    if 0 < chosen < threads:
        assert places_for(chosen, threads) == chosen
