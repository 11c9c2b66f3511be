"""What `tidings whatif` and `tidings backtest` share: the log that they decide again, and what may go wrong there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from api.cli.command import NO, complain, mention_demo, show_progress

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from settings import Settings

T = TypeVar("T")


def compared(
    options: Namespace, settings: Settings, comparing: Callable[..., T], *problems: type[Exception]
) -> T | int:
    """Return what the comparison found in the settings' log, or the exit code after saying why it found nothing.

    `comparing` is `analysis.whatif.what_if` or `analysis.backtest.backtest`, given what it is to change; `problems` are its
    own errors, which say in words what is wrong.
    """
    from msgspec.json import encode

    from analysis.control import ControlError
    from analysis.replay import history_of_log
    from analysis.scratch import ScratchBusyError
    from api.cli.opening import opened
    from api.cli.whatif_report import control_failed
    from messages.events import UnreadableEventError

    def show(position: int, end: int) -> None:
        show_progress(f"position {position:,} of {end:,}")

    with opened(settings) as (dsn, _, log):
        history = history_of_log(log, settings.partition)
        if not history.end():
            mention_demo(settings)
            return NO
        try:
            return comparing(history, dsn=dsn, until=options.until_position, progress=show)
        except ControlError as error:
            print(encode(control_failed(error)).decode() if options.json else f"control: {error}")
        except (ScratchBusyError, UnreadableEventError) as error:
            complain(error)
        except problems as error:
            complain(error)
    return NO
