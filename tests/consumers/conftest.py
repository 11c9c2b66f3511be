"""What holds for every test with topics of its own: its records are as the AsyncAPI page declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.consumers.kafka_contract import check_topics_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _kafka_contract(request: pytest.FixtureRequest) -> Iterator[None]:
    """Read all records of the test's topics, once the test is over, and hold them to docs/asyncapi.yaml."""
    if not {"kafka", "topic_prefix"} <= set(request.fixturenames):
        yield
        return
    brokers, prefix = request.getfixturevalue("kafka"), request.getfixturevalue("topic_prefix")
    yield
    check_topics_of(brokers, prefix)
