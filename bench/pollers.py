"""CPU of the server for dashboards that ask for the same leaderboard once a second: `python -m bench.pollers [DASHBOARDS]`."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psutil

from local.processes import free_port

SECONDS: Final = 8
DASHBOARDS: Final = 1_000


async def poll(port: int, number: int, until: float, counts: dict[str, int]) -> None:
    """Ask once a second over one connection, as a browser does: with the tag of the last answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(number / DASHBOARDS)
    tag = ""
    while time.monotonic() < until:
        known = f"If-None-Match: {tag}\r\n" if tag else ""
        writer.write(
            f"GET /v1/leaderboard HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\n{known}\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
        await reader.readexactly(int(fields.get("content-length", 0)))
        tag = fields.get("etag", "")
        status = head.split(" ", 2)[1]
        counts[status] = counts.get(status, 0) + 1
        await asyncio.sleep(1)
    writer.close()


async def main(dashboards: int) -> None:
    """Start a server, poll it, and print the CPU of its HTTP process as a part of one core."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)  # noqa: ASYNC240  nothing else runs yet
        environment = os.environ | {
            "TIDINGS_HOME": home,
            "TIDINGS_PORT": str(port),
            "TIDINGS_ADDRESS_READS_PER_SECOND": "0",
            "TIDINGS_ADDRESS_CONNECTIONS_MAX": "4096",
            "TIDINGS_LOG_LEVEL": "warning",
        }
        command = [sys.executable, "-m", "api", "serve"]
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)  # noqa: ASYNC220, S603  its own
        try:
            for _ in range(300):
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(3)
            counts: dict[str, int] = {}
            until = time.monotonic() + SECONDS + 2
            polls = asyncio.gather(*(poll(port, number, until, counts) for number in range(dashboards)))
            await asyncio.sleep(2)
            process = psutil.Process(server.pid)
            before, began = process.cpu_times(), time.monotonic()
            await asyncio.sleep(SECONDS - 1)
            after, ended = process.cpu_times(), time.monotonic()
            await polls
            used = after.user + after.system - before.user - before.system
            print(json.dumps({"core": round(used / (ended - began), 3), "answers": counts}))
        finally:
            server.terminate()
            server.wait(20)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else DASHBOARDS))
