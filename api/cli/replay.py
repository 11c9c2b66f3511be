"""`tidings replay`: markets and accounts as they were at a position or time, folded from the log or an export alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from api.cli.command import DONE, NO, WRONG_USE, add_command, check_kafka, complain, mention_demo, show_progress

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `replay`."""
    replay = add_command(commands, "replay", _replay, "markets and accounts as they were, from the log alone")
    until = replay.add_mutually_exclusive_group()
    until.add_argument("--until-position", type=int, metavar="N", help="as they were after this position of the log")
    until.add_argument(
        "--until-time", metavar="TIME", help="as they were at this time: RFC 3339, a date, or seconds since 1970"
    )
    replay.add_argument("--market", help="only this one: id or slug")
    replay.add_argument("--account", help="only this one: id or name")
    replay.add_argument("--export", metavar="DIR", help="fold the events of this export instead of the log's")
    replay.add_argument("--format", choices=["table", "json"], default="table", help="for people or for programs")


def _replay(options: Namespace, settings: Settings) -> int:
    from analysis.exported import ExportError
    from analysis.replay import open_history
    from api.cli.replayed_state import state_of, table
    from messages.events import UnreadableEventError
    from messages.moments import parse_moment

    try:
        until_time = None if options.until_time is None else parse_moment(options.until_time)
    except ValueError as error:
        complain(f"--until-time {error}")
        return WRONG_USE
    if options.export is None:
        check_kafka(settings)
    try:
        with open_history(options.export, settings) as history:
            replayed = history.replay().step_to(
                position=options.until_position,
                time=until_time,
                progress=lambda position: show_progress(f"position {position:,}"),
            )
    except ExportError as error:
        complain(error)
        return WRONG_USE
    except UnreadableEventError as error:
        complain(error)
        return NO
    if not replayed.position and options.export is None:
        mention_demo(settings)
    state = state_of(replayed.exchange, replayed.position, market=options.market, account=options.account)
    print(json.dumps(state) if options.format == "json" else table(state))
    if (options.market and not state["markets"]) or (options.account and not state["accounts"]):
        complain("no market or account of that name existed then")
        return NO
    return DONE
