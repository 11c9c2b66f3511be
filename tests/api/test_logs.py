"""Log lines: with `TIDINGS_LOG_FORMAT=json` each line that a program prints is JSON, whoever wrote it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from local.processes import free_port
from settings import Settings, environment
from tests.api.command_line import tidings

if TYPE_CHECKING:
    from pathlib import Path

# A program that logs with everything that writes lines: structlog, logging, warnings, threads, destructors, an exception.
EVERYTHING = """
import logging, sys, threading, warnings
from api import logs
from settings import Settings
import structlog
logs.configure(Settings())
logs.log_everything()
structlog.get_logger("ours").info("from_structlog", number=1, odd=object())
logging.getLogger("uvicorn.error").error("from %s", "uvicorn")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("kafka").exception("with a traceback")
    structlog.get_logger("ours").exception("ours_with_a_traceback")
warnings.warn("from a warning\\nof two lines")
thread = threading.Thread(target=lambda: {}["in a thread"])
thread.start()
thread.join()
class Bad:
    def __del__(self):
        raise ValueError("in a destructor")
Bad()
logs.complain("a complaint\\nof two lines")
logs.announce("an announcement", url="u")
raise SystemError("at the end")
"""


def lines_of(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects, one of each line."""
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_json() -> None:
    """All have a level and an event; tracebacks are inside."""
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING],
        env=environment(Settings(log_format="json")),
        capture_output=True,
        text=True,
        check=False,
    )

    lines = lines_of(done.stderr)
    assert all({"event", "level"} <= line.keys() for line in [*lines, *lines_of(done.stdout)])
    text = [f"{line['event']} {line.get('exception', '')}" for line in lines]
    for part in (
        "from_structlog", "from uvicorn", "with a traceback Traceback", "ours_with_a_traceback Traceback",
        "from a warning", "'in a thread'", "in a destructor", "a complaint\nof two lines", "at the end Traceback",
    ):  # fmt: skip
        assert any(part in each for each in text), part
    assert lines_of(done.stdout) == [{"event": "an announcement", "level": "info", "url": "u"}]
    assert done.returncode == 1


@pytest.mark.parametrize("no_color", ["", "1"])
def test_text_for_people_has_no_colors_in_a_file(no_color: str) -> None:
    """Colors are for terminals; a complaint begins with the program's name."""
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING],
        env=environment(Settings(log_format="console")) | {"NO_COLOR": no_color},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "\x1b" not in done.stderr
    assert "tidings: a complaint" in done.stderr
    assert done.stdout == "an announcement\n"


@pytest.mark.timeout(120)
def test_a_server_prints_only_json_from_its_start_to_its_end(server_folder: Path) -> None:
    """The first start makes a PostgreSQL and a key; requests, also a malformed one, and the end add lines."""
    settings = Settings(home=server_folder, port=free_port(), log_format="json")
    with (server_folder / "err").open("w") as err:
        child = subprocess.Popen(
            [sys.executable, "-m", "api", "serve"],
            env=environment(settings), stdout=subprocess.PIPE, stderr=err, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        first, second = (json.loads(child.stdout.readline()) for _ in range(2))
        assert first["url"] == f"http://127.0.0.1:{settings.port}"
        assert second["key"].startswith("tdg_")
        wrong = tidings(settings, "load", "missing.json", "--key", "k")
        taken = tidings(settings, "serve")
        _send_nonsense(settings.port)
        child.send_signal(signal.SIGTERM)
        assert child.stdout.read() == ""
        assert child.wait(30) == 0
        child.stdout.close()

    lines = lines_of((server_folder / "err").read_text())
    assert "stopping" in {line["event"] for line in lines}
    assert any("HTTP request" in line["event"] for line in lines), "uvicorn complains of the nonsense"
    assert "missing.json" in lines_of(wrong.stderr)[0]["event"]
    assert f"port {settings.port}" in lines_of(taken.stderr)[0]["event"]
    assert taken.returncode == 3


def test_a_complaint_about_settings_is_json() -> None:
    """Also where the settings are invalid, and where one is not known."""
    variables = environment(Settings(log_format="json")) | {"TIDINGS_PORT": "many", "TIDINGS_PORTS": "1"}
    for change in ({}, {"TIDINGS_PORT": "1"}):
        done = subprocess.run(
            [sys.executable, "-m", "api", "settings"],
            env=variables | change, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "TIDINGS_PORT" in lines_of(done.stderr)[0]["event"]


def _send_nonsense(port: int) -> None:
    """Send what is no HTTP, which uvicorn logs."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        connection.recv(1000)
