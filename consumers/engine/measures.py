"""What an engine counts and measures, once a batch. It keeps plain numbers; whoever asks for metrics reads them.

The engine's thread writes, any thread reads: a reader may see one batch half counted, and the whole of it the next time.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Final, Literal

import structlog

if TYPE_CHECKING:
    from consumers.engine.batch import AppendBatch

_logger: Final = structlog.get_logger()

APPEND_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets of append times, in seconds."""

BATCH_COMMANDS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000)
"""Upper bounds of the buckets of batch sizes, in commands."""

EngineState = Literal["starting", "standby", "taking_over", "serving", "stopped"]


class Distribution:
    """The number of values in each bucket, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class EngineMeasures:
    """The numbers of one engine, from its start on."""

    def __init__(self) -> None:
        self.state: EngineState = "starting"
        """What the engine does now."""
        self.append_seconds = Distribution(APPEND_SECONDS)
        """Times from the first command of a batch to the log's confirmation."""
        self.batch_commands = Distribution(BATCH_COMMANDS)
        """Sizes of the batches, in commands."""
        self.events = self.accepted = self.duplicates = 0
        """Events appended, commands accepted, commands that came again. Quotes are neither accepted nor refused."""
        self.refused: Counter[str] = Counter()
        """Commands that the rules refused, by code."""
        self.take_overs = self.doubts = 0
        """How often the engine took the log over, and how often an append was in doubt."""
        self.idle_seconds = 0.0
        """Time that the engine has waited for commands."""
        self.took_at = 0.0
        """When the engine last asked for commands, by `time.perf_counter`; while it serves it does so all the time."""
        self.waiting = 0
        """Commands that were taken together last: those that had queued while the engine decided others."""
        self.followed_at = 0.0
        """When the standby last had folded all that the log held, by `time.monotonic`; 0.0 before."""
        self.served_since = 0.0
        """When the engine began to serve, by `time.monotonic`; 0.0 before."""

    def begin_to_serve(self) -> None:
        """Note that the log is taken over."""
        self.take_overs += 1
        self.state = "serving"
        self.took_at = perf_counter()
        self.served_since = self.served_since or monotonic()

    def note_followed(self) -> None:
        """Note that the standby has folded what the log held."""
        self.followed_at = monotonic()

    def note_doubt(self) -> None:
        """Note that an append was in doubt: the engine takes over again."""
        self.doubts += 1
        self.state = "taking_over"

    def note_appended(self, partition: int, batch: "AppendBatch") -> None:
        """Count and log a batch that the log has confirmed."""
        seconds = perf_counter() - batch.started if batch.started else 0.0
        positions = batch.positions
        self.events += len(positions)
        if batch.commands:
            self.note_batch(batch.commands, len(batch.first_events), batch.duplicates, batch.refused_codes, seconds)
        _logger.info(
            "batch_appended",
            partition=partition,
            first=positions[0],
            last=positions[-1],
            commands=batch.commands,
            events=len(positions),
            rejected=len(batch.refused_codes),
            duplicates=batch.duplicates,
            milliseconds=round(seconds * 1000, 1),
        )

    def note_batch(self, commands: int, new: int, duplicates: int, refused: Sequence[str], seconds: float) -> None:
        """Count a batch that the log has confirmed.

        Args:
            commands: all commands of the batch.
            new: those that left events in the log, refused ones included.
            duplicates: those that came again.
            refused: the codes of those that were refused.
            seconds: the time from its first command to the confirmation.
        """
        self.batch_commands.add(commands)
        self.append_seconds.add(seconds)
        self.accepted += new - len(refused)
        self.duplicates += duplicates
        if refused:
            self.refused.update(refused)
