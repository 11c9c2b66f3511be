"""What the program says about itself: settings and schemas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from messages import schemas
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from settings import Settings


def test_settings_are_shown_without_secrets(settings: Settings) -> None:
    """The list has every variable with its meaning, and masks keys and passwords."""
    shown = tidings(settings, "settings", "--json")

    rows = {row["variable"]: row for row in json.loads(shown.stdout)}
    assert rows["TIDINGS_PORT"]["description"]
    assert settings.operator_key is not None
    assert settings.operator_key.get_secret_value() not in shown.stdout


def test_schemas_are_printed(settings: Settings) -> None:
    """`tidings schemas` prints one JSON object with the schemas of docs/schemas."""
    done = tidings(settings, "schemas")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(schemas.all_schemas()))
    assert len(json.loads(done.stdout)) > 2
