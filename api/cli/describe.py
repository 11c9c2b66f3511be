"""`tidings settings | schemas`: what the program says about itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from api.cli.command import DONE, add_command
from api.cli.described_settings import described

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `settings` and `schemas`."""
    add_command(
        commands,
        "settings",
        _settings,
        "every setting: its variable, value and meaning",
        json=True,
        knows_partitions=True,
    )
    text = "the JSON Schemas of commands, events, replies and Kafka records"
    schemas = add_command(commands, "schemas", _schemas, text, knows_partitions=True)
    schemas.add_argument("--write", action="store_true", help="write them and the AsyncAPI page to docs instead")


def _settings(options: Namespace, settings: Settings) -> int:
    rows = described(settings)
    if options.json:
        print(json.dumps([row._asdict() for row in rows]))
        return DONE
    for row in rows:
        value = f"{row.value} (default {row.default})" if row.value != row.default else row.value
        print(f"{row.variable}={value}\n    {row.description}")
    return DONE


def _schemas(options: Namespace, _: Settings) -> int:
    from messages import schemas

    if options.write:
        schemas.write_schemas()
        schemas.write_page()
    else:
        print(json.dumps(schemas.all_schemas(), indent=2))
    return DONE
