"""Files beside the log that are damaged, old or of another log: no command acts twice, and every reply is the first one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
import structlog
from eventsourcing.popo import POPOApplicationRecorder

from consumers.engine import replica
from consumers.engine.command_index import DiskCommandIndex
from consumers.engine.command_source import LocalCommandSource
from consumers.engine.engine import Engine
from consumers.engine.log import RecorderLog
from consumers.gateway import LocalGateway
from domain.account import DepositCash, OpenAccount
from domain.events import Recorded
from messages.replies import Reply
from tests.consumers.checks import recorded

MICRO = 1_000_000
DEPOSITS = 90
"""Old commands: more than the first table of the command index holds in these tests."""

MANY = 40
"""The number of old commands that come again after each damage."""


class NamedLog(RecorderLog):
    """A log whose name outlives the process."""

    def __init__(self, recorder: POPOApplicationRecorder, name: str) -> None:
        super().__init__(recorder)
        self._name = name

    def identity(self) -> str:
        """Return the name."""
        return self._name


class Home:
    """A log, and a folder beside it of which there are copies of several moments."""

    def __init__(self, base: Path, name: str, random: Random) -> None:
        self._base = base
        self._random = random
        self.name = name
        self.recorder = POPOApplicationRecorder()
        self.account = ""
        self.replies: dict[str, Reply] = {}
        self.moments: list[Path] = []
        with self.engine() as (_, gateway):
            opened = gateway.submit_blocking("open", OpenAccount("", "Trader"))
            self.account = str(opened.result["account_id"])
        for deposits in (20, 30, 40):
            with self.engine() as (_, gateway):
                for number in range(len(self.replies), len(self.replies) + deposits):
                    self.replies[f"d-{number}"] = self.deposit(gateway, f"d-{number}")
            self.moments.append(base / f"{name}-{deposits}")
            shutil.copytree(self.folder, self.moments[-1])
        self.events = self.decided()

    @property
    def folder(self) -> Path:
        """The folder of the engine that runs next."""
        return self._base / "home" / self.name / "0"

    @contextmanager
    def engine(self) -> Iterator[tuple[Engine, LocalGateway]]:
        """Run an engine."""
        source = LocalCommandSource()
        engine = Engine(NamedLog(self.recorder, self.name), source, folder=self._base / "home")
        engine.start()
        try:
            engine.wait_until_ready(10)
            yield engine, LocalGateway(source, timeout_seconds=10)
        finally:
            engine.stop()

    def deposit(self, gateway: LocalGateway, command_id: str) -> Reply:
        """Send a deposit."""
        return gateway.submit_blocking(command_id, DepositCash(self.account, MICRO))

    def decided(self) -> list[Recorded]:
        """Return the events of all commands: without what an engine says about its reading and its snapshots."""
        return [event for event in recorded(self.recorder) if event.command_id]

    def restore(self) -> None:
        """Put the files back that belong to the end of the log."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.moments[-1], self.folder)

    def check(self) -> None:
        """Send old deposits again: each gets its first reply, and nothing happens."""
        numbers = self._random.sample(range(DEPOSITS), MANY)
        with self.engine() as (engine, gateway):
            engine._replica.replies.forget()
            for number in numbers:
                assert self.deposit(gateway, f"d-{number}") == self.replies[f"d-{number}"]
            assert engine.error is None
        assert self.decided() == self.events


def cut(path: Path, random: Random) -> None:
    """Cut the file anywhere."""
    with path.open("r+b") as file:
        file.truncate(random.randrange(path.stat().st_size))


def cut_and_filled(path: Path, random: Random) -> None:
    """Cut the file anywhere, and fill it up with zeros: what a file system may leave."""
    size = path.stat().st_size
    cut(path, random)
    with path.open("r+b") as file:
        file.truncate(size)


def flipped(path: Path, random: Random) -> None:
    """Flip a few bits of the part that is in use."""
    content = bytearray(path.read_bytes())
    for _ in range(random.randint(1, 20)):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def zeroed(path: Path, random: Random) -> None:
    """Overwrite a page."""
    content = bytearray(path.read_bytes())
    begin = random.randrange(0, len(content), 512)
    content[begin : begin + 512] = bytes(len(content[begin : begin + 512]))
    path.write_bytes(content)


def damage(home: Home, other: Home, kind: str, random: Random) -> str:
    """Do something bad to one of the files of this kind; return what."""
    path = random.choice(sorted(home.folder.glob(f"{kind}-*")))
    what = random.choice([cut, cut_and_filled, flipped, zeroed, "older", "another log's", "removed"])
    if callable(what):
        what(path, random)
        return f"{path.name} {what.__name__}"
    if what == "removed":
        path.unlink()
        return f"{path.name} removed"
    folder = random.choice(home.moments[:-1]) if what == "older" else other.moments[-1]
    found = sorted(folder.glob(f"{kind}-*"))
    source = next((each for each in found if each.name == path.name), found[-1])
    shutil.copy(source, path)
    return f"{path.name} {what}"


@pytest.mark.parametrize("kind", ["commands", "snapshot"])
@pytest.mark.parametrize("rounds", [20, pytest.param(200, marks=pytest.mark.chaos)])
def test_no_damage_has_a_second_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, rounds: int) -> None:
    """After each of many random damages of a file, forty old deposits come again."""
    monkeypatch.setattr(replica, "DiskCommandIndex", partial(DiskCommandIndex, first_slots=128))
    random = Random(rounds)  # noqa: S311  no secret
    home, other = Home(tmp_path, "log", random), Home(tmp_path, "another", random)
    assert len(list(home.folder.glob("commands-*"))) == 2
    said = 0
    for number in range(rounds):
        home.restore()
        what = damage(home, other, kind, random)
        with structlog.testing.capture_logs() as lines:
            try:
                home.check()
            except AssertionError as error:
                raise AssertionError(f"round {number}: {what}") from error
        thrown_away = [line for line in lines if line["event"].endswith("_thrown_away")]
        assert not thrown_away or len(thrown_away) <= 2
        said += bool(thrown_away)
    assert said >= rounds // 10
