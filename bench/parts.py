"""The parts of the measurements, and the page of what their figures mean: `python -m bench.parts > bench/README.md`.

A part is a module with `main`, which prints its figures as JSON in the last line, and `KEYS`, which says what they are.
"""

import importlib
import json
from collections.abc import Mapping
from typing import Any, Final

PARTS: Final = {
    "engine": "orders a second through the whole engine over Kafka, beside the library as its documentation shows it",
    "http": "orders a second over HTTP, singly and in batches, through the real processes",
    "start": "what a long log costs: starting on it, memory, an order; and folding it again",
    "failover": "how long clients wait when the engine that writes is killed or paused",
    "broker": "what the broker itself can take, by Kafka's own tool",
    "append": "an append beside a bare send, and reading a log again",
    "book": "placing, canceling and matching with 10 and with 100,000 resting orders",
    "history": "an order at position 100 and at position 100,000",
    "projections": "how fast read models follow the log and answer",
}
"""By name: what it measures, in the order in which all are run."""


def show(figures: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    """Print figures as the last line. What is not documented, or documented and missing, is a mistake of the part."""
    assert figures.keys() == keys.keys(), f"not as documented: {sorted(figures.keys() ^ keys.keys())}"
    print(json.dumps(figures))


def keys_of(part: str) -> dict[str, str]:
    """Return what each key of a part's figures means; empty for a part that tells it in its docstring."""
    keys: dict[str, str] = getattr(importlib.import_module(f"bench.{part}"), "KEYS", {})
    return keys


def page() -> str:
    """Return the text of bench/README.md."""
    assert __doc__ is not None, "as written above"
    runner = importlib.import_module("bench.__main__").__doc__
    sections = [
        f"## {part}: {claim}\n\n"
        + (
            "".join(f"- `{key}`: {meaning}\n" for key, meaning in keys_of(part).items())
            or f"See the head of [{part}.py]({part}.py).\n"
        )
        for part, claim in PARTS.items()
    ]
    return f"# Measurements\n\n{runner}\nWritten by `python -m bench.parts`; a test compares it.\n\n" + "\n".join(
        sections
    )


if __name__ == "__main__":
    print(page(), end="")
