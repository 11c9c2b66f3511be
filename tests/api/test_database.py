"""Connections to the database: the pool hands out none that PostgreSQL has ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg

from api.database import dsn_of
from local.processes import polls

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

READS = 20


def end_connections(exchange: Exchange) -> int:
    """Let PostgreSQL end all connections of the pool, which are idle; return their number."""
    pool = exchange.running.dependencies.reads
    with ExitStack() as stack:
        taken = [stack.enter_context(pool.connection()) for _ in range(pool.max_size)]
        pids = [each.info.backend_pid for each in taken]
    with psycopg.connect(dsn_of(exchange.running.settings), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [pids])
        for _ in polls(10):
            if connection.execute("SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)", [pids]).fetchone() is None:
                break
    return len(pids)


def test_reads_survive_the_end_of_all_connections(exchange: Exchange) -> None:
    """One after the other and at the same time, every read is answered."""
    position = exchange.market()["position"]
    assert exchange.api.get("/markets", min_position=position).status_code == 200

    assert end_connections(exchange) > 1
    assert [exchange.api.get("/markets").status_code for _ in range(READS)] == [200] * READS

    assert end_connections(exchange) > 1
    with ThreadPoolExecutor(READS) as threads:
        answers = threads.map(lambda _: exchange.api.get("/stories").status_code, range(READS))
    assert list(answers) == [200] * READS
