"""Random damage of the SQLite index: every answer is that of the log, and nothing can be inserted twice."""

from __future__ import annotations

import resource
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent, Tracking

from eventsourcing_kafka import KafkaApplicationRecorder, KafkaProcessRecorder, Settings, ensure_topic
from eventsourcing_kafka.library import OperationalError
from tests.eventsourcing_kafka.events import stored, tracking

if TYPE_CHECKING:
    from collections.abc import Callable

BATCHES = 300
AGGREGATES = 40
APPLICATIONS = 7
OLD = 40
"""The number of events that are inserted again after each damage."""


def batch(number: int) -> list[StoredEvent]:
    """Return the events of one batch: one of an aggregate, and one of the aggregate that all batches have."""
    first = stored(f"aggregate-{number % AGGREGATES:03}", number // AGGREGATES, "Made", b"{}")
    return [first, stored("all", number, "Made", b"{}")]


def processed(number: int) -> Tracking:
    """Return the tracking of one batch."""
    return tracking(f"application-{number % APPLICATIONS}", number + 1)


EVENTS = [event for number in range(BATCHES) for event in batch(number)]


class Moments:
    """A log, and copies of its index of several moments: closed, or of a process that was killed."""

    def __init__(self, settings: Settings, copies: Path) -> None:
        self.settings = settings
        self.path = Path(settings.index_path())
        self.copies: list[Path] = []
        with closing(KafkaProcessRecorder(settings)) as recorder:
            for number in range(BATCHES):
                recorder.insert_events(batch(number), tracking=processed(number))
                if number in {100, 200, BATCHES - 1}:
                    self._copy(copies / f"{settings.topic}-killed-{number}")
        self._copy(copies / f"{settings.topic}-closed")

    def _copy(self, folder: Path) -> None:
        folder.mkdir()
        for path in self.path.parent.glob(self.path.name + "*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, folder / path.name.replace(self.path.name, "index"))
        self.copies.append(folder)

    def restore(self, copy: Path) -> None:
        """Put the index of a moment back."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        for path in copy.iterdir():
            shutil.copy(path, self.target(path))

    def target(self, copied: Path) -> Path:
        """Return where a copied file belongs."""
        return self.path.with_name(copied.name.replace("index", self.path.name))

    def check(self, random: Random) -> None:
        """Compare what a new recorder answers with the log."""
        with closing(KafkaProcessRecorder(self.settings)) as recorder:
            if random.random() < 0.5:  # whoever is asked first must notice
                self.check_trackings(recorder, random)
            for number in random.sample(range(BATCHES), OLD):
                with pytest.raises(IntegrityError):
                    recorder.insert_events(batch(number))
            self.check_trackings(recorder, random)
            for name in ["all", *(f"aggregate-{number:03}" for number in random.sample(range(AGGREGATES), 8))]:
                found = recorder.select_events(name)
                assert found == [event for event in EVENTS if event.originator_id == name]
            begin = random.randint(1, len(EVENTS))
            page = recorder.select_notifications(begin, 40)
            assert [(each.id, each.originator_id, each.originator_version) for each in page] == [
                (position, event.originator_id, event.originator_version)
                for position, event in enumerate(EVENTS[begin - 1 : begin + 39], begin)
            ]
            assert recorder.max_notification_id() == len(EVENTS)

    @staticmethod
    def check_trackings(recorder: KafkaProcessRecorder, random: Random) -> None:
        """Compare the trackings of all applications, and try to insert some of them again."""
        last = {processed(number).application_name: number + 1 for number in range(BATCHES)}
        assert {name: recorder.max_tracking_id(name) for name in last} == last
        assert recorder.max_tracking_id("another") is None
        for number in random.sample(range(BATCHES), 3):
            with pytest.raises(IntegrityError):
                recorder.insert_events([stored("new", 1, "Made", b"{}")], tracking=processed(number))


def cut(path: Path, random: Random) -> None:
    """Cut the file anywhere."""
    with path.open("r+b") as file:
        file.truncate(random.randrange(path.stat().st_size))


def flipped(path: Path, random: Random) -> None:
    """Flip a few bits."""
    content = bytearray(path.read_bytes())
    for _ in range(random.randint(1, 20)):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def one_flipped(path: Path, random: Random) -> None:
    """Flip one bit: the most silent damage."""
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def page_swapped(path: Path, random: Random) -> None:
    """Overwrite a page with another one."""
    content = bytearray(path.read_bytes())
    source, target = (random.randrange(len(content) // 4096 + 1) for _ in range(2))
    content[target * 4096 : target * 4096 + 4096] = content[source * 4096 : source * 4096 + 4096]
    path.write_bytes(content)


DAMAGES: list[Callable[[Path, Random], None]] = [cut, flipped, one_flipped, page_swapped]


@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.chaos)])
def test_no_damage_gives_a_wrong_answer(settings: Settings, tmp_path: Path, rounds: int) -> None:
    """After each of many random damages of the file, or of the WAL beside it."""
    other_settings = replace(settings, topic=f"{settings.topic}-other")
    ensure_topic(other_settings)
    moments, other = Moments(settings, tmp_path), Moments(other_settings, tmp_path)
    random = Random(rounds)  # noqa: S311  no secret
    for number in range(rounds):
        copy = random.choice(moments.copies)
        what = random.choice([*DAMAGES, None])
        if what is None:  # of another time or of another log; perhaps the two files not even of one moment
            moments.restore(copy)
            theirs = random.choice([*moments.copies, *other.copies])
            files = sorted(theirs.iterdir())
            if theirs in other.copies:  # the known end of another log is refused, which tests of its own show
                files = [path for path in files if path.suffix != ".known"]
            path = random.choice(files)
            shutil.copy(path, moments.target(path))
        else:
            moments.restore(copy)
            what(random.choice(sorted(moments.path.parent.glob(moments.path.name + "*"))), random)
        try:
            moments.check(random)
        except BaseException as error:
            error.add_note(f"round {number}: {copy.name}, {what.__name__ if what else path}")
            raise


def insert_all(recorder: KafkaApplicationRecorder, inserted: list[int]) -> None:
    """Insert all batches that follow, and note each."""
    for number in range(len(inserted), BATCHES):
        recorder.insert_events(batch(number))
        inserted.append(number)


def test_a_full_disk_is_an_error_before_anything_is_appended(settings: Settings) -> None:
    """The error names the file. When there is room again, the same recorder goes on."""
    inserted: list[int] = []
    with closing(KafkaApplicationRecorder(settings)) as recorder:
        recorder.insert_events(batch(0))
        inserted.append(0)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (Path(settings.index_path()).stat().st_size, hard))
        try:
            with pytest.raises(OperationalError, match=settings.topic):
                insert_all(recorder, inserted)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert recorder.max_notification_id() == 2 * len(inserted)
        recorder.insert_events(batch(len(inserted)))
        assert len(recorder.select_events("all")) == len(inserted) + 1
