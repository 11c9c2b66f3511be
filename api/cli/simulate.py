"""`tidings simulate`: random commands and crashes, with every invariant checked."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from api.cli.command import DONE, NO, add_command, add_json, complain

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `simulate`."""
    simulate = add_command(commands, "simulate", _simulate, "random commands with crashes, every invariant checked")
    simulate.add_argument("--seed", type=int, default=1, help="the same seed is the same run (default 1)")
    simulate.add_argument("--commands", type=int, default=10_000, metavar="N", help="how many (default 10000)")
    simulate.add_argument("--crashes", type=int, default=20, metavar="N", help="about how many (default 20)")
    add_json(simulate)


def _simulate(options: Namespace, _: Settings) -> int:
    from dataclasses import asdict

    from consumers.simulation.simulation import SimulationFailedError, simulate

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {total} commands", end="" if done < total else "\n", file=sys.stderr)

    try:
        report = simulate(options.seed, options.commands, crashes=options.crashes, progress=progress)
    except SimulationFailedError as error:
        complain(error)
        return NO
    if options.json:
        print(json.dumps(asdict(report)))
    else:
        for name, value in asdict(report).items():
            print(f"{name:<12} {value}")
    return DONE
