"""The command that left events in the log, rebuilt from these events alone.

The events of a command that was accepted have all its fields. A command that was refused, or that changed nothing, is in its
event as it was sent (`body`). Tests rebuild every type of command, and hold each to its digest.
"""

from collections.abc import Sequence

import msgspec

from domain.account import AccountOpened, CashDeposited, CashWithdrawn, DepositCash, OpenAccount, WithdrawCash
from domain.assignments import AssignPartition, PartitionAssigned
from domain.events import Event, Recorded
from domain.invitations import (
    AcceptInvitation,
    CreateInvitation,
    InvitationAccepted,
    InvitationCreated,
    InvitationRevoked,
    RevokeInvitation,
)
from domain.market import (
    ActivateMarket,
    AddLiquidity,
    ClarifyMarket,
    CloseMarket,
    CorrectMarket,
    DetermineMarket,
    DisputeMarket,
    DisputeUpheld,
    FinalizeMarket,
    HaltMarket,
    LiquidityAdded,
    MarketActivated,
    MarketClosed,
    MarketCorrected,
    MarketDetermined,
    MarketDisputed,
    MarketDrafted,
    MarketFinalized,
    MarketHalted,
    MarketResumed,
    MarketVoided,
    OpenMarket,
    ResolutionClarified,
    ResumeMarket,
    SetsBurned,
    SetsMinted,
    UpholdMarket,
    VoidMarket,
)
from domain.market_evolution import uniform_prices
from domain.orders import (
    DEFAULT_TIME_IN_FORCE,
    AmendOrder,
    CancelOrder,
    CancelOrders,
    MergeSets,
    OrderAmended,
    OrderCanceled,
    OrderPlaced,
    OrderReduced,
    PlaceOrder,
    SplitSets,
)
from domain.partition import CommandHadNoEffect, CommandRejected
from domain.rejections import Code
from domain.story import PublishStory, StoryPublished
from domain.transfers import FundsSent, TransferFunds
from domain.values import NO_JSON
from messages.command_types import Command, Envelope, Submitted
from messages.commands import body_and_digest, parse_command
from messages.fields import InvalidCommand
from messages.names import derived_slug

_OF_ENVELOPE = frozenset({"at", "reply_to", "then"})


def original_command(events: Sequence[Recorded]) -> Submitted | None:
    """Return a command as it reached the engine, or None if the log does not keep its body.

    A field that the sender gave its default may be left out; that makes the same command. `digest` is made anew from what is
    returned: if it equals that of the first event, nothing is missing. `at` is the time at which the command was decided.
    `reply_to` is not in the log.

    Args:
        events: the events of one command in the order of the log, from its first one on. Those that it left later, step by
            step, may be missing.

    Raises:
        ValueError: no command left these events: they fell due, or only end a batch.
    """
    first = events[0]
    head = first.event
    if isinstance(head, CommandRejected | CommandHadNoEffect):
        submitted = _of_body(first.command_id, head)
        return None if submitted is None else msgspec.structs.replace(submitted, at=first.time)
    command = None if first.digest is None else _accepted([recorded.event for recorded in events])
    if command is None:
        raise ValueError(f"no command left the events from position {first.position} on")
    body, digest = body_and_digest(command)
    return Submitted(first.command_id, command, digest, first.time, None, type(command).__name__, body)


def _of_body(command_id: str, event: CommandRejected | CommandHadNoEffect) -> Submitted | None:
    if event.body == NO_JSON:
        return None
    submitted = parse_command(msgspec.json.encode(Envelope(command_id, event.command, event.body)))
    if isinstance(event, CommandRejected) and event.code is Code.INVALID_FIELD:
        field = str(event.details.get("field"))
        if field in _OF_ENVELOPE:  # what was wrong is not in the body
            submitted.command = InvalidCommand(field, event.message.removeprefix(f"{field} "))
    return submitted


def _accepted(events: Sequence[Event]) -> Command | None:
    for event in events:
        command = _of_trader(event) or _of_opening(event, events) or _of_operator(event)
        if command is not None:
            return command
    return None


def _of_trader(event: Event) -> Command | None:  # noqa: C901  one case an event
    """Return the command of an account that this event alone tells."""
    match event:
        case OrderPlaced():
            return _place_order(event)
        case OrderAmended() | OrderReduced():
            price = None if "limit_price" in event.unnamed else event.limit_price
            return AmendOrder(
                event.account_id, event.order_id, price, None if "quantity" in event.unnamed else event.quantity
            )
        case OrderCanceled(reason="trader", scope="order"):
            return CancelOrder(event.account_id, event.order_id)
        case OrderCanceled(reason="trader"):
            return CancelOrders(event.account_id, event.market_id if event.scope == "market" else None)
        case SetsMinted():
            return SplitSets(event.account_id, event.market_id, event.amount)
        case SetsBurned():
            return MergeSets(event.account_id, event.market_id, event.amount)
        case CashDeposited():
            return DepositCash(event.account_id, event.amount)
        case CashWithdrawn():
            return WithdrawCash(event.account_id, event.amount)
        case FundsSent():
            amount = event.amount if event.requested is None else event.requested
            return TransferFunds(event.account_id, event.to_partition, amount, event.at_least, event.share)
        case AccountOpened():
            return OpenAccount(event.account_id, event.name, event.name_key)
        case MarketDisputed():
            bond = None if "bond" in event.unnamed else event.bond
            return DisputeMarket(event.market_id, event.account_id, event.reason, bond)
        case _:
            return None


def _place_order(event: OrderPlaced) -> PlaceOrder:
    default = event.time_in_force == DEFAULT_TIME_IN_FORCE[event.type]
    return PlaceOrder(
        account_id=event.account_id,
        market_id=event.market_id,
        order_id=event.order_id,
        client_order_id=event.client_order_id,
        outcome=event.outcome,
        side=event.side,
        type=event.type,
        quantity=event.quantity if event.requested_quantity is None else event.requested_quantity,
        spend=event.spend,
        limit_price=event.limit_price,
        time_in_force=None if default else event.time_in_force,
        expires_at=event.expires_at,
        post_only=event.post_only,
        reduce_only=event.reduce_only,
        max_cost=event.max_cost,
        min_proceeds=event.min_proceeds,
        self_trade_prevention=event.self_trade_prevention,
    )


def _of_opening(event: Event, events: Sequence[Event]) -> Command | None:
    """Return the command of an opening, an assignment or an invitation; several events may tell it."""
    match event:
        case StoryPublished():
            return PublishStory(
                story_id=event.story_id,
                slug=None if event.unnamed else event.slug,
                title=event.title,
                body=event.body,
                category=event.category,
                published_at=event.published_at,
                source_url=event.source_url,
                markets=tuple(
                    _open_market(drafted, events) for drafted in events if isinstance(drafted, MarketDrafted)
                ),
                derived_slug=derived_slug(event.title, "story", event.story_id) if event.unnamed else "",
            )
        case MarketDrafted():
            return _open_market(event, events)
        case InvitationCreated():
            return CreateInvitation(event.invitation_id, event.secret_hash, event.uses, event.expires_at, event.credits)
        case InvitationRevoked():
            return RevokeInvitation(event.invitation_id)
        case InvitationAccepted():
            (opened,) = (other for other in events if isinstance(other, AccountOpened))
            return AcceptInvitation(
                event.secret_hash, event.account_id, opened.name, event.key_id, event.key_hash, opened.name_key
            )
        case PartitionAssigned():
            wish = event.partition if event.wished else None
            return AssignPartition(event.kind, event.name, wish, event.name_key)
        case _:
            return None


def _open_market(event: MarketDrafted, events: Sequence[Event]) -> OpenMarket:
    uniform = event.initial_prices == uniform_prices(len(event.outcomes))
    return OpenMarket(
        market_id=event.market_id,
        story_id=event.story_id,
        slug=None if event.unnamed else event.slug,
        question=event.question,
        outcomes=event.outcomes,
        subsidy=event.subsidy,
        close_time=event.close_time,
        resolution_source=event.resolution_source,
        initial_prices=() if uniform else event.initial_prices,
        fee_rate=event.fee_rate,
        dispute_seconds=event.dispute_seconds,
        dispute_bond=event.dispute_bond,
        derived_slug=derived_slug(event.question, "market", event.market_id) if event.unnamed else "",
        draft=not any(isinstance(other, MarketActivated) and other.market_id == event.market_id for other in events),
    )


def _of_operator(event: Event) -> Command | None:  # noqa: C901  one case an event
    """Return the command to a market that this event alone tells."""
    match event:
        case MarketActivated():
            return ActivateMarket(event.market_id)
        case MarketHalted():
            return HaltMarket(event.market_id)
        case MarketResumed():
            return ResumeMarket(event.market_id)
        case MarketClosed():
            return CloseMarket(event.market_id)
        case ResolutionClarified():
            return ClarifyMarket(event.market_id, event.resolution_source)
        case LiquidityAdded():
            return AddLiquidity(event.market_id, event.amount)
        case MarketDetermined():
            return DetermineMarket(event.market_id, event.payouts, event.evidence)
        case DisputeUpheld():
            return UpholdMarket(event.market_id)
        case MarketFinalized():
            return FinalizeMarket(event.market_id)
        case MarketCorrected():
            return CorrectMarket(event.market_id, event.payouts, event.evidence)
        case MarketVoided():
            return VoidMarket(event.market_id, event.reason)
        case _:
            return None
