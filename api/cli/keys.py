"""`tidings keys create | list | revoke`: API keys, made without a server."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from api import key_store
from api.cli.command import DONE, NO, WRONG_USE, add_command, add_group, add_json, complain

if TYPE_CHECKING:
    from argparse import Namespace

    from psycopg import Connection

    from api.cli.command import Commands
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `keys` and its actions."""
    keys = add_group(commands, "keys", "API keys, made without a server")
    create = add_command(keys, "create", _create, "make a key and print it, once")
    create.add_argument(
        "--role", action="append", required=True, choices=key_store.ROLES, help="what it may do; may be repeated"
    )
    create.add_argument("--account", help="id or name; a trader's or reader's key needs one")
    create.add_argument("--name", default="", help="a name for people")
    create.add_argument(
        "--expires-at", metavar="TIME", help="the key works before this time, as 2027-01-31 or in RFC 3339"
    )
    create.add_argument(
        "--limits", metavar="KIND=RATE,...",
        help="requests a second of its own: writes, reads, costly_reads, refusals; 0 is no limit; none: as in the settings",
    )  # fmt: skip
    add_json(create)
    add_command(keys, "list", _list, "all keys, without their secrets", json=True)
    add_command(keys, "revoke", _revoke, "make a key useless, for ever").add_argument(
        "key_id", help="as `keys list` shows it"
    )


def _create(options: Namespace, settings: Settings) -> int:
    from api import key_limits
    from api.database import connect_migrated, with_database
    from api.http.rate_limits import rates_of

    try:
        rates = None if options.limits is None else rates_of(options.limits)
    except ValueError as error:
        complain(f"--limits: {error}")
        return WRONG_USE
    roles = [role for role in key_store.ROLES if role in options.role]
    if not {"trader", "reader"}.isdisjoint(roles) and not options.account:
        complain("a trader's or reader's key needs --account")
        return WRONG_USE
    try:
        expires_at = _time(options.expires_at)
    except ValueError as error:
        complain(f"--expires-at {options.expires_at}: {error}")
        return WRONG_USE
    with ExitStack() as stack:
        connection = connect_migrated(with_database(settings, stack), stack)
        account_id = None
        if options.account:
            account_id = _account_id(connection, options.account)
            if account_id is None:
                complain(f"no account (or more than one) is called {options.account}")
                return NO
        with connection.transaction():
            new = key_store.NewKey(roles, account_id, options.name, expires_at)
            secret, key = key_store.create(connection, new)
            if rates is not None:
                key_limits.give(connection, key.key_id, rates)
    print(json.dumps({"key": secret, **key_store.public(key)}) if options.json else secret)
    return DONE


def _list(options: Namespace, settings: Settings) -> int:
    from api.database import connect_migrated, with_database

    with ExitStack() as stack:
        connection = connect_migrated(with_database(settings, stack), stack)
        keys = [key_store.public(key) for key in key_store.every(connection)]
    if options.json:
        print(json.dumps(keys))
        return DONE
    for key in keys:
        state = "valid" if key["expires_at"] is None else f"expires {key['expires_at']}"
        state = f"revoked {key['revoked_at']}" if key["revoked_at"] else state
        used = f"used {key['last_used_at']}" if key["last_used_at"] else "never used"
        account = key["account_id"] or ""
        prefix = f"{key['prefix']}..."
        print(f"{key['key_id']}  {prefix:<11}  {','.join(key['roles']):<22} {state}  {used}  {account}  {key['name']}")
    return DONE


def _revoke(options: Namespace, settings: Settings) -> int:
    from api.database import connect_migrated, with_database

    with ExitStack() as stack:
        key = key_store.revoke(connect_migrated(with_database(settings, stack), stack), options.key_id)
    if key is None:
        complain("no such key")
        return NO
    return DONE


def _time(text: str | None) -> datetime | None:
    """Return the time in an option, None without it; raises ValueError for one that is no time, or over."""
    from messages.moments import parse_moment

    if text is None:
        return None
    found = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=parse_moment(text))
    if found <= datetime.now(UTC):
        raise ValueError("must be in the future")
    return found


def _account_id(connection: Connection, reference: str) -> str | None:
    from projections import accounts
    from projections.reading import UnknownProjection, read

    try:
        with read(connection, accounts.get_account) as as_of:
            account = accounts.get_account(connection, as_of, reference)
    except UnknownProjection:
        return None
    return account.account_id if account else None
