"""What `tidings verify` says of a comparison, as JSON and as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from projections.verify import Comparison


def result_json(result: Comparison) -> dict[str, Any]:
    """Return a comparison in JSON's types; `difference` is the first one, or null."""
    found = [{"kind": difference.kind, **difference.details} for difference in result.differences]
    first = found[0] if found else None
    return {"name": result.name, "position": result.position, "difference": first, "differences": found}


def print_result(result: Comparison) -> None:
    """Print a line for each difference, or one that says that there is none."""
    start = f"{result.name:<12} at {result.position:>10}  "
    for difference in result.differences:
        told = ", ".join(f"{name} {value}" for name, value in difference.details.items())
        print(f"{start}DIFFERS ({difference.kind}): {told}", flush=True)
    if not result.differences:
        print(f"{start}equal", flush=True)
