"""Fixtures of the commands' tests: the settings of a running exchange, and a home with a log of its own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.database import DATABASE
from local.postgres import Postgres
from settings import Settings
from tests.api.cli.read_model_home import LOG, append

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.conftest import Exchange


@pytest.fixture
def settings(exchange: Exchange) -> Settings:
    """The settings of the running exchange."""
    return exchange.running.settings


@pytest.fixture(scope="module")
def home_server() -> Iterator[Postgres]:
    """The PostgreSQL of a home, with a log that no read model has folded yet."""
    home = Path(tempfile.mkdtemp(prefix="tidings-test-"))
    with Postgres.start(home / "postgres", own=home, settings={"fsync": "off"}, end_with_process=True) as server:
        append(server.database(DATABASE), LOG)
        yield server
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def home_settings(home_server: Postgres) -> Settings:
    """The settings of that home; they name no database."""
    return Settings(home=home_server.folder.parent)


@pytest.fixture(scope="module")
def home_dsn(home_server: Postgres) -> str:
    """The database in that home."""
    return home_server.dsn(DATABASE)
