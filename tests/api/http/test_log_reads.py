"""Reading the log: when it does not answer, nothing else suffers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from eventsourcing.persistence import OperationalError
from eventsourcing.popo import POPOApplicationRecorder

from tests.api.http.slow_requests import QUICK, Waiting, serve

if TYPE_CHECKING:
    from pathlib import Path

PATHS = ("/v1/events", "/readyz", "/v1/status", "/metrics")


class SilentLog(POPOApplicationRecorder):
    """A log like one in Kafka whose broker does not answer: it fails after a long time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.fails = threading.Event()

    def max_notification_id(self) -> int | None:
        """Fail at last."""
        self.asked += 1
        self.fails.wait(60)
        raise OperationalError("no broker")


def test_a_silent_log_holds_up_nobody_else(database: str, tmp_path: Path) -> None:
    """Beside more questions to it than there are threads and connections, a read is quick; the questions are refused."""
    log = SilentLog()
    with serve(log, database, tmp_path) as served:
        asking = [Waiting.send(served.url, path, served.key) for path in PATHS for _ in range(20)]
        began = time.monotonic()
        for _ in range(10):
            answer = httpx.get(f"{served.url}/v1/markets", headers={"authorization": f"Bearer {served.key}"})
            assert answer.status_code == 200
        assert time.monotonic() - began < QUICK

        queued = asking[19].answer()
        assert log.asked < 10
        log.fails.set()
        answers = [each.answer() for each in asking[:19] + asking[20:]]

    assert ("503 Service" in queued, "UNAVAILABLE" in queued, "retry-after" in queued) == (True, True, True)
    by_path = {path: {each.split(" ")[1] for each in answers[20 * i : 20 * i + 19]} for i, path in enumerate(PATHS)}
    assert by_path == {"/v1/events": {"503"}, "/readyz": {"503"}, "/v1/status": {"503"}, "/metrics": {"200"}}


@pytest.mark.parametrize("path", PATHS[:3])
def test_a_log_that_cannot_be_reached_is_503(database: str, tmp_path: Path, path: str) -> None:
    """It is no error of this server."""
    log = SilentLog()
    log.fails.set()
    with serve(log, database, tmp_path) as served:
        answer = httpx.get(f"{served.url}{path}", headers={"authorization": f"Bearer {served.key}"})

    assert answer.status_code == 503
    assert answer.json().get("code") == ("UNAVAILABLE" if path != "/readyz" else None)
