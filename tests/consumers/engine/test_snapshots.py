"""Snapshots: a start from one equals a replay from zero; one that is damaged or does not fit is thrown away."""

from pathlib import Path
from random import Random

import pytest
from eventsourcing.popo import POPOApplicationRecorder
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.engine import snapshots
from consumers.engine.command_index import DiskCommandIndex
from consumers.engine.command_source import LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import START, Checkpoint, LogLost, RecorderLog
from consumers.engine.replay import Replay
from consumers.engine.snapshots import EngineFolder, Snapshot, dump, load
from consumers.gateway import LocalGateway
from consumers.simulation.random_commands import RandomCommands
from consumers.simulation.simulation import Delivery, Miniature, replayed
from domain.assignments import PartitionAssigned
from domain.events import EVENT_TYPES
from domain.exchange import Exchange
from domain.invitations import AcceptInvitation, CreateInvitation
from domain.transfers import FundsCarried, Transfer, TransferFunds
from tests.consumers.exchange_fixtures import open_market


def simulated(seed: int, commands: int) -> Miniature:
    """Return an exchange after so many random commands, with its log."""
    miniature, chooser = Miniature(), RandomCommands(Random(seed))  # noqa: S311  a simulation, no secret
    for _ in range(commands):
        miniature.deliver(Delivery(*chooser.next_command(miniature.exchange)))
    return miniature


def snapshot_of(exchange: Exchange, position: int = 1) -> Snapshot:
    """Return a snapshot of the exchange."""
    return Snapshot(exchange, Checkpoint(position, 7, 2, "w"), {"local": 9}, [], [Checkpoint(1, 1, 1, "w")])


LOG = simulated(13, 1_500).log


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_snapshot_and_the_rest_is_a_replay_from_zero(data: st.DataObject) -> None:
    """At any position: the same state and due times, and from there the same end."""
    cut = data.draw(st.integers(0, len(LOG)))
    end = min(len(LOG), cut + 200)
    before = replayed(LOG[:cut])
    loaded = load(dump(snapshot_of(before), "log"), "log").exchange

    assert before.state_hash() == loaded.state_hash()
    assert before.due == loaded.due
    assert (before.names.stories, before.names.markets, before.names.accounts) == (
        loaded.names.stories,
        loaded.names.markets,
        loaded.names.accounts,
    )
    assert replayed(LOG[cut:end], before).state_hash() == replayed(LOG[cut:end], loaded).state_hash()


def test_right_after_every_type_of_event() -> None:
    """Of each type that the simulation makes, the first and the last one."""
    numbers_of: dict[str, set[int]] = {}
    for number, row in enumerate(LOG, 1):
        seen = numbers_of.setdefault(row.entry.event.TOPIC, {number})
        numbers_of[row.entry.event.TOPIC] = {min(seen), number}
    cuts = {number for numbers in numbers_of.values() for number in numbers}
    exchange = Exchange()
    for number, row in enumerate(LOG, 1):
        replayed([row], exchange)
        if number in cuts:
            exchange = load(dump(snapshot_of(exchange), "log"), "log").exchange

    assert replayed(LOG).state_hash() == exchange.state_hash()
    missing = {event_type.TOPIC for event_type in EVENT_TYPES} - set(numbers_of)
    invited = {"InvitationCreated.v1", "InvitationAccepted.v1", "InvitationRevoked.v1"}
    by_the_engine = {"CommandsRead.v1", "SnapshotWritten.v1"}
    several = {"PartitionAssigned.v1", "BalanceOpened.v1", "FundsSent.v1", "FundsReceived.v1", "FundsCarried.v1"}
    others = {*invited, *several}
    assert missing <= {*by_the_engine, *others}, "the engine alone makes the first two, the next tests the others"


def test_invitations_are_in_a_snapshot() -> None:
    """With the number of their uses: the last one is left, and no more."""
    exchange = Exchange()
    exchange.handle(CreateInvitation("iv", "ab" * 32, 2, 100, 5), 1, "c1")
    exchange.handle(AcceptInvitation("ab" * 32, "ac_a", "a", "key_a", "cd" * 32), 2, "c2")

    loaded = load(dump(snapshot_of(exchange), "log"), "log").exchange

    assert loaded.state_hash() == exchange.state_hash()
    assert loaded.invitations == exchange.invitations
    assert loaded.invitations["ab" * 32].used == 1


def test_transfers_are_in_a_snapshot() -> None:
    """Those of several partitions, with all that may have to be carried again; with one partition no byte speaks of them."""
    exchange = Exchange(partition=1, partitions=3)
    first = dump(snapshot_of(exchange), "log")
    assert b"outgoing" not in first
    assert b"assigned" not in first
    exchange.receive(Transfer(0, 1, "ac_a", 100, 1, "t1"), 2)
    for number, to_partition in enumerate([2, 0, 2], 3):
        exchange.handle(TransferFunds("ac_a", to_partition, number), number, f"c{number}")
    exchange.emit_partition_event(FundsCarried(2, 1), 6, "")
    exchange.emit_partition_event(PartitionAssigned("story", "s-2", "s", 2), 6, "c6")

    loaded = load(dump(snapshot_of(exchange), "log"), "log").exchange

    assert loaded.state_hash() == exchange.state_hash()
    assert loaded.channels == exchange.channels
    assert loaded.assigned == exchange.assigned
    assert [transfer.number for transfer in loaded.channels.outgoing[2]] == [2]
    assert loaded.names.accounts == exchange.names.accounts


def test_all_that_stands_beside_the_state_comes_back() -> None:
    """The checkpoint, how far the sources are read, the checkpoints for look-ups."""
    loaded = load(dump(snapshot_of(Exchange()), "log"), "log")

    assert (Checkpoint(1, 7, 2, "w"), {"local": 9}, [Checkpoint(1, 1, 1, "w")]) == (
        loaded.checkpoint,
        loaded.next_offsets,
        loaded.checkpoints,
    )


def test_a_damaged_one_is_thrown_away_for_an_older(tmp_path: Path) -> None:
    """Any flipped byte, or a missing end, is noticed; the older one counts then."""
    with EngineFolder(tmp_path, "log") as folder:
        exchange = replayed(LOG[:300])
        for position in (1, 2, 3):
            folder.write(snapshot_of(exchange, position))
        assert len(list(folder.path.glob("snapshot-*"))) == snapshots.KEPT
        newest = max(folder.path.glob("snapshot-*"))
        whole = newest.read_bytes()
        for index in (0, 30, 150, len(whole) // 2, len(whole) - 1):
            with pytest.raises((ValueError, LookupError)):
                load(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :], "log")
        newest.write_bytes(whole[:-5])

        found = folder.newest()

    assert found is not None
    assert found.checkpoint.position == 2
    assert not newest.exists()


def test_one_of_another_version_of_the_code_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folded by another rule never goes on under this one."""
    with EngineFolder(tmp_path, "log") as folder:
        folder.write(snapshot_of(Exchange()))
        monkeypatch.setattr(snapshots, "code_version", lambda: "another")
        assert folder.newest() is None


def test_it_is_written_by_a_child(tmp_path: Path) -> None:
    """The state as it was at the call, although it changes at once."""
    exchange = replayed(LOG[:500])
    before = exchange.state_hash()
    with EngineFolder(tmp_path, "log") as folder:
        folder.write_apart(snapshot_of(exchange))
        replayed(LOG[500:600], exchange)
        assert not folder.writing(wait=True)
        found = folder.newest()

    assert found is not None
    assert before == found.exchange.state_hash() != exchange.state_hash()


def test_two_engines_have_folders_of_their_own(tmp_path: Path) -> None:
    """The second one takes another folder, reads the first one's snapshots, and deletes none of them."""
    with EngineFolder(tmp_path, "log") as first, EngineFolder(tmp_path, "log") as second:
        first.write(snapshot_of(Exchange(), 5))
        assert first.path != second.path
        found = second.newest()
        assert len(list(first.path.glob("snapshot-*"))) == 1
    assert found is not None
    with EngineFolder(tmp_path, "log") as again, EngineFolder(tmp_path, "another") as other:
        assert again.path == first.path
        assert other.newest() is None


class CountingLog(RecorderLog):
    """A log that counts what is read, under a name of its own."""

    read_events = 0

    def identity(self) -> str:
        """The same in every process of this test."""
        return "counting"

    def read(self, first: int, limit: int):  # type: ignore[no-untyped-def]  # noqa: ANN201  as the base
        """Count."""
        found = super().read(first, limit)
        self.read_events += len(found)
        return found


@pytest.mark.parametrize("lost", ["nothing", "index", "snapshots", "both"])
def test_an_engine_starts_from_what_it_left(tmp_path: Path, lost: str) -> None:
    """It reads only the events that it lacks and knows every reply; files that were lost are made again."""
    recorder = POPOApplicationRecorder()

    def engine_of() -> tuple[Engine, LocalGateway, CountingLog]:
        source, log = LocalCommandSource(), CountingLog(recorder)
        engine = Engine(log, source, folder=tmp_path)
        engine.start()
        engine.wait_until_ready(10)
        return engine, LocalGateway(source, timeout_seconds=10), log

    engine, gateway, _ = engine_of()
    market = open_market(gateway.submit_blocking)
    first = gateway.submit_blocking(*market.buy("c-1"))
    engine.stop()
    state = engine.exchange.state_hash()
    if lost in {"index", "both"}:
        for path in tmp_path.glob("*/*/commands-*"):
            path.unlink()
    if lost in {"snapshots", "both"}:
        for path in tmp_path.glob("*/*/snapshot-*"):
            path.write_bytes(b"no snapshot")

    engine, gateway, log = engine_of()
    read, state_again = log.read_events, engine.exchange.state_hash()
    again = gateway.submit_blocking(*market.buy("c-1"))
    engine.stop()

    assert first == again
    assert state == state_again
    # The last known event, the one before the snapshot's checkpoint, and the two of the batch that has its hash.
    assert (read == 4) == (lost == "nothing")


def test_an_index_that_is_behind_the_snapshot_reads_no_more_than_it_lacks(tmp_path: Path) -> None:
    """An engine stood still while another one wrote: its index goes on at the last known checkpoint before its end."""
    checkpoints = [Checkpoint(position, position - 1, 1, "w") for position in (10, 20, 30)]
    with DiskCommandIndex(tmp_path, "log") as index:
        for behind, wanted in ((5, START), (20, checkpoints[1]), (29, checkpoints[1])):
            index.advance(Checkpoint(behind))
            replay = Replay(0, index, Snapshot(Exchange(), checkpoints[-1], {}, [], checkpoints))
            assert replay.checkpoint == wanted
        index.advance(Checkpoint(30))
        assert (
            Replay(0, index, Snapshot(Exchange(), checkpoints[-1], {}, [], checkpoints)).checkpoint == checkpoints[-1]
        )


@pytest.mark.parametrize("known", ["all", "no file", "a damaged file"])
def test_what_is_kept_beside_a_lost_log_stays(tmp_path: Path, known: str) -> None:
    """The log lost its end (a restored copy): the engine stops, and the snapshot of the lost part stays as it is."""
    recorder = POPOApplicationRecorder()
    source = LocalCommandSource()
    engine = Engine(CountingLog(recorder), source, folder=tmp_path)
    engine.start()
    engine.wait_until_ready(10)
    market = open_market(LocalGateway(source, timeout_seconds=10).submit_blocking)
    assert LocalGateway(source, timeout_seconds=10).submit_blocking(*market.buy("c-1")).code is None
    engine.stop()
    (kept,) = tmp_path.glob("*/*/snapshot-*")
    content = kept.read_bytes()
    (file,) = tmp_path.glob("known-*")
    if known == "no file":
        file.unlink()
    elif known == "a damaged file":
        file.write_bytes(file.read_bytes().replace(b"counting", b"counted!"))

    again = Engine(CountingLog(POPOApplicationRecorder()), LocalCommandSource(), folder=tmp_path)
    again.start()
    with pytest.raises(LogLost, match="--accept-lost-log"):
        again.wait_until_ready(10)
    assert kept.read_bytes() == content
