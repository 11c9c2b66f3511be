"""Batches of orders: the orders without a result are sent again, the others are not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tidings_client.models import BatchAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidings_client.call import Call

NO_RESULT: Final = frozenset({"BUSY", "REPLY_TIMEOUT", "UNAVAILABLE"})
"""The codes of an order that may be done or not. Sent again with its id, it is the same order."""


def without_result(answer: Any) -> list[int]:
    """Return the places of the orders that have no result; none if the answer is not that to a batch."""
    if not isinstance(answer, BatchAnswer):
        return []
    return [place for place, result in enumerate(answer.results) if result.code in NO_RESULT]


def only(call: Call[Any], places: Sequence[int]) -> Call[Any]:
    """Return the call for the orders at these places of a batch."""
    body = msgspec.json.decode(call.content or b"{}")
    body["orders"] = [body["orders"][place] for place in places]
    return replace(call, content=msgspec.json.encode(body))


def merged(answer: BatchAnswer, places: Sequence[int], later: BatchAnswer) -> BatchAnswer:
    """Return the answer with the later results at these places."""
    results = list(answer.results)
    for place, result in zip(places, later.results, strict=True):
        results[place] = result
    return BatchAnswer(results=results, position=max(answer.position, later.position))
