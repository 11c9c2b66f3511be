"""Faults on real brokers: compares what three duelling writers told their clients with the log.

    python tests/eventsourcing_kafka/chaos.py --rounds 200 [--seed 1] [--nodes 1|3]

Three writer processes append to one log, and take it over from each other. Each round makes one fault, or two at the same
time: kill -9 or SIGSTOP of a writer or of a broker (with three nodes: of the leader); a network that is cut, slow, or loses
all data or only the answers; a writer's clock that is set forward or back; a full disk of a recorder or of a broker; and a
broker's disk that is restored from a backup. Then the fault is repaired, and every writer must get on. Each writer keeps a
journal of what it told its clients. At the end:

- each acknowledged event is in the log once, at the position that its client was told;
- no event that was refused as fenced is there, and each event that is there was sent by a writer;
- a batch is there whole or not at all, also one in doubt; no event is there twice; positions have no gap;
- a reader that followed from the start, one that reads everything now, one that starts in the middle, and the recorder,
  which read meanwhile by its index, agree; the recorder found each event that it had inserted;
- the recorder refused the log while it was rolled back.

The last line is a JSON object. The exit code is 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eventsourcing_kafka import Checkpoint, Reader, Settings
from eventsourcing_kafka.library import PersistenceError
from tests.eventsourcing_kafka.chaos_faults import Fault, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PROGRESS_SECONDS = 120
"""The longest time without progress after a repaired fault. Three nodes need up to 10 s for a new leader, if CPUs are idle."""

FAULTS_FIRST = (
    ["pause writer"],
    ["step clock", "cut"],
    ["pause broker"],
    ["kill writer", "deaf"],
    ["kill broker", "step clock"],
    ["disk full", "blackhole"],
    ["step clock"],
    ["roll back"],
    ["delay", "pause writer"],
    ["broker's disk full"],
)
"""The first faults, so that a short run has each kind; later ones are random."""

ROLL_BACK_ROUNDS = 100
"""The number of rounds from one roll-back to the next."""


class Referee:
    """Follows the log from the start, and compares it with the journals at the end."""

    def __init__(self, settings: Settings) -> None:
        """Begin at the start of the log."""
        self._settings = settings
        self._reader = Reader(settings)
        self.found: list[tuple[int, str]] = []
        self.middle = Checkpoint()

    def follow(self, seconds: float) -> bool:
        """Wait at most `seconds` for batches; return whether there are new ones that count."""
        try:
            batches = self._reader.read(seconds)
        except PersistenceError:
            sleep(min(seconds, 0.1))
            return False
        self.found += positions(iter(batches))
        return bool(batches)

    def await_progress(self, *, anew: bool = False) -> None:
        """Wait until a new batch counts; raise TimeoutError if none does.

        `anew`: connect anew. A client that lives ignores a leader whose epoch is older than one that it has seen, and after
        a roll-back there is such a leader.
        """
        if anew:
            self._reader.close()
        while self.follow(0):
            pass
        deadline = monotonic() + PROGRESS_SECONDS
        while not self.follow(0.2):
            if monotonic() > deadline:
                raise TimeoutError(f"No writer got on within {PROGRESS_SECONDS} s")

    def await_all(self, stage: Stage) -> None:
        """Wait until the log has grown, and every writer has noted something; raise TimeoutError if one does not."""
        before = {writer.name: writer.noted() for writer in stage.writers}
        self.await_progress()
        deadline = monotonic() + PROGRESS_SECONDS
        while stuck := [writer.name for writer in stage.writers if writer.noted() == before[writer.name]]:
            self.follow(0.1)
            if monotonic() > deadline:
                raise TimeoutError(f"The writers {stuck} did not get on within {PROGRESS_SECONDS} s")

    def mark_middle(self) -> None:
        """Store the checkpoint, for a reader that starts in the middle."""
        self.middle = self._reader.checkpoint

    def problems(self, journals: list[Path]) -> tuple[list[str], dict[str, int]]:
        """Read the whole log again. Return the broken promises, and counts of what happened."""
        with Reader(self._settings) as reader:
            end = reader.end()
            truth = list(positions(reader.read_to(end)))
        with Reader(self._settings, self.middle) as reader:
            rest = list(positions(reader.read_to(end)))
        self.found += positions(self._reader.read_to(end))
        self._reader.close()
        position_of = {event: position for position, event in truth}
        problems, counts = differences(journals, position_of)
        if len(position_of) < len(truth):
            problems.append("an event is there twice")
        if [position for position, _ in truth] != list(range(1, len(truth) + 1)):
            problems.append("positions have a gap")
        problems += [f"a part of a batch is there: {name}" for name in partial_batches(truth)]
        if self.found != truth:
            problems.append("a reader that followed from the start saw something else")
        if truth[len(truth) - len(rest) :] != rest or (rest and rest[0][0] != self.middle.next):
            problems.append("a reader that started in the middle saw something else")
        return problems, counts | {"events": len(truth), "records": end}


def differences(journals: list[Path], position_of: dict[str, int]) -> tuple[list[str], dict[str, int]]:
    """Compare what clients were told with the positions in the log. Return the differences, and counts by kind."""
    counts: Counter[str] = Counter()
    problems = []
    sent = set()
    for line in (line for journal in journals for line in journal.read_text().splitlines()):
        what, event, position = line.split()
        counts[what] += 1
        if what == "out":
            counts[event] += 1
        if what == "sent":
            sent.add(event)
        elif what in {"told", "read"} and position_of.get(event) != int(position):
            problems.append(f"{event} was {what} at {position} and is at {position_of.get(event)}")
        elif what == "refused" and event in position_of:
            problems.append(f"{event} was refused and is at {position_of[event]}")
        elif what in {"unexpected", "missing"} or (what == "there" and event not in position_of):
            problems.append(f"{event} was {what} and is at {position_of.get(event)}")
    if strangers := position_of.keys() - sent:
        problems.append(f"nobody sent {sorted(strangers)[:3]}")
    return problems, dict(counts)


def partial_batches(truth: Iterable[tuple[int, str]]) -> list[str]:
    """Return the batches of which the log has only a part, or not in one piece."""
    places: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for position, event in truth:
        batch, _, part = event.rpartition(".")
        number, _, size = part.partition("/")
        places[f"{batch} of {size}"].append((position, int(number)))
    return [
        batch
        for batch, found in places.items()
        if len(found) != int(batch.rpartition(" ")[2])
        or any(position - number != found[0][0] - found[0][1] for position, number in found)
    ]


def positions(batches: Iterator[Any]) -> Iterator[tuple[int, str]]:
    """Yield the position and name of each event."""
    for batch in batches:
        for position, row in enumerate(batch.events, batch.first):
            yield position, row[0]


def run(
    rounds: int, seed: int, nodes: int = 1, *, folder: Path, say: Callable[[str], object] = print
) -> tuple[list[str], dict[str, int]]:
    """Make faults in each round. Return the broken promises, and counts of what happened."""
    chance = random.Random(seed)  # noqa: S311  # repeatable
    problems: list[str] = []
    with ExitStack() as stack:
        stage = Stage(folder, nodes, f"chaos-{seed}", chance, stack)
        referee = Referee(stage.settings)
        stack.callback(lambda: say(stage.last_notes()))
        stage.start_writers()
        referee.await_all(stage)
        for number in range(rounds):
            names = FAULTS_FIRST[number] if number < len(FAULTS_FIRST) else stage.choose()
            if number and number % ROLL_BACK_ROUNDS == 0:
                names = ["roll back"]
            if names == ["roll back"]:
                say(f"round {number + 1}: roll back")
                problems += stage.roll_back()
                stage.start_writers()
                referee.await_progress(anew=True)
            else:
                faults = stage.faults(names)
                seconds = chance.uniform(0.1, 1.5)
                say(f"round {number + 1}: {' and '.join(fault.name for fault in faults)}, {seconds:.1f} s")
                make_faults(faults, seconds, referee)
            stage.start_writers()
            referee.await_all(stage)
            pass_time(chance.uniform(0.1, 0.8), referee)  # long enough for the writers to fence each other
            if number == rounds // 2:
                referee.mark_middle()
        stage.kill_writers()
        found, counts = referee.problems([writer.journal for writer in stage.writers])
        return problems + found, counts


def make_faults(faults: list[Fault], seconds: float, referee: Referee) -> None:
    """Make the faults of one round, and repair them."""
    for fault in faults:
        fault.begin()
    pass_time(seconds, referee)
    for fault in faults:
        fault.end()


def pass_time(seconds: float, referee: Referee) -> None:
    """Let the fault last, and follow the log meanwhile."""
    deadline = monotonic() + seconds
    while (left := deadline - monotonic()) > 0:
        referee.follow(left)


def main() -> int:
    """Run, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable()  # a broker that is away is no news
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        problems, counts = run(arguments.rounds, arguments.seed, arguments.nodes, folder=Path(folder))
    for problem in problems:
        print(f"BROKEN: {problem}")  # noqa: T201
    print(json.dumps({"rounds": arguments.rounds, "broken": len(problems)} | counts))  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
