"""Invitations, how often each was used, and the keys that they made.

`api.key_store` takes the keys from here: a key of an invitation is valid once its event is folded.
"""

from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain.invitations import InvitationAccepted, InvitationCreated, InvitationRevoked
from domain.money import Credits, Time
from projections.forms import Count
from projections.machine.batch import Batch
from projections.machine.projection import Projection
from projections.machine.table import Table
from projections.machine.workspace import Workspace
from projections.reading import AsOf, query


class InvitationRow(NamedTuple):
    """An invitation; `position` and `created_at` are those of its event."""

    partition: int
    invitation_id: str
    secret_hash: str
    uses: int
    expires_at: int
    credits: int
    position: int
    created_at: int


class InvitedKey(NamedTuple):
    """A key that an invitation made, with the hash of its secret as hex digits."""

    partition: int
    key_id: str
    key_hash: str
    account_id: str
    invitation_id: str
    position: int
    time: int


class Revocation(NamedTuple):
    """The end of an invitation before its time."""

    partition: int
    invitation_id: str
    position: int
    time: int


class ListedInvitation(NamedTuple):
    """An invitation, without its secret; `used` counts the accounts that it has opened; `revoked_at` null: nobody has."""

    invitation_id: str
    uses: Count
    used: Count
    expires_at: Time
    credits: Credits
    position: Count
    created_at: Time
    revoked_at: Time | None

    @property
    def key(self) -> tuple[int, str]:
        """Its place in lists, newest first."""
        return self.position, self.invitation_id


INVITATIONS = Table("invitations", InvitationRow, key=["secret_hash"], indexes=["position"])
KEYS = Table("invited_keys", InvitedKey, key=["key_hash"], indexes=["invitation_id, position"])

REVOCATIONS = Table("revoked_invitations", Revocation, key=["invitation_id"])

KINDS = frozenset({InvitationCreated, InvitationAccepted, InvitationRevoked})


def fold(batch: Batch, workspace: Workspace) -> None:
    """Add every invitation, every key and every revocation."""
    invitations, keys, revocations = workspace.rows(INVITATIONS), workspace.rows(KEYS), workspace.rows(REVOCATIONS)
    for recorded in batch.of(KINDS):
        match recorded.event:
            case InvitationCreated() as event:
                invitations.append(
                    InvitationRow(
                        partition=batch.partition,
                        invitation_id=event.invitation_id,
                        secret_hash=event.secret_hash,
                        uses=event.uses,
                        expires_at=event.expires_at,
                        credits=event.credits,
                        position=recorded.position,
                        created_at=recorded.time,
                    )
                )
            case InvitationAccepted() as event:
                keys.append(
                    InvitedKey(
                        partition=batch.partition,
                        key_id=event.key_id,
                        key_hash=event.key_hash,
                        account_id=event.account_id,
                        invitation_id=event.invitation_id,
                        position=recorded.position,
                        time=recorded.time,
                    )
                )
            case InvitationRevoked(invitation_id=invitation_id):
                revocations.append(Revocation(batch.partition, invitation_id, recorded.position, recorded.time))
            case _:
                pass


PROJECTION = Projection("invitations", 2, (INVITATIONS, KEYS, REVOCATIONS), fold, scope="all", weight=0.1)

_USED = "(SELECT count(*) FROM invited_keys k WHERE k.invitation_id = i.invitation_id AND k.position <= %(at)s)"
_REVOKED = "(SELECT time FROM revoked_invitations r WHERE r.invitation_id = i.invitation_id AND r.position <= %(at)s)"
_COLUMNS = f"i.invitation_id, i.uses, {_USED}, i.expires_at, i.credits, i.position, i.created_at, {_REVOKED}"


@query("invitations")
def get_invitation(connection: Connection, as_of: AsOf, secret_hash: str) -> ListedInvitation | None:
    """Return the invitation with this hash of its secret, or None."""
    with connection.cursor(row_factory=args_row(ListedInvitation)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM invitations i WHERE secret_hash = %(hash)s AND position <= %(at)s",
            {"hash": secret_hash, "at": as_of.position},
        ).fetchone()


@query("invitations")
def list_invitations(
    connection: Connection, as_of: AsOf, *, limit: int = 50, after: tuple[int, str] | None = None
) -> list[ListedInvitation]:
    """Return invitations, newest first."""
    before = "AND (position, invitation_id) < (%(p)s, %(i)s)" if after else ""
    position, invitation_id = after or (0, "")
    values = {"at": as_of.position, "p": position, "i": invitation_id, "limit": limit}
    with connection.cursor(row_factory=args_row(ListedInvitation)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM invitations i WHERE position <= %(at)s {before} "
            "ORDER BY position DESC, invitation_id DESC LIMIT %(limit)s",
            values,
        ).fetchall()
