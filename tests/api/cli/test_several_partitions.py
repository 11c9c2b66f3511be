"""Three engines on a real broker, a projector of all partitions, and what `verify` says of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from domain.orders import SplitSets
from domain.transfers import TransferFunds
from projections.machine.progress import Progress
from projections.machine.store import connect, schema_of
from projections.registry import projections_of
from settings import Settings, environment
from tests.api.command_line import tidings
from tests.consumers.exchange_fixtures import MICRO
from tests.consumers.kafka.test_transfers import Desk, engines, wait_for
from tests.consumers.processes import kafka_settings

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 3


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str, database: str) -> list[Settings]:
    """The settings of three partitions with their read models in one database."""
    one = kafka_settings(tmp_path, kafka, topic_prefix).model_copy(update={"dsn": database, "partitions": PARTITIONS})
    return [one.model_copy(update={"partition": each}) for each in range(PARTITIONS)]


def traded(settings: list[Settings]) -> list[int]:
    """Let an account send cash to both other partitions and spend it there; return the last position of each log."""
    with closing(Desk(settings)) as desk, engines(settings):
        desk.open()
        for to in (1, 2):
            transfer = TransferFunds(desk.account, to, 100 * MICRO)
            assert desk.ask(0, f"to {to}", transfer).code is None
            split = SplitSets(desk.account, desk.markets[to], 10 * MICRO)
            wait_for(lambda to=to, split=split: desk.ask(to, f"split {to} {len(desk.logs()[to])}", split).code is None)
        assert desk.audit().in_transit() == 0
    return [log[-1].position for log in desk.logs()]


def project(settings: Settings, positions: list[int], *arguments: str) -> None:
    """Run `tidings projector` until the read models of the first partitions have come to these positions."""
    child = subprocess.Popen(
        [sys.executable, "-m", "api", "projector", *arguments], env=environment(settings), stdout=subprocess.DEVNULL
    )
    try:
        assert settings.dsn is not None
        for partition, position in enumerate(positions):
            progress = Progress(settings.dsn, schema=schema_of(partition))
            progress.start()
            try:
                assert progress.wait(projections_of(PARTITIONS), position, 60)
            finally:
                progress.stop()
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()


def test_a_projector_folds_all_partitions_and_verify_compares_them(settings: list[Settings]) -> None:
    """A projector folds two of three partitions; `verify` compares their read models, all ledgers, and what went between them."""
    heads = traded(settings)
    one = settings[0]
    assert one.dsn is not None
    project(one, heads[:2], "--partitions", "0-1")

    with connect(one.dsn, schema_of(1)) as connection:
        connection.execute("UPDATE accounts SET available = available + 1")

    done = tidings(one, "verify", "--json")

    found = json.loads(done.stdout)
    names = ["ledger", *projections_of(PARTITIONS)]
    assert (done.returncode, found["equal"]) == (1, False), done.stdout
    assert [(row["partition"], row["name"]) for row in found["compared"]] == [
        *((partition, name) for partition in (0, 1) for name in names),
        (2, "ledger"),
    ]
    assert [(row["partition"], row["name"]) for row in found["compared"] if row["difference"]] == [(1, "accounts")]
    assert [(row["from"], row["to"], row["sent"], row["received"], row["in_transit"]) for row in found["channels"]] == [
        (0, 1, 1, 1, "0.000000"),
        (0, 2, 1, 1, "0.000000"),
    ]
    assert [row["differences"] for row in found["channels"]] == [[], []]
