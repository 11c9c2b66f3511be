"""The history in Python: the same state from a live log and from an export, at any position and time, event by event."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from analysis.exported import ExportError
from analysis.replay import history_of_export, history_of_log, open_history
from consumers.engine.postgres_log import postgres_recorder
from consumers.wiring import open_recorder
from domain.exchange import Exchange
from messages.events import UnreadableEventError
from settings import Settings
from tests.analysis.exports import as_parquet, write_export
from tests.api.cli.read_model_home import append, append_unknown
from tests.consumers.processes import kafka_settings
from tests.projections.logs import stored
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from analysis.replay import History

LOG = simulate(7, 250)
LOG[3] = replace(LOG[3], digest="0123456789abcdef")


@pytest.fixture(params=["postgres", "kafka", "json lines", "parquet"])
def history(request: pytest.FixtureRequest) -> Iterator[History]:
    """The same history in each place where it can be."""
    folder: Path = request.getfixturevalue("tmp_path")
    if request.param == "postgres":
        dsn = request.getfixturevalue("database")
        append(dsn, LOG)
        with open_history(settings=Settings(dsn=dsn)) as opened:
            yield opened
    elif request.param == "kafka":
        settings = kafka_settings(folder, request.getfixturevalue("kafka"), request.getfixturevalue("topic_prefix"))
        with open_recorder(settings) as recorder:
            recorder.insert_events(stored(LOG))
        with open_history(settings=settings) as opened:
            yield opened
    else:
        write_export(folder / "export", LOG)
        if request.param == "parquet":
            as_parquet(folder / "export")
        with open_history(folder / "export") as opened:
            yield opened


def states() -> dict[int, str]:
    """The hash of the whole state after each position."""
    exchange, found = Exchange(), {0: Exchange().state_hash()}
    for one in LOG:
        exchange.apply(one.event, stream=one.stream, version=one.version, time=one.time, command_id=one.command_id)
        found[one.position] = exchange.state_hash()
    return found


def test_the_state_at_every_position_is_the_engines(history: History) -> None:
    """Stepping event by event, jumping to a position, going on from there, and to a time."""
    expected = states()
    replay = history.replay()

    stepped = [(recorded, replay.position, replay.exchange.state_hash()) for recorded in replay]

    assert [recorded for recorded, _, _ in stepped] == LOG
    assert {position: state for _, position, state in stepped} == {at: expected[at] for at in range(1, len(LOG) + 1)}
    middle = history.at(position=100)
    assert (middle.position, middle.exchange.state_hash()) == (100, expected[100])
    assert next(middle) == LOG[100]
    assert middle.exchange.state_hash() == expected[101]
    time = LOG[150].time
    last = max(recorded.position for recorded in LOG if recorded.time <= time)
    by_time = history.at(time=time)
    assert (by_time.position, by_time.time, by_time.exchange.state_hash()) == (last, time, expected[last])
    assert history.at().position == history.end() == len(LOG)
    assert history.at(position=0).exchange.state_hash() == expected[0]
    assert [recorded.position for recorded in history.events(120, 125)] == list(range(121, 126))


def test_what_cannot_be_read_stops_a_replay_there(database: str) -> None:
    """A replay that skipped an event would show a state that never was."""
    append(database, LOG)
    append_unknown(database)
    with postgres_recorder(database, 0) as recorder:
        replay = history_of_log(recorder).replay()

        with pytest.raises(UnreadableEventError, match=rf"position {len(LOG) + 1}.*Odd"):
            replay.step_to()

        assert replay.position == len(LOG)


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    """The error names the folder."""
    with pytest.raises(ExportError, match=str(tmp_path)):
        history_of_export(tmp_path)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_export_that_is_not_whole_is_refused(tmp_path: Path, kind: str) -> None:
    """A file that is missing, cut off or of another size than was written, and the events of some markets only: each is told."""
    write_export(tmp_path, LOG)
    if kind == "parquet":
        as_parquet(tmp_path)
    files = sorted(tmp_path.rglob(f"*.{kind}"))
    manifest, whole = tmp_path / "manifest.json", files[-1].read_bytes()

    def problem() -> str:
        with pytest.raises(ExportError) as told:
            history_of_export(tmp_path).at()
        return str(told.value)

    files[-1].write_bytes(whole[: len(whole) * 2 // 3])
    assert f"{files[-1]}" in problem()
    assert "Is the file whole?" in problem()
    name = files[-1].relative_to(tmp_path).as_posix()
    manifest.write_text(json.dumps({"markets": None, "files": [{"name": name, "bytes": len(whole)}]}))
    assert f"{len(whole):,} were written" in problem()
    files[-1].write_bytes(whole)
    assert history_of_export(tmp_path).at().position == len(LOG)
    files[-1].unlink()
    assert f"{files[-1]} is missing" in problem(), "a shorter history is no history"
    files[-1].write_bytes(whole)
    manifest.write_text(json.dumps({"markets": ["m0"], "files": []}))
    assert "some markets only" in problem()
    manifest.write_text("{")
    assert "is not the manifest" in problem()
    manifest.unlink()
    files[1].unlink()
    assert "has no events from position 101 to 200" in problem()
