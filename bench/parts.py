"""The parts of the measurements.

A part is a module with a function `main`, which prints its figures as JSON in the last line, and a constant `KEYS`, which
explains each figure.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

PARTS: Final = {
    "whole": "the whole system at once, as people run it: orders over HTTP with all read models, in both forms",
    "engine": "orders per second through the whole engine over Kafka, compared with the library as documented",
    "http": "orders per second over HTTP, singly and in batches, through the real processes",
    "repeats": "how much old orders that are sent again hold up new ones",
    "start": "the cost of a long log: starting, memory, an order, and folding it again",
    "failover": "how long clients wait if the engine that writes is killed or paused",
    "broker": "the throughput of the broker alone, measured by Kafka's own tool",
    "append": "an append compared with a bare send, and reading a log again",
    "aggregates": "loading and changing long aggregates of the library in Kafka, with and without snapshots",
    "book": "placing, canceling and matching with 10 and with 100,000 resting orders",
    "history": "an order at position 100 and at position 100,000",
    "projections": "how fast read models follow the log and answer",
    "attacks": "what a quiet client's orders take beside strangers who wait, read dear things, and hold sockets",
    "stream": "what streams cost: orders beside a thousand of them, delays, CPU and memory of each",
    "page": "the story page: making, loading and showing it, and following the odds",
    "whatif": "the commands of a long log decided again under other terms, and compared by read models",
    "pollers": "the server's CPU for dashboards that ask for the same leaderboard once a second",
}
"""The measurement of each part, by name, in the order in which all parts run."""


def show(figures: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    """Print the figures as the last line. Fails if they do not have exactly the documented keys."""
    assert figures.keys() == keys.keys(), f"not as documented: {sorted(figures.keys() ^ keys.keys())}"
    print(json.dumps(figures))
