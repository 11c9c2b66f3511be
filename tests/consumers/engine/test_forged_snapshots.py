"""Snapshots that somebody forged in the folder of the engine: none is used, for the log does not have their hashes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from eventsourcing.popo import POPOApplicationRecorder
from structlog.testing import capture_logs

from consumers.engine import replica
from consumers.engine.command_source import LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import Log
from consumers.engine.postgres_log import PostgresLog
from consumers.engine.snapshots import Snapshot, dump, load
from consumers.gateway import LocalGateway
from consumers.wiring import open_log
from domain.account import WithdrawCash
from domain.ledger import EXTERNAL
from domain.partition import SnapshotWritten
from messages.stored import decode_state
from tests.consumers.engine.test_damaged_files import NamedLog
from tests.consumers.exchange_fixtures import Market, open_market
from tests.consumers.processes import kafka_settings

MICRO = 1_000_000


class Home:
    """A log, an engine's folder, and a market with accounts."""

    def __init__(self, open_log: Callable[[], Log], folder: Path) -> None:
        self._open_log = open_log
        self.folder = folder
        self.lines: list[str] = []
        with self.engine() as (_, gateway):
            self.market: Market = open_market(gateway.submit_blocking)

    @contextmanager
    def engine(self) -> Iterator[tuple[Engine, LocalGateway]]:
        """Run an engine; note the names of its warnings."""
        source = LocalCommandSource()
        engine = Engine(self._open_log(), source, folder=self.folder)
        with capture_logs() as lines:
            engine.start()
            try:
                engine.wait_until_ready(30)
                yield engine, LocalGateway(source, timeout_seconds=30)
            finally:
                engine.stop()
                self.lines = [line["event"] for line in lines if line["log_level"] == "warning"]

    def snapshots(self) -> list[Path]:
        """Return the whole files, the newest one last; one that is being written has a suffix."""
        return sorted(path for path in self.folder.glob("*/*/snapshot-*") if not path.suffix)

    def forge(self, change: Callable[[Snapshot], None]) -> Path:
        """Put a snapshot into the place of the newest one that differs from it, with right checksums."""
        path = self.snapshots()[-1]
        snapshot = load(path.read_bytes(), path.parent.parent.name)
        change(snapshot)
        path.write_bytes(dump(snapshot, path.parent.parent.name))
        return path


@pytest.fixture(params=["recorder", "postgres", "kafka"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """A home beside each kind of log."""
    if request.param == "recorder":
        recorder = POPOApplicationRecorder()
        return Home(lambda: NamedLog(recorder, "named"), tmp_path)
    if request.param == "postgres":
        database = request.getfixturevalue("database")
        return Home(lambda: PostgresLog(database), tmp_path)
    settings = kafka_settings(tmp_path, request.getfixturevalue("kafka"), request.getfixturevalue("topic_prefix"))
    return Home(lambda: open_log(settings), tmp_path / "engine")


def told(recorder: POPOApplicationRecorder) -> set[SnapshotWritten]:
    """Return what the log says about snapshots."""
    events = [decode_state(each.topic, each.state).data for each in recorder.select_notifications(1, 100_000)]
    return {event for event in events if isinstance(event, SnapshotWritten)}


def make_rich(account_id: str) -> Callable[[Snapshot], None]:
    """Return what gives an account a million credits, so that all sums are right."""

    def change(snapshot: Snapshot) -> None:
        exchange = snapshot.exchange
        exchange.accounts[account_id].cash += 1_000_000 * MICRO
        exchange.ledger.balances[f"cash:{account_id}"] += 1_000_000 * MICRO
        exchange.ledger.balances[EXTERNAL] -= 1_000_000 * MICRO

    return change


def test_no_balance_can_be_forged(home: Home) -> None:
    """The engine says so, goes on with the state of the log, and pays nothing out that nobody paid in."""
    account = home.market.accounts[0]
    with home.engine() as (engine, _):
        pass
    state = engine.exchange.state_hash()
    forged = home.forge(make_rich(account))
    forged_bytes = forged.read_bytes()

    with home.engine() as (engine, gateway):
        reply = gateway.submit_blocking("withdraw", WithdrawCash(account, 999_999 * MICRO))

    assert reply.code == "INSUFFICIENT_FUNDS"
    assert home.lines == ["snapshot_thrown_away"]
    assert forged_bytes not in [path.read_bytes() for path in home.snapshots()]
    assert state != engine.exchange.state_hash()  # the refusal counts in its stream


def test_an_older_one_that_the_log_knows_is_used(home: Home) -> None:
    """The forged one is the newest; what came after the older one is folded."""
    with home.engine() as (_, gateway):
        assert gateway.submit_blocking(*home.market.buy("c-1")).code is None
    assert len(home.snapshots()) == 2
    home.forge(make_rich(home.market.accounts[0]))
    oldest = home.snapshots()[0].read_bytes()

    with home.engine() as (engine, gateway):
        assert gateway.submit_blocking(*home.market.buy("c-1")).code is None
        assert home.snapshots()[0].read_bytes() == oldest
    assert engine.error is None
    assert home.lines == ["snapshot_thrown_away"]


def without_accounts(snapshot: Snapshot) -> None:
    """Take away what the next events need."""
    snapshot.exchange.accounts.clear()
    snapshot.exchange.markets.clear()


def with_another_reply(snapshot: Snapshot) -> None:
    """Change nothing of the state: only what the engine says about the past."""
    snapshot.next_offsets["local"] = 1_000_000


@pytest.mark.parametrize("change", [without_accounts, with_another_reply])
def test_nothing_else_can_be_forged(tmp_path: Path, change: Callable[[Snapshot], None]) -> None:
    """A state into which the log cannot be folded stops nobody, and what stands beside the state is proven too."""
    recorder = POPOApplicationRecorder()
    home = Home(lambda: NamedLog(recorder, "named"), tmp_path)
    kept = home.snapshots()[0]
    old, name = kept.read_bytes(), kept.name
    with home.engine() as (_, gateway):
        assert gateway.submit_blocking(*home.market.buy("c-1")).code is None
    for path in home.snapshots():
        path.unlink()
    kept.with_name(name).write_bytes(old)
    home.forge(change)

    with home.engine() as (engine, gateway):
        assert gateway.submit_blocking(*home.market.buy("c-1")).code is None
        assert gateway.submit_blocking(*home.market.buy("c-2")).code is None

    assert engine.error is None
    assert "snapshot_thrown_away" in home.lines


def test_a_start_adds_nothing_to_the_log_unless_something_has_happened(tmp_path: Path) -> None:
    """Each snapshot is told once; engines that start and stop do not make the log longer."""
    recorder = POPOApplicationRecorder()
    home = Home(lambda: NamedLog(recorder, "named"), tmp_path)
    events = recorder.select_notifications(1, 1_000)
    (written,) = told(recorder)
    assert written.position == events[-1].id - 2

    for _ in range(3):
        with home.engine():
            pass

    assert len(recorder.select_notifications(1, 1_000)) == len(events)
    assert home.lines == []
    assert len(home.snapshots()) == 1


def test_snapshots_of_a_running_engine_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash that the log gets from the child is that of its file."""
    monkeypatch.setattr(replica, "SNAPSHOT_EVENTS", 10)
    monkeypatch.setattr(replica, "SNAPSHOT_SECONDS", 0.0)
    recorder = POPOApplicationRecorder()
    home = Home(lambda: NamedLog(recorder, "named"), tmp_path)
    with home.engine() as (_, gateway):
        proofs: set[SnapshotWritten | None] = set()
        for number in range(2_000):
            assert gateway.submit_blocking(*home.market.buy(f"c-{number}", spend=MICRO // 100)).code is None
            if number % 50 == 0:
                with suppress(FileNotFoundError):  # older ones are deleted
                    proofs |= {load(path.read_bytes(), "named").proof for path in home.snapshots()}
                if len(told(recorder) & proofs) >= 2:
                    break
        else:
            pytest.fail("the log does not have the hashes of the files")
