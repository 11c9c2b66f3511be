"""`tidings demo`: ten weeks of trading on a real story."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.cli.command import add_command

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `demo`."""
    demo = add_command(commands, "demo", _demo, "play ten weeks of trading on a real story, show it, serve it")
    demo.add_argument(
        "--kafka",
        action="store_true",
        help="with a local Kafka broker, and api, engine and projector apart",
    )
    demo.add_argument("--once", action="store_true", help="end after showing the result")
    demo.add_argument("--json", action="store_true", help="one JSON object as the last line instead of text")
    demo.add_argument("--seed", type=int, default=1, help="another number plays other weeks (default 1)")


def _demo(options: Namespace, settings: Settings) -> int:
    from api.demo.run import run_demo

    return run_demo(settings, kafka=options.kafka, once=options.once, as_json=options.json, seed=options.seed)
