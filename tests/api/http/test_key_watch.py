"""A revoked key stops working within a second in every process, whether PostgreSQL tells of it or not."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from api import key_store
from api.http.auth import CACHE_SECONDS, Keys
from api.http.errors import ApiError
from api.http.key_watch import KeyWatch
from local.processes import polls
from migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator


class Process:
    """The keys of a process, and the number of its queries for them."""

    def __init__(self, database: str, stack: ExitStack) -> None:
        self.queries = 0
        self.pool = stack.enter_context(ConnectionPool(database, min_size=1, max_size=2))
        self.keys = Keys(self.pool)
        self.watch = KeyWatch(database, self.keys)

    def works(self, secret: str) -> bool:
        """Return whether a key works."""
        try:
            return asyncio.run(self.keys.look_up(f"Bearer {secret}")) is not None
        except ApiError:
            return False

    @property
    def is_cached(self) -> bool:
        """Whether the process has keys in its cache."""
        return bool(self.keys._cache)


@pytest.fixture
def process(database: str) -> Iterator[Process]:
    """A process that watches."""
    with psycopg.connect(database, autocommit=True) as connection:
        migrate(connection)
    with ExitStack() as stack:
        process = Process(database, stack)
        process.watch.start()
        stack.callback(process.watch.stop)
        assert any(process.keys.heard_at > 0 for _ in polls(20))
        yield process


def revoked_after(process: Process, database: str, secret: str, key_id: str) -> float:
    """Revoke a key as another process would; return the seconds until it does not work here."""
    with psycopg.connect(database, autocommit=True) as connection:
        key_store.revoke(connection, key_id)
    began = time.monotonic()
    assert any(not process.works(secret) for _ in polls(20))
    return time.monotonic() - began


def test_another_process_tells(process: Process, database: str) -> None:
    """Long before its place in the cache would end."""
    assert CACHE_SECONDS > 20
    with psycopg.connect(database, autocommit=True) as connection:
        secret, key = key_store.create(connection, key_store.NewKey(("admin",)))
    assert secret is not None
    assert process.works(secret)
    assert process.is_cached

    assert revoked_after(process, database, secret, key.key_id) < 2  # it is 0.3 s on a machine with nothing else to do


@pytest.mark.parametrize("notify", [True, False])
def test_nobody_tells(process: Process, database: str, *, notify: bool) -> None:
    """The connection of the watch ends again and again, or its thread is stopped: keys are looked up again."""
    with psycopg.connect(database, autocommit=True) as connection:
        secret, key = key_store.create(connection, key_store.NewKey(("admin",)))
        assert secret is not None
        assert process.works(secret)
        if notify:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query IN ('SELECT 1', 'LISTEN tidings_keys')"
            )
        else:
            process.watch._stopping.set()

    assert revoked_after(process, database, secret, key.key_id) < 3


def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_kept(process: Process, database: str) -> None:
    """It was found valid, and the news came before it was put into the cache."""
    with psycopg.connect(database, autocommit=True) as connection:
        secret, _ = key_store.create(connection, key_store.NewKey(("admin",)))
    assert secret is not None
    find = process.keys._find

    def found_too_early(secret: str) -> key_store.Key | None:
        key = find(secret)
        process.keys.forget()
        return key

    process.keys._find = found_too_early  # type: ignore[method-assign]
    assert process.works(secret)
    assert not process.is_cached
