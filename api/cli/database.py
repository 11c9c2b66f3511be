"""Which PostgreSQL a command works on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from local.postgres import Postgres

if TYPE_CHECKING:
    from contextlib import ExitStack

    from settings import Settings

DATABASE: Final = "tidings"


def with_database(settings: Settings, stack: ExitStack) -> Settings:
    """Return settings that name a PostgreSQL: their own, or else a server under the home, held until the stack ends."""
    if settings.dsn is not None:
        return settings
    server = stack.enter_context(Postgres.start(settings.home / "postgres"))
    return settings.model_copy(update={"dsn": server.database(DATABASE)})
