"""The append protocol, explored exhaustively in a small model, with the same fold that readers use.

Writers claim and append. Each record that was sent may be delivered at any later time, never, or twice, in any order. An
acknowledgement may be lost or late. A writer may pause for any time, give up and start again, and the read before its claim
may be stale. A stranger may send a claim with the highest epoch. A batch may have no events and only track, which takes no
position; then a copy of it counts again, and changes nothing. After each step the log is folded and compared with what
clients were told. Then each rule of the protocol is left out once, and the exploration must find a log that breaks a promise.

`KAFKA_MODEL=large` also explores larger worlds (4 million of them: some minutes, 1.5 GB).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest

from eventsourcing_kafka.errors import RecordsMissing
from eventsourcing_kafka.protocol import Batch, Claim, State

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = os.environ.get("KAFKA_MODEL") == "large"


LAST_EPOCH = 2**53 - 1
"""The highest epoch that a record can hold."""


class Record(NamedTuple):
    """A record that a writer sends. A batch (first > 0) has one event, and the events that its writer knew before.

    A batch that only tracks has a tracking instead of its event.
    """

    writer: str
    epoch: int
    first: int = 0
    event: str = ""
    known: tuple[str, ...] = ()
    next: int = 0
    tracks: bool = False

    @property
    def size(self) -> int:
        """How many positions it takes."""
        return 0 if self.tracks else 1


Log = tuple[Record, ...]

STRANGER = Record("stranger", LAST_EPOCH)


class Writer(NamedTuple):
    """A process that writes. Its phase is "out", "claiming" (its claim is sent) or "writing" (it has won)."""

    phase: str = "out"
    attempts: int = 0
    decided: int = 0
    claim: Record | None = None
    stale: int = 0
    """The number of records it had read when it claimed."""
    state: State = State()
    offset: int = 0
    """The next offset it has to read."""
    history: tuple[str, ...] = ()
    """The events of which it knows that they count."""
    flight: tuple[Record, ...] = ()
    """The batches that were sent and are not yet known to count."""


class World(NamedTuple):
    """The whole state: the log, every record ever sent, the writers, and what clients were told."""

    log: Log
    sent: frozenset[Record]
    writers: tuple[Writer, ...]
    done: frozenset[tuple[str, int]]
    """Events that clients were told count, with their positions."""
    refused: frozenset[str]
    """Events that clients were told will never count."""


class Fold(NamedTuple):
    """The rules of the readers' fold. Without them it takes any position for the next one, or any higher epoch."""

    next_position: bool = True
    next_epoch: bool = True


STRICT = Fold()


@dataclass(frozen=True)
class Rules:
    """The bounds of a world, and the rules that its writers and readers follow."""

    writers: int = 2
    attempts: int = 2
    batches: int = 2
    copies: int = 2
    log: int = 5
    stranger: bool = False
    in_flight: int = 1
    looks_between: bool = True
    reads_to_claim: bool = True
    fold: Fold = STRICT
    fresh_names: bool = True
    short_cut: bool = True
    tracks: bool = False
    """Whether the first batch that each writer decides only tracks."""
    compares_tracking: bool = True


class Seen(NamedTuple):
    """The truth about a log: the state after each record, and the batches that count."""

    states: tuple[State, ...]
    valid: tuple[Record, ...]


@cache
def after(state: State, record: Record, rules: Fold) -> State | None:
    """The readers' fold."""
    if record.first:
        first = record.first if rules.next_position else state.next
        events = [("", 1, "", None)] * record.size
        return state.after(Batch(record.writer, record.epoch, first, events, tracking={"": 1}))  # type: ignore[arg-type]
    if record.epoch > LAST_EPOCH:
        return None  # such a record cannot be decoded
    if not rules.next_epoch and record.epoch > state.epoch:
        return State(record.epoch, record.writer, state.next)
    return state.after(Claim(record.writer, record.epoch, record.next))


@cache
def fold(log: Log, rules: Fold) -> Seen:
    """Fold a whole log as every reader does."""
    if not log:
        return Seen((State(),), ())
    before = fold(log[:-1], rules)
    state = after(before.states[-1], log[-1], rules)
    if state is None:
        return Seen((*before.states, before.states[-1]), before.valid)
    repeated = log[-1].tracks and log[-1] in before.valid
    return Seen((*before.states, state), (*before.valid, log[-1]) if log[-1].first and not repeated else before.valid)


def broken(world: World, rules: Rules) -> str | None:
    """Return the promise that the log breaks, or None."""
    try:
        states, valid = fold(world.log, rules.fold)
    except RecordsMissing:
        return "a reader stops, although no record is missing"
    if states[-1].epoch == LAST_EPOCH:
        return "nobody can claim the log any more"
    events = tuple(record.event for record in valid)
    if len(set(events)) < len(events):
        return "an event counts twice"
    for index, record in enumerate(valid):
        if record.known != events[:index]:
            return "an event was decided without knowing all before it"
    positions = {(record.event, 1 + sum(r.size for r in valid[:index])) for index, record in enumerate(valid)}
    if not world.done <= positions:
        return "a client was told of an event that does not count there"
    if not world.refused.isdisjoint(events):
        return "a client was told that an event never will count, but it does"
    return None


def steps(world: World, rules: Rules) -> Iterator[World]:
    """Yield every world that is one step away."""
    if len(world.log) < rules.log:
        for record in world.sent:
            if world.log.count(record) < rules.copies:
                yield world._replace(log=(*world.log, record))
    for index, writer in enumerate(world.writers):
        yield from STEPS[writer.phase](world, index, writer, rules)


def out_steps(world: World, index: int, writer: Writer, rules: Rules) -> Iterator[World]:
    """Read up to some point, and claim with the epoch above the one read there."""
    if writer.attempts == rules.attempts:
        return
    name = f"w{index}" + (f".{writer.attempts}" if rules.fresh_names else "")
    states = fold(world.log, rules.fold).states
    known = set()
    for stale in range(len(world.log), -1, -1):
        epoch = states[stale].epoch
        if epoch in known and rules.reads_to_claim:
            continue  # what else it has read does not matter, except that a claim may name any position before this one
        known.add(epoch)
        claim = Record(name, epoch + 1, next=states[stale].next)
        changed = Writer("claiming", writer.attempts + 1, writer.decided, claim, stale)
        yield replaced(world._replace(sent=world.sent | {claim}), index, changed)


def claiming_steps(world: World, index: int, writer: Writer, rules: Rules) -> Iterator[World]:
    """Learn the offset of the claim, read up to it, and see whether it won; or give up."""
    assert writer.claim is not None
    for offset in offsets(world.log, writer.claim):
        read = world.log[: offset + 1] if rules.reads_to_claim else (*world.log[: writer.stale], writer.claim)
        seen = fold(read, rules.fold)
        state = seen.states[-1]
        if (state.epoch, state.writer) == (writer.claim.epoch, writer.claim.writer):
            history = tuple(record.event for record in seen.valid)
            won = writer._replace(phase="writing", claim=None, stale=0, state=state, offset=offset + 1, history=history)
            yield replaced(world, index, won)
        else:
            yield replaced(world, index, out(writer))
    yield replaced(world, index, out(writer))


def writing_steps(world: World, index: int, writer: Writer, rules: Rules) -> Iterator[World]:
    """Decide and send the next batch; or learn the offset of one in flight, and judge it; or give up."""
    if writer.decided < rules.batches and len(writer.flight) < rules.in_flight:
        event = f"{index}.{writer.decided}"
        assumed = tuple(record.event for record in writer.flight)
        batch = Record(
            writer.state.writer,
            writer.state.epoch,
            writer.state.next + sum(record.size for record in writer.flight),
            event,
            writer.history + assumed,
            tracks=rules.tracks and not writer.decided,
        )
        sent = writer._replace(decided=writer.decided + 1, flight=(*writer.flight, batch))
        yield replaced(world._replace(sent=world.sent | {batch}), index, sent)
    for batch in writer.flight:
        for offset in offsets(world.log, batch):
            yield judged(world, index, (batch, offset), rules)
    if writer.flight:
        yield replaced(world, index, out(writer))


def judged(world: World, index: int, heard: tuple[Record, int], rules: Rules) -> World:
    """The writer learns the offset of one of its batches, tells clients what it can, and continues or gives up."""
    writer = world.writers[index]
    batch, offset = heard
    state, mine = writer.state, (writer.state.epoch, writer.state.writer)
    valid: list[tuple[object, ...]] = []
    if not rules.looks_between or (rules.short_cut and offset == writer.offset):
        state = state._replace(next=batch.first + batch.size)
        valid.append(compared(batch, rules))
    else:
        for record in world.log[writer.offset : offset + 1]:
            following = after(state, record, rules.fold)
            if following is not None:
                if record.first:
                    valid.append(compared(record, rules))
                state = following
    counted = [r for r in writer.flight if compared(r, rules) in valid]
    world = world._replace(done=world.done | {(r.event, r.first) for r in counted})
    left = tuple(r for r in writer.flight if r not in counted)
    if (state.epoch, state.writer) != mine:
        fenced = world._replace(refused=world.refused | {r.event for r in left})
        return replaced(fenced, index, out(writer))
    if batch in left:  # invalid although nobody else has claimed: a later copy may still count
        return replaced(world, index, out(writer))
    history = writer.history + tuple(r.event for r in counted)
    offset = max(writer.offset, offset + 1)
    return replaced(world, index, writer._replace(state=state, offset=offset, history=history, flight=left))


def compared(record: Record, rules: Rules) -> tuple[object, ...]:
    """Return by what a writer recognizes its batch in the log."""
    tracking = record.event if record.tracks and rules.compares_tracking else ""
    return record.epoch, record.writer, record.first, tracking


STEPS = {"out": out_steps, "claiming": claiming_steps, "writing": writing_steps}


def out(writer: Writer) -> Writer:
    """Forget everything except the counters that bound the world."""
    return Writer(attempts=writer.attempts, decided=writer.decided)


def offsets(log: Log, record: Record) -> list[int]:
    """Return the offsets of the copies of a record: the broker may acknowledge any of them."""
    return [offset for offset, found in enumerate(log) if found == record]


def replaced(world: World, index: int, writer: Writer) -> World:
    """Return the world with one writer changed."""
    return world._replace(writers=(*world.writers[:index], writer, *world.writers[index + 1 :]))


def explore(rules: Rules) -> tuple[str | None, set[World]]:
    """Visit every world within the bounds. Return the first broken promise, and the worlds visited."""
    sent = frozenset({STRANGER} if rules.stranger else ())
    start = World((), sent, (Writer(),) * rules.writers, frozenset(), frozenset())
    seen = {start}
    frontier = [start]
    while frontier:
        following = []
        for world in frontier:
            for changed in steps(world, rules):
                if changed not in seen:
                    seen.add(changed)
                    if problem := broken(changed, rules):
                        return f"{problem}: {changed}", seen
                    following.append(changed)
        frontier = following
    return None, seen


SAFE = {
    "two writers": Rules(),
    "three writers": Rules(writers=3, attempts=1, batches=1, log=5),
    "two writers that track": Rules(attempts=1, copies=3, log=6, tracks=True),
    "two writers and a stranger": Rules(attempts=1, copies=1, log=6, stranger=True),
}
if LARGE:
    SAFE |= {
        "two writers that track, longer": Rules(attempts=1, copies=3, log=7, tracks=True),
        "two writers, longer": Rules(batches=1, log=6),
        "two writers, longer, and a stranger": Rules(batches=1, log=6, stranger=True),
        "three writers, longer": Rules(writers=3, attempts=1, batches=1, log=6),
    }


@pytest.mark.timeout(3600 if LARGE else 120)
@pytest.mark.parametrize("name", SAFE)
def test_protocol_is_safe(name: str) -> None:
    """No interleaving within the bounds breaks a promise. Events were told as counting and as refused in some worlds."""
    problem, seen = explore(SAFE[name])

    assert problem is None
    told = {event.partition(".")[0] for world in seen for event, _ in world.done}
    assert len(told) == SAFE[name].writers
    assert any(len(world.done) >= 2 for world in seen)
    assert any(world.refused for world in seen)


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(Rules(looks_between=False), id="answers without looking at what lies between"),
        pytest.param(Rules(reads_to_claim=False), id="reads only to an end taken before the claim"),
        pytest.param(Rules(fold=Fold(next_position=False)), id="leaves out first == next"),
        pytest.param(Rules(fold=Fold(next_epoch=False), stranger=True), id="takes a claim of any higher epoch"),
        pytest.param(Rules(fresh_names=False), id="reuses a writer id"),
        pytest.param(
            Rules(attempts=1, tracks=True, compares_tracking=False), id="takes any batch at its position for its own"
        ),
        pytest.param(Rules(in_flight=2, short_cut=False, attempts=1), id="has two in flight"),
    ],
)
def test_every_rule_is_needed(rules: Rules) -> None:
    """Without the rule, some interleaving breaks a promise."""
    problem, _ = explore(rules)

    assert problem is not None
