"""A topic that was made anew, or restored from a backup, is refused, until somebody accepts that it has lost events."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from eventsourcing_kafka import (
    Fenced,
    InDoubt,
    KafkaApplicationRecorder,
    LogRolledBack,
    Settings,
    UnsafeTopic,
    accept_lost_log,
    ensure_topic,
    topics,
)
from tests.eventsourcing_kafka.events import stored

if TYPE_CHECKING:
    from local.kafka import Broker


def insert(recorder: KafkaApplicationRecorder, *versions: int) -> None:
    """Insert a batch for each version."""
    for version in versions:
        recorder.insert_events([stored("a", version, "Made", b"{}"), stored("b", version, "Made", b"{}")])


def test_a_topic_made_anew_is_refused_until_that_is_accepted(settings: Settings) -> None:
    """It has lost all that was read from it. Once that is accepted, no answer contains anything of the old log."""
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        insert(recorder, 1, 2)
    with closing(KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)) as admin:
        admin.delete_topics([settings.topic])
    ensure_topic(settings)
    for _ in range(2):
        with pytest.raises(LogRolledBack, match=r"made anew.* up to position 4"):
            KafkaApplicationRecorder(settings)

    accept_lost_log(settings)
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        assert recorder.max_notification_id() is None
        assert recorder.select_events("a") == []


def test_a_damaged_file_counts_as_none(settings: Settings) -> None:
    """Every flipped byte and every shorter length: the recorder opens, and knows the end again at the next batch."""
    path = Path(f"{settings.index_path()}.known")
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        insert(recorder, 1)
    whole = path.read_bytes()
    for position in range(0, len(whole.rstrip()), 7):
        for damaged in (
            whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :],
            whole[:position],
        ):
            path.write_bytes(damaged)
            with closing(KafkaApplicationRecorder(replace(settings))) as recorder:
                assert recorder.max_notification_id() == 2
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        insert(recorder, 2)
    assert path.read_bytes() != whole


@pytest.mark.usefixtures("lost_connections")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_restored_disk_is_refused(own_kafka: Broker, tmp_path: Path) -> None:
    """The log ends earlier, or has grown again with other events. The index beside it may be whole, missing or damaged."""
    cases = {
        Settings(
            bootstrap_servers=own_kafka.bootstrap,
            topic=f"{index}-{regrown}",
            replication_factor=1,
            index_folder=str(tmp_path / "i"),
        ): (
            index,
            regrown,
        )
        for index, regrown in product(("whole", "missing", "damaged"), (False, True))
    }
    recorders = {settings: KafkaApplicationRecorder(settings) for settings in cases}
    for recorder in recorders.values():
        insert(recorder, 0)
    own_kafka.stop()
    shutil.copytree(own_kafka.folder / "data", tmp_path / "backup")
    own_kafka.start()
    for recorder in recorders.values():
        insert(recorder, 1)
    own_kafka.stop()
    shutil.rmtree(own_kafka.folder / "data")
    shutil.copytree(tmp_path / "backup", own_kafka.folder / "data")
    own_kafka.start()
    for settings, (_, regrown) in cases.items():
        if regrown:
            with closing(KafkaApplicationRecorder(replace(settings, index_folder="temporary"))) as another:
                insert(another, *range(2, 9))

    for settings, (index, regrown) in cases.items():
        with closing(recorders[settings]) as recorder:  # it was open all the time
            with pytest.raises((LogRolledBack, InDoubt, Fenced)):
                insert(recorder, 9)
            with pytest.raises(LogRolledBack):
                insert(recorder, 9)
        path = Path(settings.index_path())
        if index == "missing":
            path.unlink()
        elif index == "damaged":
            path.write_bytes(path.read_bytes()[:5000])
        for _ in range(2):
            with closing(KafkaApplicationRecorder(settings)) as recorder:
                for _ in range(2):
                    with pytest.raises(LogRolledBack, match="known up to position 4"):
                        recorder.select_events("a")
        accept_lost_log(settings)
        with closing(KafkaApplicationRecorder(settings)) as recorder:
            assert recorder.max_notification_id() == (16 if regrown else 2)


def test_a_topic_whose_records_expire_takes_no_more_events(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are looked at again in the background of a recorder that inserts."""
    monkeypatch.setattr(topics, "LOOK_SECONDS", 0.1)
    with (
        closing(KafkaApplicationRecorder(settings)) as recorder,
        closing(KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)) as admin,
    ):
        insert(recorder, 1)
        admin.alter_configs([ConfigResource("topic", settings.topic, {"retention.ms": "3600000"})])
        with pytest.raises(UnsafeTopic, match=r"retention\.ms is 3600000"):
            insert(recorder, *range(2, 100_000))
        with pytest.raises(UnsafeTopic):
            insert(recorder, 0)
