"""An empty log in memory."""

import pytest
from eventsourcing.popo import POPOApplicationRecorder


@pytest.fixture
def recorder() -> POPOApplicationRecorder:
    """An empty log."""
    return POPOApplicationRecorder()
