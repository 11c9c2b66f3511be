"""The measurements: their parts exist, and their last line has exactly the documented figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.figures import keys_of, page
from bench.parts import PARTS, show
from bench.whole import lags_ms

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the measurements with these arguments."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
    )


def last_line(*arguments: str) -> Any:
    """The figures of a run."""
    done = bench(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_page_explains_every_part_and_every_figure() -> None:
    """bench/README.md is the output of `python -m bench.figures`."""
    assert (ROOT / "bench" / "README.md").read_text() == page()


@pytest.mark.parametrize("figures", [{"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_figures_that_are_not_as_documented_are_not_shown(figures: dict[str, int]) -> None:
    """A missing or surplus key ends the measurement, so the page is never wrong."""
    with pytest.raises(AssertionError, match="not as documented"):
        show(figures, {"a": "one", "b": "two"})


def test_a_run_of_the_engine_has_its_figures_by_window(kafka: str) -> None:
    """A single part prints its own figures, with rates and times by window."""
    figures = last_line(
        "engine", "--seconds", "0.2", "--windows", "1,16", "--warm-up", "0.1", "--bootstrap", kafka, "--no-baseline"
    )

    assert figures.keys() == keys_of("engine").keys()
    assert set(figures["orders_per_s"]) == set(figures["p99_ms"]) == {"1", "16"}
    assert min(figures["orders_per_s"].values()) > 0


def test_a_run_of_the_book_has_its_figures() -> None:
    """The smallest possible run has all of them."""
    assert last_line("book", "--orders", "20", "--rounds", "20").keys() == keys_of("book").keys()


def test_a_run_of_the_whole_has_its_figures_for_both_forms() -> None:
    """Each form has rates, times, CPU by process and the lag of its read models, for single orders and for batches."""
    tiny = ("--seconds", "0.3", "--warm-up", "0.3", "--idle-seconds", "0.2", "--clients", "1,2", "--batch-clients", "2")
    figures = last_line("whole", *tiny)

    assert figures.keys() == keys_of("whole").keys() == {"serve", "kafka"}
    for form, processes in (("serve", {"serve"}), ("kafka", {"api", "engine", "projector", "broker"})):
        assert set(figures[form]["single"]) == {"1", "2"}
        for run in (*figures[form]["single"].values(), figures[form]["batch"], figures[form]["mixed"]):
            assert run["orders_per_s"] > 0
            assert run["p99_ms"] >= run["p50_ms"] > 0
            assert processes < set(run["cpu_us_per_order"])
            assert run["lag_p99_ms"] >= 0
            assert run["caught_up_seconds"] >= 0


@pytest.mark.chaos  # the limits have tests of their own; this one takes 20 seconds
def test_a_small_attack_is_survived() -> None:
    """Few sockets, for a short time: the part has its figures, and every socket is closed."""
    tiny = ("--seconds", "0.5", "--warm-up", "0.3", "--sockets", "20", "--headers", "5", "--bodies", "5")
    figures = last_line("attacks", *tiny)

    assert figures.keys() == keys_of("attacks").keys()
    assert set(figures["sockets"]["closed_seconds"]) == {"idle", "headers", "bodies"}
    assert max(figures["sockets"]["closed_seconds"].values()) < 60


def test_a_few_dashboards_have_their_figures() -> None:
    """Those that have the answer get 304."""
    figures = last_line("pollers", "--seconds", "1", "--dashboards", "5")

    assert figures.keys() == keys_of("pollers").keys()
    assert set(figures["answers"]) == {"304"}


def test_the_lag_is_the_age_of_what_is_not_shown_yet() -> None:
    """Read models that stand at a position lag since a client was told of the next one; at the end they do not lag."""
    replies = [(10.0, 0), (11.0, 5), (12.0, 9)]

    assert lags_ms([(10.5, 0), (11.5, 0), (12.5, 5), (12.5, 7), (13.0, 9)], replies) == [0.0, 500.0, 500.0, 500.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["engin"], "no such part: engin; there are whole, engine"),
        (["book", "history", "--rounds", "9"], "options go with one part only"),
        (["book", "--round-trips", "9"], "unrecognized arguments"),
    ],
)
def test_what_is_not_understood_is_refused(arguments: list[str], problem: str) -> None:
    """A misspelt part or option is an error, and nothing is measured."""
    done = bench(*arguments)

    assert done.returncode != 0
    assert problem in done.stderr


def test_every_part_is_a_module() -> None:
    """Each name is that of a file."""
    assert [part for part in PARTS if not (ROOT / "bench" / f"{part}.py").is_file()] == []
