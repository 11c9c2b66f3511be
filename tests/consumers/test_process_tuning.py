"""The CPU on which an engine runs, and the children beside it."""

import os

import pytest

from consumers import process_tuning


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux lets a process choose")
def test_engines_of_two_partitions_do_not_share_a_cpu_where_there_are_two() -> None:
    """Each engine has one CPU; a child that works beside it may run on any."""
    allowed = os.sched_getaffinity(0)
    try:
        chosen = []
        for partition in range(len(allowed)):
            process_tuning.stay_on_one_cpu(partition)
            chosen.append(frozenset(os.sched_getaffinity(0)))
    finally:
        process_tuning.run_anywhere()

    assert frozenset().union(*chosen) == allowed
    assert len(set(chosen)) == len(allowed)
    assert os.sched_getaffinity(0) == allowed
