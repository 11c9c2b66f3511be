"""An engine as a process of its own, for a log in Kafka: `tidings engine`, or `python -m consumers.run_engine`."""

import signal
from types import FrameType

from consumers.engine import Engine, Limits
from consumers.kafka_source import KafkaSource
from consumers.log import open_log
from settings import Settings


def make_engine(settings: Settings) -> Engine:
    """Return the engine of the settings' partition, not started yet."""
    limits = Limits(settings.batch_commands_max, settings.batch_events_max, settings.batch_bytes_max)
    return Engine(
        open_log(settings), KafkaSource(settings), partition=settings.partition, clock=settings.clock, limits=limits
    )


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; must be called in the main thread.

    Raises:
        Fenced: another engine writes the log.
        EngineFailedError: an error of ours came again and again.
    """
    engine = make_engine(settings)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        engine.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    engine.run()


if __name__ == "__main__":
    run(Settings())
