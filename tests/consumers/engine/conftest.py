"""An empty log in memory, and loggers whose lines a test can capture."""

import sys

import pytest
import structlog
from eventsourcing.popo import POPOApplicationRecorder


@pytest.fixture
def recorder() -> POPOApplicationRecorder:
    """An empty log."""
    return POPOApplicationRecorder()


@pytest.fixture(autouse=True)
def _loggers_as_at_the_start() -> None:
    """Forget how the engine's loggers were configured: a test before may have started a program in this process.

    Its level would hide lines, and `structlog` keeps the configuration of a logger from its first line on.
    """
    structlog.reset_defaults()
    for name, module in [*sys.modules.items()]:
        if name.startswith("consumers.engine."):
            for value in vars(module).values():
                if type(value).__name__ == "BoundLoggerLazyProxy":
                    value.__dict__.pop("bind", None)
