"""`tidings invitations create | list | revoke`: let people in, through a running server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from api.cli.command import DONE, NO, WRONG_USE, add_command, add_group, add_json, complain, server_url

if TYPE_CHECKING:
    import argparse
    from argparse import Namespace
    from collections.abc import Callable

    from api.cli.command import Commands
    from settings import Settings
    from tidings_client import Client


def add_commands(commands: Commands) -> None:
    """Declare `invitations` and its actions."""
    invitations = add_group(commands, "invitations", "links that let people open accounts, on a running server")
    create = add_command(invitations, "create", _create, "make a link and print it, once")
    create.add_argument("--uses", type=int, required=True, help="how many people it lets in")
    create.add_argument("--credits", default="0", help="credits of each new account (default 0)")
    create.add_argument("--expires-at", required=True, metavar="TIME", help="as 2027-01-31, or in RFC 3339")
    _add_server(create)
    _add_server(add_command(invitations, "list", _list, "all invitations, without their links"))
    revoke = add_command(invitations, "revoke", _revoke, "let nobody else in with a link")
    revoke.add_argument("invitation_id", help="as `list` shows it")
    _add_server(revoke)


def _add_server(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", help="the server (default: host and port of the settings)")
    command.add_argument("--key", help="an admin's key (default: TIDINGS_OPERATOR_KEY)")
    add_json(command)


def _create(options: Namespace, settings: Settings) -> int:
    from messages.moments import parse_moment
    from messages.wire import format_time
    from tidings_client import plain

    try:
        expires_at = format_time(parse_moment(options.expires_at))
    except ValueError as error:
        complain(f"--expires-at {options.expires_at}: {error}")
        return WRONG_USE

    def create(client: Client) -> None:
        made = client.create_invitation(uses=options.uses, credits=options.credits, expires_at=expires_at)
        link = f"{client.url}{made.link}"
        print(json.dumps({**plain(made), "link": link}) if options.json else link)

    return _ask(options, settings, create)


def _list(options: Namespace, settings: Settings) -> int:
    from tidings_client import plain

    def show(client: Client) -> None:
        rows = plain(list(client.list_invitations()))
        if options.json:
            print(json.dumps(rows))
            return
        for row in rows:
            used = f"{row['used']} of {row['uses']} used"
            end = f"revoked {row['revoked_at']}" if row["revoked_at"] else f"expires {row['expires_at']}"
            print(f"{row['invitation_id']}  {used}  {row['credits']} credits  {end}")

    return _ask(options, settings, show)


def _revoke(options: Namespace, settings: Settings) -> int:
    from tidings_client import plain

    def revoke(client: Client) -> None:
        revoked = client.revoke_invitation(options.invitation_id)
        print(json.dumps(plain(revoked)) if options.json else f"revoked {revoked.invitation_id}")

    return _ask(options, settings, revoke)


def _ask(options: Namespace, settings: Settings, question: Callable[[Client], None]) -> int:
    """Ask a server with an admin's key; return the exit code. Raises UnreachableError."""
    from tidings_client import ApiError, Client

    operator_key = settings.operator_key.get_secret_value() if settings.operator_key else None
    key: str | None = options.key or operator_key
    if key is None:
        complain("an admin's key is needed: --key or TIDINGS_OPERATOR_KEY")
        return WRONG_USE
    url = options.url or server_url(settings.host, settings.port)
    try:
        client = Client(url, key, retry_seconds=10, wait_for_server=False)
    except ValueError as error:
        complain(error)
        return WRONG_USE
    with client:
        try:
            question(client)
        except ApiError as error:
            complain(error)
            return NO
    return DONE
