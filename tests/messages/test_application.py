"""The library's application over our log, on each store: it returns any market or account at any version."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.application import AggregateNotFoundError
from eventsourcing.persistence import ApplicationRecorder, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from consumers.wiring import open_recorder
from domain.account import AccountOpened, CashDeposited, CashWithdrawn
from domain.events import Event
from domain.exchange import Entry
from domain.market import MarketActivated, MarketDrafted, MarketHalted, MarketResumed, Status
from messages.application import LogApplication, project_market
from messages.stored import to_stored
from settings import Settings

MARKET = (
    MarketDrafted("m", "s", "slug", "Is it?", ("No", "Yes"), (500_000, 500_000), 10**8, 0, 10**15, "News", 0, 10**6),
    MarketActivated("m", 10**8, 144_269_504_088_896, (500_000, 500_000)),
    MarketHalted("m"),
    MarketResumed("m"),
)
ACCOUNT = (AccountOpened("a", "Ada", "ada"), CashDeposited("a", 100), CashDeposited("a", 5), CashWithdrawn("a", 30))


def stored(stream: str, history: tuple[Event, ...]) -> list[StoredEvent]:
    """Return a stream's events as the log holds them."""
    return [to_stored(Entry(stream, i, event), time=1, command_id=f"c{i}") for i, event in enumerate(history, 1)]


@pytest.fixture(params=["memory", "postgres", "kafka"])
def recorder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ApplicationRecorder]:
    """A log with one market and one account in it, on each store."""
    opened: AbstractContextManager[ApplicationRecorder]
    if request.param == "memory":
        opened = nullcontext(POPOApplicationRecorder())
    elif request.param == "postgres":
        opened = open_recorder(Settings(home=tmp_path, dsn=request.getfixturevalue("database")))
    else:
        opened = open_recorder(
            Settings(
                home=tmp_path,
                log="kafka",
                kafka_brokers=request.getfixturevalue("kafka"),
                kafka_replication=1,
                kafka_topic_prefix=request.getfixturevalue("topic_prefix"),
            )
        )
    with opened as recorder:
        recorder.insert_events([*stored("market-m", MARKET), *stored("account-a", ACCOUNT)])
        yield recorder


def test_a_market_is_returned_as_it_was_at_each_version(recorder: ApplicationRecorder) -> None:
    """Through the library's repository and a functional projector."""
    application = LogApplication(recorder)

    statuses = [application.market("m", version).status for version in (1, 2, 3, 4)]

    assert statuses == [Status.DRAFT, Status.ACTIVE, Status.HALTED, Status.ACTIVE]
    assert application.market("m").status == Status.ACTIVE
    found: Any = application.repository.get("market-m", version=3, projector_func=project_market)  # type: ignore[type-var]
    assert found.status == Status.HALTED


def test_an_account_is_returned_as_it_was_at_each_version(recorder: ApplicationRecorder) -> None:
    """Through the same repository; an account that does not exist is not found."""
    application = LogApplication(recorder)

    assert [application.account("a", version).cash for version in (1, 2, 3, 4)] == [0, 100, 105, 75]
    with pytest.raises(AggregateNotFoundError):
        application.account("nobody")


def test_an_application_does_not_write() -> None:
    """Only the engine writes the log."""
    application = LogApplication(POPOApplicationRecorder())

    with pytest.raises(TypeError, match="only the engine"):
        application.mapper.to_stored_event(ACCOUNT[0])  # type: ignore[arg-type]
