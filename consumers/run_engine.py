"""An engine as a process of its own, for a log in Kafka: `tidings engine`."""

import signal
from contextlib import closing, suppress
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from consumers.engine.engine import Engine
from consumers.engine.log import InDoubt
from consumers.engine.metrics import EngineCollector
from consumers.kafka.command_source import KafkaCommandSource
from consumers.kafka.heartbeats import KafkaHeartbeats
from consumers.kafka.traced import AppendTraces, TracedCommandSource, TracedLog
from consumers.kafka.transfer_topic import KafkaTransferTopic
from consumers.ops_server import ops_server
from consumers.process_tuning import collect_rarely, stay_on_one_cpu
from consumers.wiring import batch_limits, open_log, open_traces

if TYPE_CHECKING:
    from settings import Settings


STUCK_SECONDS: Final = 10.0
"""The time without a look for commands after which an engine counts as stuck. The longest sweep takes less than two."""


def make_engine(
    settings: "Settings", *, standby: bool = False, take_over: bool = False, traces: AppendTraces | None = None
) -> Engine:
    """Return the engine of the settings' partition, not started yet.

    A `standby` waits until no other engine sends heartbeats. With `take_over` it reads the log, and then asks the
    engine that writes it to hand over. `traces` has the spans of sampled commands; without it there is no trace of them.
    """
    source = KafkaCommandSource(settings) if traces is None else TracedCommandSource(settings, traces)
    if standby:
        with suppress(InDoubt):  # it will try again when it takes over
            source.connect()
    return Engine(
        open_log(settings) if traces is None else TracedLog(settings, traces),
        source,
        partition=settings.partition,
        transfers=KafkaTransferTopic(settings, source.interrupt) if settings.partitions > 1 else None,
        clock=settings.clock,
        limits=batch_limits(settings),
        hold_seconds=settings.withdrawal_hold_seconds,
        folder=settings.home / "engine",
        heartbeats=KafkaHeartbeats(settings, at_once=take_over),
        standby=standby or take_over,
    )


def take_over(settings: "Settings") -> str | None:
    """Have a standby take over from the engine that runs; return its name once it serves, None if there is no standby.

    Raises InDoubt: no broker answers, or the standby has not taken over in time.
    """
    with closing(KafkaHeartbeats(settings)) as heartbeats:
        return heartbeats.call_hand_over()


def run(settings: "Settings", *, standby: bool = False, take_over: bool = False) -> None:
    """Run until SIGTERM or SIGINT, or until another engine takes over; must be called in the main thread.

    Raises:
        Fenced: another engine writes the log.
        EngineFailedError: an error of ours came again and again.
        PortTakenError: another program listens on `TIDINGS_OPS_PORT`.
    """
    collect_rarely()
    stay_on_one_cpu(settings.partition)
    with open_traces(settings, "engine") as traces:
        appends = None if traces is None else traces.appends()
        _run(settings, make_engine(settings, standby=standby, take_over=take_over, traces=appends))


def _run(settings: "Settings", engine: Engine) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        engine.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    registry = CollectorRegistry()
    registry.register(EngineCollector(engine))
    with ops_server(settings, lambda: missing(engine), registry):
        engine.run()


def missing(engine: Engine) -> list[str]:
    """Return what an engine lacks for its work: nothing while it stands by, or serves and has lately asked for commands."""
    measures = engine.measures
    if measures.state == "serving":
        return ["engine is stuck"] if perf_counter() - measures.took_at > STUCK_SECONDS else []
    return [] if measures.state == "standby" else [f"engine is {measures.state}"]
