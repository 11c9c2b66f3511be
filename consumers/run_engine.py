"""An engine as a process of its own, for a log in Kafka: `tidings engine`."""

import signal
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from consumers.engine.engine import Engine, Limits
from consumers.engine.log import InDoubt
from consumers.kafka.command_source import KafkaSource
from consumers.kafka.heartbeats import Heartbeats
from consumers.process_tuning import collect_rarely, stay_on_one_cpu
from consumers.wiring import open_log

if TYPE_CHECKING:
    from settings import Settings


def make_engine(settings: "Settings", *, standby: bool = False, take_over: bool = False) -> Engine:
    """Return the engine of the settings' partition, not started yet.

    A `standby` waits until no other engine gives signs of life; with `take_over` it reads the log and then asks for it.
    """
    limits = Limits(settings.batch_commands_max, settings.batch_events_max, settings.batch_bytes_max)
    source = KafkaSource(settings)
    if standby:
        with suppress(InDoubt):  # it will try again when it takes over
            source.connect()
    return Engine(
        open_log(settings),
        source,
        partition=settings.partition,
        clock=settings.clock,
        limits=limits,
        folder=settings.home / "engine",
        beats=Heartbeats(settings, at_once=take_over),
        standby=standby or take_over,
    )


def take_over(settings: "Settings") -> str | None:
    """Have a standby take over from the engine that runs; return its name once it serves, None if there is no standby.

    Raises InDoubt: no broker answers, or it was not done in time.
    """
    beats = Heartbeats(settings)
    try:
        return beats.call()
    finally:
        beats.close()


def run(settings: "Settings", *, standby: bool = False, take_over: bool = False) -> None:
    """Run until SIGTERM or SIGINT, or until another engine was told to take over; must be called in the main thread.

    Raises:
        Fenced: another engine writes the log.
        EngineFailedError: an error of ours came again and again.
    """
    collect_rarely()
    stay_on_one_cpu(settings.partition)
    engine = make_engine(settings, standby=standby, take_over=take_over)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        engine.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    engine.run()
