"""The files that the processes leave in their home are for its owner alone, whatever the umask of whoever starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from stat import S_IMODE, S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

import httpx
from pydantic import SecretStr

from local.processes import free_port, polls
from settings import Settings, environment
from tests.api.conftest import OPERATOR_KEY, Api, Exchange
from tests.consumers.processes import kafka_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def process(settings: Settings, command: str) -> Iterator[None]:
    """Run a command whose parent lets everybody read what it makes; end it with SIGTERM, so that it writes what it leaves."""
    arguments = [sys.executable, "-m", "api", command]
    child = subprocess.Popen(arguments, env=environment(settings), stdout=subprocess.DEVNULL, umask=0)
    try:
        yield
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()


def trade(settings: Settings) -> None:
    """Trade once the server is ready."""
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=30) as client:
        for _ in polls(60):
            try:
                if client.get("/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                continue
        exchange = Exchange(None, Api(client, OPERATOR_KEY))  # type: ignore[arg-type]  # it runs elsewhere
        exchange.trader("100").place(exchange.market()["market_id"])


def open_to_others(home: Path) -> list[str]:
    """Return the files with another mode than 0600 and the folders with another one than 0700; there are some files.

    As root, others may pass through the home itself, for PostgreSQL's user; the programs of that user are no secret.
    """
    programs, of_home = home / "postgres" / "programs", 0o711 if os.geteuid() == 0 else 0o700
    found, files = [], 0
    for path in (home, *home.rglob("*")):
        status = path.lstat()
        if S_ISREG(status.st_mode):
            files, expected = files + 1, {0o600}
        elif S_ISDIR(status.st_mode):
            expected = {0o700, of_home} if path == home else {0o700}
        else:
            continue  # a socket, which the mode of its folder guards
        if S_IMODE(status.st_mode) not in expected and not path.is_relative_to(programs):
            found.append(f"{oct(status.st_mode)} {path.relative_to(home)}")
    assert files > 1, "nothing was left"
    return found


def test_serve_leaves_nothing_that_others_may_read(server_folder: Path) -> None:
    """Its database, its snapshots and indexes."""
    home = server_folder / "home"
    settings = Settings(home=home, port=free_port(), log_level="error", operator_key=SecretStr(OPERATOR_KEY))
    with process(settings, "serve"):
        trade(settings)
        assert open_to_others(home) == []
    assert open_to_others(home) == []


def test_the_parts_apart_leave_nothing_that_others_may_read(
    kafka: str, topic_prefix: str, database: str, tmp_path: Path
) -> None:
    """What engine, API and projector keep beside the log in Kafka."""
    home = tmp_path / "deep" / "home"
    more = {"dsn": database, "port": free_port(), "operator_key": SecretStr(OPERATOR_KEY), "log_level": "error"}
    settings = kafka_settings(home, kafka, topic_prefix).model_copy(update=more)
    with ExitStack() as stack:
        for command in ("engine", "projector", "api"):
            stack.enter_context(process(settings, command))
        trade(settings)
        assert open_to_others(home) == []
    assert open_to_others(home) == []
    assert S_IMODE(home.parent.stat().st_mode) & 0o066 == 0
