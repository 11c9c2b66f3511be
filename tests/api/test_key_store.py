"""API keys in the database: the first key follows the settings, and what is shown of a key does not give it away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from api import key_store
from migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = "an-old-secret-of-somebody", "a-new-secret-of-somebody"


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    """A connection to a database with the tables of keys."""
    with psycopg.connect(database, autocommit=True) as connection:
        migrate(connection)
        yield connection


def test_another_key_in_the_settings_ends_the_old_one(connection: psycopg.Connection) -> None:
    """Also the random one of the first start; keys that people made stay. The same settings change nothing."""
    first = key_store.make_first_key(connection, None)
    made, _ = key_store.create(connection, key_store.NewKey(("admin",)))
    assert first is not None
    assert made is not None
    for secret in (OLD, OLD, NEW, None):
        key_store.make_first_key(connection, secret)
        valid = {text for text in (first, made, OLD, NEW) if key_store.find(connection, text) is not None}
        assert valid == {made, secret or NEW}

    key_store.make_first_key(connection, OLD)  # it was revoked, and stays so
    assert key_store.find(connection, OLD) is None


def test_nothing_that_is_shown_follows_from_a_chosen_key(connection: psycopg.Connection) -> None:
    """Neither its beginning nor its id, which is another one for the same secret in another database."""
    key_store.make_first_key(connection, OLD)
    (key,) = key_store.every(connection)
    connection.execute("DELETE FROM public.api_keys")
    key_store.make_first_key(connection, OLD)
    (again,) = key_store.every(connection)

    assert key.prefix == again.prefix == ""
    assert key.key_id != again.key_id


def test_a_key_expires_and_knows_its_last_use(connection: psycopg.Connection) -> None:
    """Its use is noted once a minute."""
    secret, key = key_store.create(connection, key_store.NewKey(("admin",)))
    assert secret is not None
    assert key.last_used_at is None

    def last_use() -> object:
        return key_store.every(connection)[0].last_used_at

    key_store.find(connection, secret)
    used = last_use()
    key_store.find(connection, secret)
    assert used is not None
    assert last_use() == used
    connection.execute("UPDATE public.api_keys SET last_used_at = now() - interval '2 minutes'")
    key_store.find(connection, secret)
    assert last_use() is not None
    assert last_use() != used
    connection.execute("UPDATE public.api_keys SET expires_at = now() + interval '1 hour'")
    assert key_store.find(connection, secret) is not None
    connection.execute("UPDATE public.api_keys SET expires_at = now() - interval '1 second'")
    assert key_store.find(connection, secret) is None


def test_only_a_valid_key_of_a_trader_signs_orders(connection: psycopg.Connection) -> None:
    """A key that has ended signs nothing any more, nor does a key that may only read."""
    _, trader = key_store.create(connection, key_store.NewKey(["trader"], "ac_1"))
    _, reader = key_store.create(connection, key_store.NewKey(["reader"], "ac_1"))
    found = key_store.signer(connection, trader.key_id)
    assert found is not None
    assert found[1] == "ac_1"
    assert key_store.signer(connection, reader.key_id) is None

    connection.execute("UPDATE public.api_keys SET expires_at = now() - interval '1 second'")
    assert key_store.signer(connection, trader.key_id) is None
