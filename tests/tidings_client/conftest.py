"""The exchange that the client talks to, and clients of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.api.conftest import OPERATOR_KEY, Exchange, _contract, exchange
from tidings_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["_contract", "exchange"]

_numbers = itertools.count(1)


@pytest.fixture
def admin(exchange: Exchange) -> Iterator[Client]:
    """A client with the operator's key."""
    with Client(exchange.running.url, OPERATOR_KEY, retry_seconds=20) as client:
        yield client


@pytest.fixture
def trader(exchange: Exchange, admin: Client) -> Iterator[Client]:
    """A client of an account with 100 credits."""
    account = admin.open_account(f"client {next(_numbers)}")
    admin.deposit(account.account_id, "100")
    key = admin.create_key(roles=["trader"], account=account.account_id).key
    with Client(exchange.running.url, key, retry_seconds=20) as client:
        yield client
