"""Invitations: an admin makes one, and whoever has its secret opens an account with its credits and gets a key, once.

Neither the secret of an invitation nor a key is ever in a command or an event: only their hashes are, SHA-256 as hex digits.
The key becomes valid because the event says so (`projections.invitations`), so account, credits and key exist together or not
at all.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from domain.account import AccountOpened, CashDeposited, OpenAccount
from domain.account_rules import open_account
from domain.money import Credits, Time
from domain.rejections import Code, Rejection, invalid, reject
from domain.values import Value

USES_MAX: Final = 10_000
"""The most accounts that one invitation may open."""

# --- commands


class CreateInvitation(Value):
    """Let `uses` people open an account with `credits` each, before `expires_at`."""

    invitation_id: str
    secret_hash: str
    uses: int
    expires_at: Time
    credits: Credits = 0


class AcceptInvitation(Value):
    """Open an account with this name and make a key for it, with the secret of an invitation."""

    secret_hash: str
    account_id: str
    name: str
    key_id: str
    key_hash: str
    name_key: str = ""


class RevokeInvitation(Value):
    """Let nobody else in with an invitation. The accounts that it has opened stay, and so do their keys."""

    invitation_id: str


# --- events


class InvitationCreated(Value):
    """Whoever has the secret with this hash may open an account with `credits`: `uses` times, before `expires_at`."""

    TOPIC: ClassVar[str] = "InvitationCreated.v1"

    invitation_id: str
    secret_hash: str
    uses: int
    expires_at: Time
    credits: Credits


class InvitationAccepted(Value):
    """An invitation opened an account, with a key whose hash is `key_hash`. The opening and the deposit follow."""

    TOPIC: ClassVar[str] = "InvitationAccepted.v1"

    invitation_id: str
    secret_hash: str
    account_id: str
    key_id: str
    key_hash: str


class InvitationRevoked(Value):
    """An invitation opens no account from now on."""

    TOPIC: ClassVar[str] = "InvitationRevoked.v1"

    invitation_id: str
    secret_hash: str


InvitationEvent = InvitationCreated | InvitationAccepted | InvitationRevoked

# --- state


@dataclass(slots=True)
class Invitation:
    """The state of an invitation."""

    terms: InvitationCreated
    used: int = 0
    revoked: bool = False


def evolve_invitations(invitations: dict[str, Invitation], event: InvitationEvent) -> None:
    """Apply an event to the invitations, which are found by the hash of their secret."""
    if isinstance(event, InvitationCreated):
        invitations[event.secret_hash] = Invitation(event)
    elif isinstance(event, InvitationRevoked):
        invitations[event.secret_hash].revoked = True
    else:
        invitations[event.secret_hash].used += 1


# --- decide


def create_invitation(
    command: CreateInvitation, invitations: Mapping[str, Invitation], time: Time
) -> Sequence[InvitationCreated] | Rejection:
    """Return the new invitation, or why it is refused."""
    if not 1 <= command.uses <= USES_MAX:
        return invalid("uses", f"must be 1 to {USES_MAX}", given=command.uses)
    if command.expires_at <= time:
        return reject(
            Code.INVITATION_EXPIRED, "expires_at must be in the future", expires_at=command.expires_at, now=time
        )
    if command.secret_hash in invitations:
        return reject(Code.INVITATION_EXISTS, "another invitation has this secret")
    return [
        InvitationCreated(command.invitation_id, command.secret_hash, command.uses, command.expires_at, command.credits)
    ]


def revoke_invitation(
    command: RevokeInvitation, invitations: Mapping[str, Invitation]
) -> Sequence[InvitationRevoked] | Rejection:
    """Return the revocation, nothing if it has been revoked, or why it is refused. Looks at all invitations: it is rare."""
    for secret_hash, invitation in invitations.items():
        if invitation.terms.invitation_id == command.invitation_id:
            return [] if invitation.revoked else [InvitationRevoked(command.invitation_id, secret_hash)]
    return reject(Code.INVITATION_NOT_FOUND, "there is no such invitation")


def accept_invitation(
    command: AcceptInvitation,
    invitations: Mapping[str, Invitation],
    accounts: Collection[str],
    names: Mapping[str, str],
    time: Time,
) -> Sequence[InvitationAccepted | AccountOpened | CashDeposited] | Rejection:
    """Return the account, its credits and its key, or why the invitation opens none.

    Args:
        command: the acceptance.
        invitations: all invitations, by the hashes of their secrets.
        accounts: the ids that exist.
        names: the id of each account by the key of its name.
        time: the time now.
    """
    invitation = invitations.get(command.secret_hash)
    if invitation is None:
        return reject(Code.INVITATION_NOT_FOUND, "there is no such invitation")
    terms = invitation.terms
    if invitation.revoked:
        return reject(Code.INVITATION_REVOKED, "the invitation has been revoked")
    if time >= terms.expires_at:
        return reject(Code.INVITATION_EXPIRED, "the invitation has expired", expires_at=terms.expires_at, now=time)
    if invitation.used >= terms.uses:
        return reject(Code.INVITATION_USED_UP, "the invitation has been used up", uses=terms.uses)
    opened = open_account(OpenAccount(command.account_id, command.name, command.name_key), accounts, names)
    if isinstance(opened, Rejection):
        return opened
    accepted = InvitationAccepted(
        terms.invitation_id, command.secret_hash, command.account_id, command.key_id, command.key_hash
    )
    if not terms.credits:
        return [accepted, opened]
    return [accepted, opened, CashDeposited(command.account_id, terms.credits)]
