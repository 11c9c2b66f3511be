"""Invitations: so many accounts with so many credits, each with a key, and not one more."""

from __future__ import annotations

from domain.account import AccountOpened, CashDeposited
from domain.invitations import (
    USES_MAX,
    AcceptInvitation,
    CreateInvitation,
    InvitationAccepted,
    InvitationCreated,
    InvitationRevoked,
    RevokeInvitation,
)
from domain.money import MICRO, MONEY_MAX
from domain.partition import CommandHadNoEffect
from domain.rejections import Code
from tests.domain.scenario import START, Scenario

END = START + 1_000
HASH = "ab" * 32


def invitation(uses: int = 1, credits: int = 100 * MICRO) -> CreateInvitation:  # noqa: A002  the name of the field
    """Return an invitation."""
    return CreateInvitation("iv", HASH, uses, END, credits)


def accept(name: str, secret_hash: str = HASH) -> AcceptInvitation:
    """Return the acceptance of somebody."""
    return AcceptInvitation(secret_hash, f"ac_{name}", name, f"key_{name}", "cd" * 32, name)


def test_an_account_its_credits_and_its_key_come_together() -> None:
    """In one append; without credits there is no deposit."""
    scenario = Scenario()
    scenario.when(invitation()).then(InvitationCreated)
    scenario.when(accept("ada")).then(InvitationAccepted, AccountOpened, CashDeposited)
    assert scenario.cash("ac_ada") == 100 * MICRO

    scenario = Scenario().given(invitation(credits=0))
    scenario.when(accept("ada")).then(InvitationAccepted, AccountOpened)


def test_the_last_use_has_one_winner() -> None:
    """Whoever comes after it changes nothing; a refused name uses nothing up."""
    scenario = Scenario().given(invitation(uses=2), accept("ada"))
    scenario.when(accept("ada")).rejected(Code.ACCOUNT_EXISTS)
    scenario.given(accept("bob"))
    scenario.when(accept("cyd")).rejected(Code.INVITATION_USED_UP, uses=2)
    assert set(scenario.exchange.accounts) == {"ac_ada", "ac_bob"}


def test_what_is_refused() -> None:
    """An unknown or expired invitation, one that expires at once, that is for nobody, or whose secret is taken."""
    scenario = Scenario()
    scenario.when(accept("ada")).rejected(Code.INVITATION_NOT_FOUND)
    for uses in (0, USES_MAX + 1):
        scenario.when(invitation(uses)).rejected(Code.INVALID_FIELD, field="uses")
    scenario.given(invitation(5, MONEY_MAX))
    scenario.when(invitation()).rejected(Code.INVITATION_EXISTS)
    scenario.given(accept("ada"))
    scenario.when(accept("bob")).rejected(Code.INVALID_FIELD, field="credits")
    scenario.when(accept("cyd"), at=END).rejected(Code.INVITATION_EXPIRED, expires_at=END)
    scenario.when(CreateInvitation("iv2", "cd" * 32, 1, END)).rejected(Code.INVITATION_EXPIRED)


def test_a_revoked_invitation_opens_nothing() -> None:
    """What it has opened stays; revoking it again changes nothing."""
    scenario = Scenario().given(invitation(uses=2), accept("ada"))
    scenario.when(RevokeInvitation("another")).rejected(Code.INVITATION_NOT_FOUND)
    scenario.when(RevokeInvitation("iv")).then(InvitationRevoked)
    scenario.when(accept("bob")).rejected(Code.INVITATION_REVOKED)
    scenario.when(RevokeInvitation("iv")).then(CommandHadNoEffect)
    scenario.when(invitation()).rejected(Code.INVITATION_EXISTS)
    assert set(scenario.exchange.accounts) == {"ac_ada"}
