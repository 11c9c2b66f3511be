"""What `tidings whatif` and `tidings backtest` share: the log that they decide again, and what may go wrong there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from api.cli.command import NO, UNREACHABLE, WRONG_USE, complain, mention_demo, show_progress

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from settings import Settings

T = TypeVar("T")


def compared(
    options: Namespace, settings: Settings, comparing: Callable[..., T], *problems: type[Exception]
) -> T | int:
    """Return what the comparison found in the settings' log, or the exit code after saying why it found nothing.

    `comparing` calls `analysis.whatif.what_if` or `analysis.backtest.backtest` with what is to change, and is given the rest,
    and the identity of the log; `problems` are its own errors, which say in words what is wrong.
    """
    from msgspec.json import encode

    from analysis.control import ControlError
    from analysis.replay import history_of_log
    from analysis.scratch import FoldError, ScratchBusyError
    from api.cli.opening import opened
    from api.cli.whatif_report import control_failed
    from api.export.event_process import EventProcessError
    from messages.events import UnreadableEventError
    from projections.machine.known_log import log_identity

    def show(position: int, end: int) -> None:
        show_progress(f"position {position:,} of {end:,}")

    until = options.until_position
    if until is not None and until < 1:
        complain("--until-position must be 1 or more")
        return WRONG_USE
    with opened(settings) as (dsn, _, log):
        history = history_of_log(log, settings.partition)
        end = history.end()
        if not end:
            mention_demo(settings)
            return NO
        if until is not None and until > end:
            complain(f"the log ends at position {end:,}, before --until-position {until:,}")
            return NO
        try:
            return comparing(history, dsn=dsn, identity=log_identity(log), until=until, progress=show)
        except ControlError as error:
            print(encode(control_failed(error)).decode() if options.json else f"control: {error}")
        except (ScratchBusyError, UnreadableEventError) as error:
            complain(error)
        except (FoldError, EventProcessError) as error:
            complain(error)
            return UNREACHABLE
        except problems as error:
            complain(error)
    return NO
