"""Names of stories, markets and accounts: whatever a reply has made can be named, however late the read models are."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from api.http import references, writes
from tests.api.conftest import FAR

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.api.conftest import Exchange

STORY = {"title": "Rates", "body": "Text", "category": "tests", "published_at": "2024-10-24T10:02:00Z"}
MARKET = {
    "question": "Up?",
    "outcomes": ["Yes", "No"],
    "subsidy": "100",
    "close_time": FAR,
    "resolution_source": "The test says so",
}
HELD = "SELECT 1 FROM read_models.projection_positions WHERE projection = 'stories' FOR UPDATE"


@pytest.fixture
def own(begin: Callable[[str, Path], Exchange], database: str, server_folder: Path) -> Exchange:
    """An exchange of its own, whose read models have been folded once."""
    exchange = begin(database, server_folder)
    exchange.market()
    return exchange


def publish(exchange: Exchange, slug: str) -> dict[str, Any]:
    """Publish a story with this slug; return the answer, 201 or 202."""
    answer = exchange.api.post("/stories", STORY | {"slug": slug})
    assert answer.status_code in {201, 202}, answer.text
    return dict(answer.json())


def test_what_a_reply_has_made_is_known(own: Exchange, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The read models are late. A name of the story is waited for, where it was not found before."""
    monkeypatch.setattr(writes, "RESOURCE_SECONDS", 0.1)
    with psycopg.connect(database) as late:
        late.execute(HELD)
        publish(own, "rates")
        threading.Timer(0.5, late.rollback).start()
        opened = own.api.post("/stories/rates/markets", MARKET)
        assert opened.status_code in {201, 202}, opened.text


def test_what_may_be_there_is_not_refused(own: Exchange, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the read models do not come in time, the answer is to come again, and not that there is no such story."""
    monkeypatch.setattr(writes, "RESOURCE_SECONDS", 0.1)
    monkeypatch.setattr(references, "UNKNOWN_SECONDS", 0.1)
    with psycopg.connect(database) as late:
        late.execute(HELD)
        publish(own, "rates")
        answer = own.api.post("/stories/rates/markets", MARKET)
        assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
        assert answer.headers["retry-after"] == "1"


def test_read_models_that_fell_back(own: Exchange, database: str) -> None:
    """A crash of PostgreSQL takes their last transactions. Nobody is told what was true before his own write."""
    position = publish(own, "rates")["position"]
    own.api.data("/stories/rates", min_position=position)
    with psycopg.connect(database) as crash:
        crash.execute("DELETE FROM read_models.stories WHERE slug = 'rates'")
        crash.execute("UPDATE read_models.projection_positions SET position = position - 2")
    named = own.api.post("/stories/rates/markets", MARKET)
    assert (named.status_code, named.json()["code"]) == (503, "UNAVAILABLE")
    read = own.api.get("/stories", min_position=position, wait_ms=0)
    assert (read.status_code, read.json()["code"]) == (503, "NOT_YET_PROJECTED")
