"""What `verify` says of the channels between three partitions: nothing of whole ones at any cut, and what is broken in others."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.transfers import FundsReceived, FundsSent
from projections.channels import ChannelComparison, ChannelEnds
from projections.verify import ledger_differences
from tests.domain.partitions.three import PARTITIONS, Both

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from domain.events import Recorded


@lru_cache
def logs_of(seed: int) -> list[list[Recorded]]:
    """Return the logs of three partitions between which cash has moved."""
    return Both(seed).run(200).three.logs


def compared(
    logs: Sequence[Sequence[Recorded]], received_until: Sequence[int] | None = None
) -> dict[tuple[int, int], ChannelComparison]:
    """Compare all channels of these logs, receipts up to these positions only."""
    ends = ChannelEnds()
    for partition, log in enumerate(logs):
        for _ in ends.noting(partition, log, len(log) if received_until is None else received_until[partition]):
            pass
    return {(one.from_partition, one.to_partition): one for one in ends.compared()}


def sendings(log: Sequence[Recorded], to: int) -> list[Recorded]:
    """Return what a log sent to a partition."""
    return [one for one in log if isinstance(one.event, FundsSent) and one.event.to_partition == to]


@given(st.integers(0, 2), st.data())
def test_a_cut_shows_what_is_in_transit(seed: int, data: st.DataObject) -> None:
    """Receivers' logs up to a time, senders' logs up to that or later: nothing is wrong, and the rest is in transit."""
    logs = logs_of(seed)
    times = sorted({one.time for log in logs for one in log})
    until = data.draw(st.sampled_from(times))
    later = data.draw(st.sampled_from([time for time in times if time >= until]))
    heads = [sum(one.time <= until for one in log) for log in logs]
    read = [[one for one in log if one.time <= later] for log in logs]

    for (source, to), found in compared(read, heads).items():
        sent = sendings(read[source], to)
        received = [
            one
            for one in read[to][: heads[to]]
            if isinstance(one.event, FundsReceived) and one.event.from_partition == source
        ]
        left = sent[len(received) :]
        assert found.differences == []
        assert (found.sent, found.received) == (len(sent), len(received))
        assert found.in_transit == sum(one.event.amount for one in left)  # type: ignore[union-attr]
        assert found.oldest == (left[0].time if left else None)


def test_each_partition_of_several_is_in_order() -> None:
    """The ledger and the rules of a partition hold with transfers in its log."""
    for partition, log in enumerate(logs_of(0)):
        assert list(ledger_differences(log, partition, PARTITIONS)) == []


def _otherwise(one: Recorded) -> list[Recorded]:
    return [replace(one, event=replace(one.event, amount=one.event.amount + 1))]  # type: ignore[union-attr,type-var]


def _to_another(one: Recorded) -> list[Recorded]:
    return [replace(one, event=replace(one.event, account_id="ac_other"))]  # type: ignore[type-var]


def _twice(one: Recorded) -> list[Recorded]:
    return [one, one]


def _lost(_: Recorded) -> list[Recorded]:
    return []


def _early(one: Recorded) -> list[Recorded]:
    return [replace(one, time=0)]


BROKEN = {
    "another amount": (_otherwise, "received otherwise than it was sent"),
    "another account": (_to_another, "received otherwise than it was sent"),
    "received twice": (_twice, "received out of order"),
    "a receipt is missing": (_lost, "received out of order"),
    "too early": (_early, "received before it was sent"),
}


@pytest.mark.parametrize("name", BROKEN)
@given(seed=st.integers(0, 2), data=st.data())
def test_a_broken_receipt_is_named(name: str, seed: int, data: st.DataObject) -> None:
    """Whatever is wrong with one receipt, its channel is told with its number, and no other channel."""
    break_it, problem = BROKEN[name]
    logs = [list(log) for log in logs_of(seed)]
    receipts = [(partition, at) for partition, log in enumerate(logs) for at, one in enumerate(log) if _is_receipt(one)]
    partition, at = data.draw(st.sampled_from(receipts))
    broken = logs[partition][at]
    assert isinstance(broken.event, FundsReceived)
    channel = (broken.event.from_partition, partition)
    if break_it is _lost and compared(logs)[channel].received == broken.event.number:
        return  # without the last one, the others are whole: it is in transit
    logs[partition][at : at + 1] = break_it(broken)

    found = compared(logs)

    told = found.pop(channel).differences
    assert (told[0].kind, told[0].details["problem"]) == ("channel", problem)
    first = broken.event.number + (break_it is _lost)
    assert told[0].details["number"] == first
    assert all(one.differences == [] for one in found.values())


def _is_receipt(recorded: Recorded) -> bool:
    return isinstance(recorded.event, FundsReceived)


def _without_sending(log: list[Recorded]) -> list[Recorded]:
    sent = [one for one in log if isinstance(one.event, FundsSent)]
    return [one for one in log if one is not sent[-1]]


def _cut(log: list[Recorded]) -> list[Recorded]:
    first = next(at for at, one in enumerate(log) if isinstance(one.event, FundsSent))
    return log[:first]


@pytest.mark.parametrize("lose", [_without_sending, _cut])
def test_what_nobody_sent_is_named(lose: Callable[[list[Recorded]], list[Recorded]]) -> None:
    """A sender's log that lacks a sending at its end, or all of them, leaves a receipt without one."""
    logs = [list(log) for log in logs_of(1)]
    logs[0] = lose(logs[0])

    problems = [one.details["problem"] for found in compared(logs).values() for one in found.differences]

    assert "received, and never sent" in problems
