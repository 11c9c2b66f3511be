"""The codes with which the rules can refuse each kind of command, for the OpenAPI document.

A test compares them with the rejections of a long random log, and every answer of the tests is held to them.
"""

from __future__ import annotations

from typing import Final

from domain.account import DepositCash, OpenAccount, WithdrawCash
from domain.assignments import AssignPartition
from domain.invitations import AcceptInvitation, CreateInvitation, RevokeInvitation
from domain.market import (
    ActivateMarket,
    AddLiquidity,
    ClarifyMarket,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    FinalizeMarket,
    HaltMarket,
    OpenMarket,
    ResumeMarket,
    UpholdMarket,
    VoidMarket,
)
from domain.orders import AmendOrder, CancelOrder, CancelOrders, MergeSets, PlaceOrder, SplitSets
from domain.rejections import Code
from domain.story import PublishStory
from domain.transfers import TransferFunds

_SPENDING: Final = frozenset({Code.ACCOUNT_NOT_FOUND, Code.INSUFFICIENT_FUNDS, Code.ACCOUNT_OVERDRAWN})
_MARKET: Final = frozenset({Code.MARKET_NOT_FOUND, Code.MARKET_STATUS})
_PAYOUTS: Final = _MARKET | {Code.UNKNOWN_OUTCOME, Code.INVALID_PAYOUTS}
_OPENING: Final = frozenset({Code.CLOSE_TIME_PASSED, Code.MARKET_EXISTS})
_OPEN_ORDER: Final = frozenset({Code.ACCOUNT_NOT_FOUND, Code.ORDER_NOT_OPEN, Code.NOT_ORDER_OWNER})
_TRADING: Final = _SPENDING | {
    Code.MARKET_NOT_ACTIVE,
    Code.INSUFFICIENT_SHARES,
    Code.INVALID_PRICE,
    Code.ORDER_TOO_SMALL,
    Code.POST_ONLY_WOULD_CROSS,
    Code.TOO_MANY_ORDERS,
    Code.BOOK_FULL,
}

REFUSALS: Final[dict[type, frozenset[Code]]] = {
    PublishStory: _OPENING | {Code.STORY_EXISTS},
    OpenMarket: _OPENING | {Code.STORY_NOT_FOUND, Code.TOO_MANY_MARKETS},
    ActivateMarket: _MARKET | {Code.CLOSE_TIME_PASSED},
    HaltMarket: _MARKET,
    ResumeMarket: _MARKET,
    CloseMarket: _MARKET,
    ClarifyMarket: _MARKET,
    AddLiquidity: _MARKET,
    DetermineMarket: _PAYOUTS,
    DisputeMarket: _MARKET | _SPENDING | {Code.DISPUTE_WINDOW_CLOSED, Code.BOND_TOO_SMALL},
    UpholdMarket: _MARKET,
    FinalizeMarket: _MARKET | {Code.DISPUTE_WINDOW_OPEN},
    CorrectMarket: _PAYOUTS,
    VoidMarket: _MARKET,
    OpenAccount: frozenset({Code.ACCOUNT_EXISTS, Code.TOO_MANY_ACCOUNTS}),
    CreateInvitation: frozenset({Code.INVITATION_EXISTS, Code.INVITATION_EXPIRED}),
    AcceptInvitation: frozenset(
        {
            Code.INVITATION_NOT_FOUND,
            Code.INVITATION_EXPIRED,
            Code.INVITATION_REVOKED,
            Code.INVITATION_USED_UP,
            Code.ACCOUNT_EXISTS,
        }
    ),
    RevokeInvitation: frozenset({Code.INVITATION_NOT_FOUND}),
    DepositCash: frozenset({Code.ACCOUNT_NOT_FOUND}),
    WithdrawCash: _SPENDING | {Code.WITHDRAWAL_HELD},
    PlaceOrder: _TRADING
    | {
        Code.MARKET_NOT_FOUND,
        Code.UNKNOWN_OUTCOME,
        Code.ORDER_EXPIRED,
        Code.REDUCE_ONLY,
        Code.FOK_NOT_FILLED,
        Code.SLIPPAGE,
    },
    AmendOrder: _TRADING | _OPEN_ORDER,
    CancelOrder: _OPEN_ORDER,
    CancelOrders: frozenset({Code.ACCOUNT_NOT_FOUND, Code.MARKET_NOT_FOUND}),
    SplitSets: _SPENDING | {Code.MARKET_NOT_FOUND, Code.MARKET_NOT_ACTIVE},
    MergeSets: frozenset(
        {Code.ACCOUNT_NOT_FOUND, Code.MARKET_NOT_FOUND, Code.MARKET_NOT_ACTIVE, Code.INSUFFICIENT_SHARES}
    ),
    TransferFunds: _SPENDING | {Code.WITHDRAWAL_HELD, Code.BUSY},
    AssignPartition: frozenset(),
}
"""The codes by the type of the command, besides INVALID_FIELD and COMMAND_ID_REUSED, which any command can meet."""
