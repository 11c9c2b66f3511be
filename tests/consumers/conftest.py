"""What tests of engines and gateways share."""

import gc
import logging
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """No log of kafka-python: it reports every lost connection at length, and keeps its socket alive with the report."""
    caplog.set_level(logging.CRITICAL, "kafka")


@pytest.fixture
def lost_connections() -> Iterator[None]:
    """For tests whose connections fail: kafka-python leaves such sockets to the garbage collector, so collect them."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
