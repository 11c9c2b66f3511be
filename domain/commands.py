"""All commands that the exchange decides: a closed list, as `domain.events` is for what they leave in the log."""

from domain.account import DepositCash, OpenAccount, WithdrawCash
from domain.assignments import AssignPartition
from domain.invitations import AcceptInvitation, CreateInvitation, RevokeInvitation
from domain.market import DisputeMarket, MarketCommand, OpenMarket
from domain.orders import AmendOrder, CancelOrder, CancelOrders, MergeSets, PlaceOrder, SplitSets
from domain.story import PublishStory
from domain.transfers import TransferFunds

Command = (
    PublishStory
    | OpenMarket
    | MarketCommand
    | DisputeMarket
    | OpenAccount
    | DepositCash
    | WithdrawCash
    | CreateInvitation
    | AcceptInvitation
    | RevokeInvitation
    | PlaceOrder
    | CancelOrder
    | CancelOrders
    | AmendOrder
    | SplitSets
    | MergeSets
    | TransferFunds
    | AssignPartition
)
